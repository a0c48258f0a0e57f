package kerneltest

import "magvit/kernels"

// Wide are convolutions that fill the tiles of tensor cores, which devices have other
// kernels for than for the small ones of Cases: several tiles and sums of thousands of
// terms, tiles of pixels over edges, channels that are no whole tiles, strides,
// dilation, a stem. The definitions take some seconds for all.
func Wide() []Case {
	cube := func(n, t, h, w, c, o, kt, k int) kernels.Conv {
		return kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: o, KT: kt, KH: k, KW: k, ST: 1, SH: 1, SW: 1, DT: 1, PT: kt - 1, PH: k / 2, PW: k / 2}
	}
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
	return cs
}
