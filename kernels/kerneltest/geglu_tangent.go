package kerneltest

import "magvit/kernels"

func gegluTangentCases() []Case {
	var cs []Case
	x := map[string]Draw{"x": Mixed(-4, 4, 0, -12, 12)}
	for _, d := range [][2]int{{1, 3}, {33, 31}, {3, 129}, {700, 33}, {2, 16}, {3, 301}} {
		s := kernels.GEGLUTangent{Rows: d[0], C: d[1]}
		cs = append(cs, newCase(s, mathTol, mathWhy, x), newCase(kernels.GEGLUTangentGrad(s), mathTol, mathWhy, x))
	}
	cs = append(cs, smoothCase(kernels.GEGLUGrad{Rows: 3, C: 5}, nil), smoothCase(kernels.GEGLUTangent{Rows: 3, C: 5}, nil))
	return append(cs,
		benchCase(kernels.GEGLUTangent{Rows: 4096, C: 170}, mathTol, mathWhy, nil),
		benchCase(kernels.GEGLUTangentGrad{Rows: 4096, C: 170}, mathTol, mathWhy, nil))
}
