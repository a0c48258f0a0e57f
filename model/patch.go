package model

import (
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// cosines is the patch_transform of natural pictures.
const cosines = "cosine"

// Mean amplitudes of a patch's cosine coefficients over p, in natural film: that of the
// mean of luminance and of two colour differences. They fall with the frequency r, in
// cycles of 16 pixels, as (1+r)^-1.5.
var amplitudes = [3]float64{.33, .1, .055}

// colourAxes are the orthonormal axes of luminance and of two colour differences.
var colourAxes = [3][3]float64{
	{1 / math.Sqrt(3), 1 / math.Sqrt(3), 1 / math.Sqrt(3)},
	{1 / math.Sqrt2, 0, -1 / math.Sqrt2},
	{1 / math.Sqrt(6), -2 / math.Sqrt(6), 1 / math.Sqrt(6)},
}

// patchCosines is the transform of a patch's values [channels,p,p] to scaled cosine
// coefficients of the same number, and its inverse; both [c·p²,c·p²], rows are results.
//
// Why scaled: coefficients of natural pictures differ in size by a factor of 100. With
// about the same size for all of them, Adam learns fine detail as fast as the means.
func patchCosines(channels, p int) (forward, inverse []float32) {
	n := channels * p * p
	forward, inverse = make([]float32, n*n), make([]float32, n*n)
	for k := range n {
		q, u, v := k/(p*p), k/p%p, k%p
		size := patchSize(channels, p, k)
		for i := range n {
			c, y, x := i/(p*p), i/p%p, i%p
			e := cosine(p, u, y) * cosine(p, v, x)
			switch {
			case channels == 3:
				e *= colourAxes[q][c]
			case c != q:
				e = 0
			}
			forward[k*n+i], inverse[i*n+k] = float32(e/size), float32(e*size)
		}
	}
	return forward, inverse
}

// patchSize is the amplitude by which coefficient k of patchCosines is divided.
func patchSize(channels, p, k int) float64 {
	q, u, v := k/(p*p), k/p%p, k%p
	size := amplitudes[0]
	if channels == 3 {
		size = amplitudes[q]
	}
	return size * float64(p) * math.Pow(1+8/float64(p)*math.Hypot(float64(u), float64(v)), -1.5)
}

// cosine is the value at x of the orthonormal cosine function k of p points.
func cosine(p, k, x int) float64 {
	a := math.Sqrt(2 / float64(p))
	if k == 0 {
		a = math.Sqrt(1 / float64(p))
	}
	return a * math.Cos(math.Pi*float64((2*x+1)*k)/float64(2*p))
}

// frameCosines is the transform of t values of consecutive frames to scaled cosine
// coefficients, and its inverse; both [t,t], rows are results. Amplitudes fall with the
// frequency f, in cycles of 16 frames, as 1/(1+f).
func frameCosines(t int) (forward, inverse []float32) {
	forward, inverse = make([]float32, t*t), make([]float32, t*t)
	for k := range t {
		size := frameSize(t, k)
		for i := range t {
			e := cosine(t, k, i)
			forward[k*t+i], inverse[i*t+k] = float32(e/size), float32(e*size)
		}
	}
	return forward, inverse
}

// frameSize is the amplitude by which coefficient k of frameCosines is divided.
func frameSize(t, k int) float64 { return math.Sqrt(float64(t)) / (1 + 8*float64(k)/float64(t)) }

// toPatches moves the values of patches of patch_time frames, patch rows and columns to
// channels, and transforms them.
func (b *builder) toPatches(x *G.Node) *G.Node {
	n, t, h, w, ch := b.dims(x)
	c := b.t.Config
	p, pt := c.Patch, c.PatchTime
	if p > 1 {
		h, w = h/p, w/p
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: ch, FT: 1, FH: p, FW: p, Down: true}, []int{n, t, h, w, ch * p * p}, x)
	}
	ch *= p * p
	if c.transforms() {
		forward, _ := patchCosines(c.Channels, p)
		x = b.constantLinear("patch_transform", x, forward, ch)
	}
	if pt > 1 {
		t /= pt
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: ch, FT: pt, FH: 1, FW: 1, Down: true}, []int{n, t, h, w, ch * pt}, x)
		if c.transforms() {
			forward, _ := frameCosines(pt)
			x = b.constantLinear("frame_transform", x, forward, pt)
		}
	}
	return x
}

// fromPatches is the inverse of toPatches.
func (b *builder) fromPatches(x *G.Node) *G.Node {
	n, t, h, w, ch := b.dims(x)
	c := b.t.Config
	p, pt := c.Patch, c.PatchTime
	if pt > 1 {
		if c.transforms() {
			_, inverse := frameCosines(pt)
			x = b.constantLinear("frame_inverse", x, inverse, pt)
		}
		ch /= pt
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: ch, FT: pt, FH: 1, FW: 1}, []int{n, t * pt, h, w, ch}, x)
		t *= pt
	}
	if c.transforms() {
		_, inverse := patchCosines(c.Channels, p)
		x = b.constantLinear("patch_inverse", x, inverse, ch)
		x = b.apply(kernels.Affine{Len: n * t * h * w * ch, Mul: 1, Add: float32(c.Background)}, []int{n, t, h, w, ch}, x)
	}
	if p > 1 {
		ch /= p * p
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: ch, FT: 1, FH: p, FW: p}, []int{n, t, h * p, w * p, ch}, x)
	}
	return x
}

// constantLinear is the product of a constant matrix [m,m] with each m consecutive
// channels of each pixel.
func (b *builder) constantLinear(name string, x *G.Node, matrix []float32, m int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	return b.apply(linearSpec(n, t, h, w*c/m, m, m), []int{n, t, h, w, c}, x, b.constant(name, matrix, m, m))
}

// linearSpec is a matrix product with each pixel's channels, without bias.
//
// Why ModConv with one sample: it is the only bias-free convolution Spec.
func linearSpec(n, t, h, w, c, out int) kernels.ModConv {
	return kernels.ModConv{Conv: kernels.Conv{N: 1, T: n * t, H: h, W: w, C: c, O: out, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}}
}
