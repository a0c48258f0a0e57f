package kerneltest

import "magvit/kernels"

func gegluCases() []Case {
	var cs []Case
	for _, d := range [][2]int{{1, 3}, {33, 31}, {3, 129}, {700, 33}, {2, 15}, {3, 16}, {2, 17}, {2, 264}, {3, 301}} {
		x := map[string]Draw{"x": Mixed(-4, 4, 0, -12, 12, -90, 90)}
		cs = append(cs,
			newCase(kernels.GEGLU{Rows: d[0], C: d[1]}, mathTol, mathWhy, x),
			newCase(kernels.GEGLUGrad{Rows: d[0], C: d[1]}, mathTol, mathWhy, x))
	}
	cs = append(cs, smoothCase(kernels.GEGLU{Rows: 3, C: 5}, nil))
	return append(cs,
		benchCase(kernels.GEGLU{Rows: 4096, C: 170}, mathTol, mathWhy, nil),
		benchCase(kernels.GEGLUGrad{Rows: 4096, C: 170}, mathTol, mathWhy, nil),
		largeBenchCase(kernels.GEGLU{Rows: 1 << 15, C: 256}, mathTol, mathWhy, nil))
}
