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
		size := amplitudes[0]
		if channels == 3 {
			size = amplitudes[q]
		}
		size *= float64(p) * math.Pow(1+8/float64(p)*math.Hypot(float64(u), float64(v)), -1.5)
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

// cosine is the value at x of the orthonormal cosine function k of p points.
func cosine(p, k, x int) float64 {
	a := math.Sqrt(2 / float64(p))
	if k == 0 {
		a = math.Sqrt(1 / float64(p))
	}
	return a * math.Cos(math.Pi*float64((2*x+1)*k)/float64(2*p))
}

// constantLinear is the product of a constant matrix [c,c] with each pixel's channels.
func (b *builder) constantLinear(name string, x *G.Node, matrix []float32) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	return b.apply(linearSpec(n, t, h, w, c, c), []int{n, t, h, w, c}, x, b.constant(name, matrix, c, c))
}

// linearSpec is a matrix product with each pixel's channels, without bias.
//
// Why ModConv with one sample: it is the only bias-free convolution Spec.
func linearSpec(n, t, h, w, c, out int) kernels.ModConv {
	return kernels.ModConv{Conv: kernels.Conv{N: 1, T: n * t, H: h, W: w, C: c, O: out, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}}
}
