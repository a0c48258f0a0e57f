package kernels

import "unsafe"

//go:generate go run ./asm -part winograd -out conv_winograd_amd64.s -stubs conv_winograd_amd64.go

// winogradForm is F(m×m,3×3) on an instruction set: m×m output pixels of one tile by
// (m+2)² products in place of 9m². (Lavin and Gray, Fast Algorithms for Convolutional
// Neural Networks, 2016.) A transform is one along the columns and along the rows of a
// tile, for n channels at once.
//
//	input        V = Bᵀ·d·B      of (m+2)² pixels
//	weights      U = G·g·Gᵀ      of 3×3 weights
//	output       y = Aᵀ·M·A      of the sums M of products U·V
//	gradOutput   Y = A·dy·Aᵀ     of m×m pixels of the output's gradient
//	gradWeights  dw += Gᵀ·M·G    of the sums M of products Y·V
//
// A pixel's channels are the values [at,at+n) from a pointer of a list; value k of plane i
// of a transformed tile is the one at i·plane+k. n is a multiple of the vectors' size.
// Pixels that are ahead values further are prefetched.
type winogradForm struct {
	m                          int
	input, gradOutput, weights func(dst *float32, plane int, src **float32, at, n, ahead int)
	output                     func(dst **float32, src *float32, plane int, bias *float32, r **float32, at, n, ahead int) // Aᵀ·M·A + bias + r
	outputELU                  func(dst **float32, src *float32, plane int, bias *float32, r **float32, at, n, ahead int) // ELU(Aᵀ·M·A + bias) + r
	outputELUSlope             func(dst **float32, src *float32, plane int, r, s **float32, at, n, ahead int)             // (Aᵀ·M·A + r)·ELU', by ELU's output s
	gradWeights                func(dst **float32, src *float32, plane int, at, n, ahead int)
}

// size is the side of a transformed tile, planes the number of its values.
func (f *winogradForm) size() int   { return f.m + 2 }
func (f *winogradForm) planes() int { return f.size() * f.size() }

// A line applies one of the matrices Bᵀ, Aᵀ, A, G or Gᵀ to x.
type winogradLine func(x, y *[6]float32)

// The points of F(2×2,3×3) are 0, 1, -1 and ∞.
func winogradInput2(x, y *[6]float32) {
	y[0], y[1], y[2], y[3] = x[0]-x[2], x[1]+x[2], x[2]-x[1], x[3]-x[1]
}

func winogradOutput2(x, y *[6]float32) { y[0], y[1] = x[0]+x[1]+x[2], x[1]-x[2]+x[3] }

func winogradGradOutput2(x, y *[6]float32) {
	y[0], y[1], y[2], y[3] = x[0], x[0]+x[1], x[0]-x[1], x[1]
}

func winogradWeights2(x, y *[6]float32) {
	p, q := .5*(x[0]+x[2]), .5*x[1]
	y[0], y[1], y[2], y[3] = x[0], p+q, p-q, x[2]
}

func winogradGradWeights2(x, y *[6]float32) {
	p := .5 * (x[1] + x[2])
	y[0], y[1], y[2] = x[0]+p, .5*(x[1]-x[2]), x[3]+p
}

// The points of F(4×4,3×3) are 0, ±a, ±b and ∞ with a = 1/√2 and b = √2. With ±1 and ±2
// the squared error is five times as large, as the products of small and large points
// are not 1.
const (
	pointA = 0.70710678118654752
	pointB = 2 * pointA
)

func winogradInput4(x, y *[6]float32) {
	p, q := x[4]-2*x[2], x[3]-2*x[1]
	r, s := x[4]-.5*x[2], x[3]-.5*x[1]
	y[0], y[1], y[2] = x[0]+x[4]-2.5*x[2], p+pointA*q, p-pointA*q
	y[3], y[4], y[5] = r+pointB*s, r-pointB*s, x[1]+x[5]-2.5*x[3]
}

func winogradOutput4(x, y *[6]float32) {
	s, d, t, e := x[1]+x[2], x[1]-x[2], x[3]+x[4], x[3]-x[4]
	y[0], y[1], y[2], y[3] = x[0]+s+t, pointA*(d+2*e), .5*s+2*t, pointA/2*(d+8*e)+x[5]
}

func winogradGradOutput4(x, y *[6]float32) {
	p, q, r, s := x[0]+.5*x[2], x[1]+.5*x[3], x[0]+2*x[2], x[1]+2*x[3]
	y[0], y[1], y[2], y[3], y[4], y[5] = x[0], p+pointA*q, p-pointA*q, r+pointB*s, r-pointB*s, x[3]
}

func winogradWeights4(x, y *[6]float32) {
	p, q := -2./3*x[0]-1./3*x[2], -2*pointA/3*x[1]
	r, s := 1./6*x[0]+1./3*x[2], pointB/6*x[1]
	y[0], y[1], y[2], y[3], y[4], y[5] = x[0], p+q, p-q, r+s, r-s, x[2]
}

func winogradGradWeights4(x, y *[6]float32) {
	s, d, t, e := x[1]+x[2], x[1]-x[2], x[3]+x[4], x[3]-x[4]
	y[0], y[1], y[2] = x[0]-2./3*s+1./6*t, pointB/6*e-2*pointA/3*d, 1./3*(t-s)+x[5]
}

// twice applies a matrix along both dimensions of x, which has in values a side.
func (f winogradLine) twice(in, out int, x *[36]float32, y *[36]float32) {
	var half [6][6]float32 // columns
	var a, b [6]float32
	for j := range in {
		for i := range in {
			a[i] = x[i*in+j]
		}
		f(&a, &half[j])
	}
	for i := range out {
		for j := range in {
			a[j] = half[j][i]
		}
		f(&a, &b)
		copy(y[i*out:][:out], b[:])
	}
}

func valueAt(p *float32, i int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

// toPlanes and fromPlanes are transforms in plain Go. finish makes a result of its sum:
// i is the pixel, k the channel.
func (f winogradLine) toPlanes(in, out int) func(dst *float32, plane int, src **float32, at, n, ahead int) {
	return func(dst *float32, plane int, src **float32, at, n, _ int) {
		var x, y [36]float32
		list := unsafe.Slice(src, in*in)
		for k := range n {
			for i, p := range list {
				x[i] = *valueAt(p, at+k)
			}
			f.twice(in, out, &x, &y)
			for i := range out * out {
				*valueAt(dst, i*plane+k) = y[i]
			}
		}
	}
}

func (f winogradLine) fromPlanes(in, out int, dst **float32, src *float32, plane, at, n int, finish func(i, k int, old, v float32) float32) {
	var x, y [36]float32
	list := unsafe.Slice(dst, out*out)
	for k := range n {
		for i := range in * in {
			x[i] = *valueAt(src, i*plane+k)
		}
		f.twice(in, out, &x, &y)
		for i, p := range list {
			to := valueAt(p, at+k)
			*to = finish(i, at+k, *to, y[i])
		}
	}
}

// plainWinograd is a form of five matrices.
func plainWinograd(m int, input, gradOutput, weights, output, gradWeights winogradLine) winogradForm {
	n := m + 2
	result := func(act func(v float32) float32) func(dst **float32, src *float32, plane int, bias *float32, r **float32, at, n, ahead int) {
		return func(dst **float32, src *float32, plane int, bias *float32, r **float32, at, count, _ int) {
			list := unsafe.Slice(r, m*m)
			output.fromPlanes(n, m, dst, src, plane, at, count, func(i, k int, _, v float32) float32 {
				return act(v+*valueAt(bias, k)) + *valueAt(list[i], k)
			})
		}
	}
	return winogradForm{
		m:     m,
		input: input.toPlanes(n, n), gradOutput: gradOutput.toPlanes(m, n), weights: weights.toPlanes(3, n),
		output:    result(func(v float32) float32 { return v }),
		outputELU: result(func(v float32) float32 { return float32(ELU.Apply(float64(v))) }),
		outputELUSlope: func(dst **float32, src *float32, plane int, r, s **float32, at, count, _ int) {
			more, by := unsafe.Slice(r, m*m), unsafe.Slice(s, m*m)
			output.fromPlanes(n, m, dst, src, plane, at, count, func(i, k int, _, v float32) float32 {
				return (v + *valueAt(more[i], k)) * float32(ELU.Slope(float64(*valueAt(by[i], k))))
			})
		},
		gradWeights: func(dst **float32, src *float32, plane int, at, count, _ int) {
			gradWeights.fromPlanes(n, 3, dst, src, plane, at, count, func(_, _ int, old, v float32) float32 { return old + v })
		},
	}
}

// winogradForms are the forms of the instruction sets.
var plainWinogradForms = []winogradForm{
	plainWinograd(2, winogradInput2, winogradGradOutput2, winogradWeights2, winogradOutput2, winogradGradWeights2),
	plainWinograd(4, winogradInput4, winogradGradOutput4, winogradWeights4, winogradOutput4, winogradGradWeights4),
}
