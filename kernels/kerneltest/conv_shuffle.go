package kerneltest

import "magvit/kernels"

func convShuffleCases() []Case {
	strided := cube(2, 4, 5, 6, 24, 16, 2, 2)
	strided.ST, strided.SH, strided.SW, strided.PH, strided.PW = 2, 2, 1, 0, 0
	benched := convShuffle(cube(2, 8, 32, 32, 64, 64, 3, 3), 1, 2, 2)
	benched.Bench = true
	return []Case{
		convShuffle(cube(1, 1, 1, 1, 1, 1, 1, 1), 1, 1, 1), convShuffle(cube(2, 1, 6, 10, 33, 31, 1, 3), 1, 2, 2), convShuffle(cube(1, 4, 3, 8, 17, 8, 3, 3), 2, 1, 4),
		convShuffle(cube(1, 2, 8, 10, 72, 40, 1, 1), 2, 4, 1), convShuffle(strided, 4, 1, 2), benched,
	}
}

// wideConvShuffle has sums so long that Hopper's kernels split them.
func wideConvShuffle() []Case {
	return []Case{convShuffle(cube(1, 2, 16, 16, 72, 512, 1, 3), 2, 2, 1)}
}

// convShuffle is a gradient with respect to the input of SiLU or GELU, with a second summand at some sizes.
func convShuffle(c kernels.Conv, ft, fh, fw int) Case {
	c.Act, c.Residual = kernels.SiLU, c.O%16 != 0
	if c.C%3 == 0 {
		c.Act = kernels.GELU
	}
	s := kernels.ConvGradShuffle{Conv: c, FT: ft, FH: fh, FW: fw}
	tol, why := longTolerance(s.KT * s.KH * s.KW * s.O)
	return newCase(s, tol, why, map[string]Draw{"x": Mixed(-6, 6, 0, -90, 90)})
}
