package kerneltest

import "magvit/kernels"

func convGEGLUCases() []Case {
	linear := func(pixels, c, o int) kernels.Conv { return cube(1, 1, 1, pixels, c, o, 1, 1) }
	strided := cube(2, 3, 5, 6, 24, 16, 2, 2)
	strided.ST, strided.SH, strided.SW, strided.PH, strided.PW = 2, 2, 1, 0, 0
	var cs []Case
	for _, s := range []kernels.Conv{linear(1, 1, 2), linear(33, 33, 62), linear(127, 17, 128), linear(129, 40, 272), cube(1, 2, 5, 7, 8, 18, 2, 3)} {
		cs = append(cs, convGEGLUCase(kernels.ConvGEGLU{Conv: s}))
	}
	for _, s := range []kernels.Conv{linear(1, 1, 1), linear(33, 31, 33), linear(127, 64, 17), linear(129, 136, 40), cube(1, 2, 5, 7, 9, 8, 2, 3), strided} {
		cs = append(cs, convGEGLUCase(kernels.ConvGradGEGLU{Conv: s}))
	}
	for _, s := range []kernels.Spec{kernels.ConvGEGLU{Conv: linear(4096, 64, 340)}, kernels.ConvGradGEGLU{Conv: linear(4096, 170, 64)}} {
		c := convGEGLUCase(s)
		c.Bench = true
		cs = append(cs, c)
	}
	return cs
}

// wideConvGEGLU has sums so long that Hopper's kernels split them.
func wideConvGEGLU() []Case {
	return []Case{convGEGLUCase(kernels.ConvGEGLU{Conv: cube(1, 1, 16, 16, 1024, 144, 1, 1)}), convGEGLUCase(kernels.ConvGradGEGLU{Conv: cube(1, 1, 16, 16, 72, 1024, 1, 1)})}
}

func convGEGLUCase(spec kernels.Spec) Case {
	switch s := spec.(type) {
	case kernels.ConvGEGLU:
		tol, why := longTolerance(s.KT * s.KH * s.KW * s.C)
		return newCase(s, tol, why, nil)
	case kernels.ConvGradGEGLU:
		tol, why := longTolerance(s.KT * s.KH * s.KW * s.O)
		return newCase(s, tol, why, map[string]Draw{"x": Mixed(-4, 4, 0, -12, 12, -90, 90)})
	}
	panic("kerneltest: " + kernels.Name(spec) + " is no convolution with GEGLU")
}
