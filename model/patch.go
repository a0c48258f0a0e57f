package model

import (
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// cosines is the patch_transform of natural pictures; lapped is the same for patches that
// overlap, see lapFilter.
const (
	cosines = "cosine"
	lapped  = "lapped"
)

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

// dcGain is by how much the pre-filter strengthens the difference of two neighbouring
// blocks' means, 8/5 as in Tran, Liang and Tu. On film, with 24 coefficients of a patch of 8x8
// pixels of 8 frames, the squared error of gains of 1.25 and 1.6 differed by .01 dB, that of 1 was .2 dB larger.
const dcGain = 1.6

// lapFilter is the pre-filter of a lapped transform for the 2·reach values around the border of
// two blocks, and its inverse, the post-filter; both [2·reach,2·reach], rows are results. Of
// the half-differences d of the values at equal distances from the border the pre-filter makes V·d,
//
//	V = J·C2ᵀ·diag(dcGain,1,..)·C4·J
//
// with the orthonormal cosine transforms of kind II and IV, J reversing the order; sums stay.
// A slope across the border becomes a step, which the means of two blocks code exactly.
//
// Why: without it the errors of two blocks have nothing to do with each other, and blocks are
// seen, in time as a jump between frames. The post-filter makes ramps of their differences.
func lapFilter(reach int) (forward, inverse []float32) {
	n := 2 * reach
	forward, inverse = make([]float32, n*n), make([]float32, n*n)
	for i := range reach {
		for k := range reach {
			var v, u float64 // of V and of its inverse
			for f := range reach {
				second := cosine(reach, f, reach-1-i) * fourthCosine(reach, f, reach-1-k)
				inverseOf := fourthCosine(reach, f, reach-1-i) * cosine(reach, f, reach-1-k)
				if f == 0 {
					second, inverseOf = second*dcGain, inverseOf/dcGain
				}
				v, u = v+second, u+inverseOf
			}
			set := func(m []float32, d float64) {
				same := 0.
				if i == k {
					same = 1
				}
				before, after := reach-1-i, reach+i // at distance i from the border
				m[after*n+reach+k], m[before*n+reach-1-k] = float32((same+d)/2), float32((same+d)/2)
				m[after*n+reach-1-k], m[before*n+reach+k] = float32((same-d)/2), float32((same-d)/2)
			}
			set(forward, v)
			set(inverse, u)
		}
	}
	return forward, inverse
}

// fourthCosine is the value at x of the orthonormal cosine function k of kind IV of p points.
func fourthCosine(p, k, x int) float64 {
	return math.Sqrt(2/float64(p)) * math.Cos(math.Pi*float64((2*x+1)*(2*k+1))/float64(4*p))
}

// lap filters the values on both sides of the borders between blocks of size positions along an axis.
func (b *builder) lap(name string, x *G.Node, axis, size int, filter []float32) *G.Node {
	if b.err != nil || size < 2 || x.Shape()[axis] == size {
		return x
	}
	s := x.Shape()
	reach := size / 2
	return b.apply(kernels.Lap{N: s[:axis].TotalSize(), T: s[axis], Inner: s[axis+1:].TotalSize(), Size: size, Reach: reach},
		s, x, b.constant(name, filter, 2*reach, 2*reach))
}

// toPatches moves the values of patches of patch_time frames, patch rows and columns to
// channels, and transforms them.
func (b *builder) toPatches(x *G.Node) *G.Node {
	c := b.t.Config
	p, pt := c.Patch, c.PatchTime
	if c.laps() {
		inTime, _ := lapFilter(pt / 2)
		inSpace, _ := lapFilter(p / 2)
		x = b.lap("lap_rows", b.lap("lap_frames", x, 1, pt, inTime), 2, p, inSpace)
		x = b.shuffle(x, 1, p, 1, true)
		x = b.lap("lap_columns", x, 3, p, inSpace) // with the rows of a patch as channels: longer lines
		x = b.shuffle(x, 1, 1, p, true)
	} else {
		x = b.shuffle(x, 1, p, p, true)
	}
	if c.transforms() {
		forward, _ := patchCosines(c.Channels, p)
		x = b.constantLinear("patch_transform", x, forward, c.Channels*p*p)
	}
	if pt > 1 {
		x = b.shuffle(x, pt, 1, 1, true)
		if c.transforms() {
			forward, _ := frameCosines(pt)
			x = b.constantLinear("frame_transform", x, forward, pt)
		}
	}
	return x
}

// fromPatches is the inverse of toPatches.
func (b *builder) fromPatches(x *G.Node) *G.Node {
	c := b.t.Config
	p, pt := c.Patch, c.PatchTime
	if pt > 1 {
		if c.transforms() {
			_, inverse := frameCosines(pt)
			x = b.constantLinear("frame_inverse", x, inverse, pt)
		}
		x = b.shuffle(x, pt, 1, 1, false)
	}
	if c.transforms() {
		_, inverse := patchCosines(c.Channels, p)
		x = b.constantLinear("patch_inverse", x, inverse, c.Channels*p*p)
	}
	if c.transforms() && !c.laps() {
		x = b.addBackground(x)
	}
	if !c.laps() {
		return b.shuffle(x, 1, p, p, false)
	}
	_, inTime := lapFilter(pt / 2)
	_, inSpace := lapFilter(p / 2)
	x = b.shuffle(x, 1, 1, p, false)
	x = b.lap("lap_columns_inverse", x, 3, p, inSpace)
	x = b.shuffle(x, 1, p, 1, false)
	x = b.lap("lap_frames_inverse", b.lap("lap_rows_inverse", x, 2, p, inSpace), 1, pt, inTime)
	return b.addBackground(x)
}

func (b *builder) addBackground(x *G.Node) *G.Node {
	n, t, h, w, ch := b.dims(x)
	return b.apply(kernels.Affine{Len: n * t * h * w * ch, Mul: 1, Add: float32(b.t.Config.Background)}, []int{n, t, h, w, ch}, x)
}

// shuffle moves the values of ft frames, fh rows and fw columns to channels if down, or back.
func (b *builder) shuffle(x *G.Node, ft, fh, fw int, down bool) *G.Node {
	if ft*fh*fw == 1 {
		return x
	}
	n, t, h, w, ch := b.dims(x)
	if down {
		t, h, w = t/ft, h/fh, w/fw
		s := kernels.Shuffle{N: n, T: t, H: h, W: w, C: ch, FT: ft, FH: fh, FW: fw, Down: true}
		return b.apply(s, []int{n, t, h, w, ch * ft * fh * fw}, x)
	}
	ch /= ft * fh * fw
	return b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: ch, FT: ft, FH: fh, FW: fw}, []int{n, t * ft, h * fh, w * fw, ch}, x)
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
