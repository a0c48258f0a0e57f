package kerneltest

import (
	"slices"

	"magvit/kernels"
)

// A dot product of K float32 terms of random sign errs by about 6e-8·sqrt(K) of
// its size at worst, whatever the order; squared, below 4e-12 for K up to 1000.
const (
	convTol = 1e-11
	convWhy = "float32 sums of up to a thousand products, Fourier transforms, or F(4×4,3×3) with its error of 5e-12"
)

// longTolerance is for sums of more terms. Tensor cores add 8 products at a time and cut
// the sum off towards zero, by up to 2^-23 of it and half of that on average: so far a
// sum of many terms comes out too small, however it is rounded otherwise. (Emulated,
// 4608 terms: 8e-11 of 1e-9.)
func longTolerance(terms int) (tol float64, why string) {
	if terms <= 1000 {
		return convTol, convWhy
	}
	return square(float64(terms) / 8 * 0x1p-24), "float32 sums of thousands of products, cut off after each 8"
}

// cube is a causal convolution of kt by k by k taps that keeps the size.
func cube(n, t, h, w, c, o, kt, k int) kernels.Conv {
	return kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: o, KT: kt, KH: k, KW: k, ST: 1, SH: 1, SW: 1, DT: 1, PT: kt - 1, PH: k / 2, PW: k / 2}
}

// convShapes are sizes around tile edges, single frames, odd heights and widths,
// strides, dilation, even kernels and no padding.
func convShapes() []kernels.Conv {
	pointwise := func(n, t, h, w, c, o int) kernels.Conv { return cube(n, t, h, w, c, o, 1, 1) }
	shapes := []kernels.Conv{
		pointwise(1, 1, 1, 1, 1, 1), pointwise(1, 1, 1, 31, 33, 32), pointwise(2, 1, 1, 127, 32, 31), pointwise(1, 2, 8, 8, 129, 33),
		pointwise(1, 1, 3, 43, 7, 127), pointwise(1, 1, 1, 33, 128, 129), pointwise(3, 5, 1, 1, 64, 48),
		cube(1, 1, 1, 1, 1, 1, 3, 3), cube(1, 1, 5, 7, 3, 8, 3, 3), cube(2, 3, 5, 7, 8, 9, 3, 3), cube(1, 4, 9, 9, 33, 31, 3, 3),
		cube(1, 2, 8, 8, 64, 65, 3, 3), cube(1, 3, 6, 11, 3, 16, 7, 7), cube(2, 1, 16, 33, 16, 32, 1, 3), cube(1, 5, 1, 1, 12, 17, 3, 1),
	}
	stride := cube(2, 3, 9, 11, 16, 20, 1, 3)
	stride.SH, stride.SW = 2, 2
	even := stride
	even.H, even.W, even.C = 8, 10, 33
	time := cube(2, 5, 3, 3, 8, 12, 3, 1)
	time.ST, time.PT = 2, 1
	late := time // the reference's padding
	late.PT, late.T = 2, 7
	dilated := cube(1, 6, 4, 5, 4, 6, 3, 3)
	dilated.DT, dilated.PT = 2, 4
	bare := cube(1, 4, 6, 7, 5, 6, 2, 2) // even kernel, no padding
	bare.PT, bare.PH, bare.PW = 0, 0, 0
	patch := pointwise(1, 2, 8, 12, 3, 24) // stride = kernel
	patch.KH, patch.KW, patch.SH, patch.SW = 4, 4, 4, 4
	wide := cube(1, 2, 5, 6, 4, 7, 3, 3)
	wide.ST, wide.SH, wide.SW = 2, 3, 2
	shapes = append(shapes, stride, even, time, late, dilated, bare, patch, wide)
	// Whole lines of four pixels and more, whose products share them.
	stem := cube(1, 3, 6, 12, 3, 16, 7, 7)
	half := cube(2, 3, 9, 16, 16, 32, 3, 3)
	half.SH, half.SW = 2, 2
	thin := half
	thin.C = 5
	far := cube(1, 6, 4, 8, 16, 16, 3, 3)
	far.DT, far.PT = 2, 4
	tall := cube(1, 2, 20, 12, 32, 24, 2, 3) // several tasks a frame
	// Large enough for Winograd's filtering, with tiles over the border.
	tiled, tiles := cube(1, 4, 9, 10, 48, 64, 3, 3), cube(2, 2, 13, 7, 48, 32, 1, 3)
	return append(shapes, stem, half, thin, far, tall, tiled, tiles)
}

func convCases() []Case {
	var cs []Case
	for i, s := range convShapes() {
		plain, full := s, s
		full.Act = allActivations[i%len(allActivations)]
		full.Residual = true
		cs = append(cs, convCase(plain), convCase(full), convCase(kernels.ConvGradX{Conv: s}), convCase(kernels.ConvGradW{Conv: s}))
		grad := s
		if act := allActivations[i%len(allActivations)]; act.FromOutput() {
			grad.Act = act
		}
		grad.Residual = grad.Act == kernels.None || i%2 == 1
		cs = append(cs, convCase(kernels.ConvGradX{Conv: grad}))
		if i%4 == 3 {
			cs = append(cs, convCase(kernels.ConvGradWB{Conv: s}))
		}
	}
	conv := func(t, h, c, o, kt, k int, act kernels.Activation) kernels.Conv {
		return kernels.Conv{N: 2, T: t, H: h, W: h, C: c, O: o, KT: kt, KH: k, KW: k,
			ST: 1, SH: 1, SW: 1, DT: 1, PT: kt - 1, PH: k / 2, PW: k / 2, Act: act}
	}
	small := kernels.Conv{N: 2, T: 3, H: 4, W: 5, C: 3, O: 2, KT: 2, KH: 3, KW: 3, ST: 1, SH: 2, SW: 1, DT: 1, PT: 1, PH: 1, PW: 1}
	cs = append(cs, smoothCase(small, nil), smoothCase(kernels.ConvGradX{Conv: small}, nil))
	strided := conv(16, 16, 64, 96, 1, 3, kernels.ELU)
	strided.SH, strided.SW = 2, 2
	for _, s := range []kernels.Conv{
		conv(16, 16, 64, 64, 1, 3, kernels.ELU), conv(16, 8, 96, 96, 1, 3, kernels.ELU),
		conv(4, 8, 96, 96, 3, 3, kernels.ELU), conv(16, 16, 64, 64, 1, 1, kernels.ELU), conv(16, 16, 48, 64, 1, 3, kernels.ELU),
		conv(8, 16, 64, 64, 3, 3, kernels.ELU), conv(8, 16, 128, 128, 3, 3, kernels.ELU), conv(4, 16, 256, 256, 3, 3, kernels.ELU), conv(4, 8, 512, 512, 3, 3, kernels.ELU),
		conv(8, 8, 256, 256, 1, 1, kernels.ELU), conv(8, 32, 3, 64, 7, 7, kernels.None), strided,
	} {
		plain := s
		plain.Act = kernels.None
		for _, spec := range []kernels.Spec{s, kernels.ConvGradX{Conv: s}, kernels.ConvGradW{Conv: plain}} {
			cs = append(cs, convBenchCase(spec))
		}
	}
	cs = append(cs, convBenchCase(kernels.ConvGradWB{Conv: conv(8, 16, 128, 128, 3, 3, kernels.None)}))
	return cs
}

func convCase(s kernels.Spec) Case {
	c := Case{Spec: s, Tol: convTol, Why: convWhy}
	switch s := s.(type) {
	case kernels.Conv:
		c.Tol, c.Why = longTolerance(s.KT * s.KH * s.KW * s.C)
	case kernels.ConvGradX:
		c.Tol, c.Why = longTolerance(s.KT * s.KH * s.KW * s.O)
		if s.Act != kernels.None {
			c.Draw = map[string]Draw{"s": Mixed(-1, 1, 0)}
		}
	}
	return c
}

func convBenchCase(s kernels.Spec) Case {
	c := convCase(s)
	c.Bench = true
	return c
}

// Wide are convolutions that fill the tiles of tensor cores, which devices have other
// kernels for than for the small ones of Cases: several tiles and sums of thousands of
// terms, tiles of pixels over edges, channels that are no whole tiles, strides,
// dilation, a stem. The definitions take some seconds for all.
func Wide() []Case {
	strided := cube(1, 2, 32, 34, 128, 128, 1, 3)
	strided.SH, strided.SW = 2, 2
	shorter := cube(2, 9, 8, 8, 128, 64, 3, 1)
	shorter.ST = 2
	dilated := cube(1, 6, 8, 16, 64, 128, 3, 1)
	dilated.DT, dilated.PT = 2, 4
	bare := cube(5, 3, 9, 17, 64, 64, 2, 2) // even kernel, no padding
	bare.PT, bare.PH, bare.PW = 0, 0, 0
	var cs []Case
	for i, s := range []kernels.Conv{
		cube(1, 2, 33, 40, 64, 64, 3, 3), cube(2, 1, 16, 32, 128, 128, 1, 3), cube(1, 1, 16, 32, 256, 192, 1, 3), cube(1, 2, 16, 16, 512, 128, 1, 1),
		cube(1, 5, 8, 8, 120, 104, 3, 3), cube(3, 1, 14, 15, 122, 64, 1, 3), cube(1, 2, 16, 16, 64, 512, 1, 3), cube(1, 4, 32, 32, 3, 64, 7, 7), cube(1, 2, 32, 32, 64, 3, 3, 3),
		strided, shorter, dilated, bare,
	} {
		full, grad := s, s
		full.Act, full.Residual, grad.Act = allActivations[i%len(allActivations)], true, kernels.ELU
		cs = append(cs, convCase(full), convCase(kernels.ConvGradX{Conv: s}), convCase(kernels.ConvGradX{Conv: grad}), convCase(kernels.ConvGradW{Conv: s}))
	}
	return slices.Concat(cs, wideConvGEGLU(), wideConvShuffle())
}
