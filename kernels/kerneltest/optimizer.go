package kerneltest

import "magvit/kernels"

func optimizerCases() []Case {
	const stepWhy = "a dozen float32 roundings, and none of them on a difference"
	var cs []Case
	for i, norm2 := range []float32{4, 1e-8, nan32, inf32} {
		for _, maxNorm := range []float32{0, .5} {
			for _, n := range []int{1 + i, 15 + i, 31 + i, 129 + i, 16385 + i} { // lengths differ so that values do
				tol, why := mathTol, stepWhy
				if i >= 2 {
					tol, why = exactTol, "a gradient that is not finite changes nothing"
				}
				draw := map[string]Draw{
					"p": Normal(.1), "m": Normal(.01), "v": Uniform(0, 1e-3), "ema": Normal(.1), "g": Normal(.1),
					"norm2": Constant(norm2), "hyper": Constant(1e-3, .1, .01, 1e-8, 1e-2, .271, .0297, maxNorm, .01, .5),
				}
				cs = append(cs, newCase(kernels.AdamW{Len: n}, tol, why, draw))
			}
		}
	}
	for _, n := range []int{33, 16387} { // an average that is left may hold anything
		cs = append(cs, newCase(kernels.AdamW{Len: n, EMAEvery: 10}, mathTol, stepWhy, map[string]Draw{
			"p": Normal(.1), "m": Normal(.01), "v": Uniform(0, 1e-3), "ema": Constant(inf32, 1, nan32), "g": Normal(.1),
			"norm2": Constant(1), "hyper": Constant(1e-3, .1, .01, 1e-8, 1e-2, .271, .0297, 1, 0, 1),
		}))
	}
	hyper := Constant(1e-3, .1, .01, 1e-8, 1e-2, .271, .0297, 1, .01, 1)
	state := map[string]Draw{"p": Normal(.1), "m": Normal(.01), "v": Uniform(0, 1e-3), "ema": Normal(.1), "norm2": Constant(1), "hyper": hyper}
	repeated := map[string]Draw{"p": Constant(.1, -.2, .3), "m": Constant(.01, -.02), "v": Constant(1e-3, 2e-4), "ema": Constant(.1, -.2),
		"norm2": Constant(1), "hyper": hyper}
	return append(cs,
		benchCase(kernels.AdamW{Len: 1_700_000}, mathTol, stepWhy, state),
		largeBenchCase(kernels.AdamW{Len: 1 << 23}, mathTol, stepWhy, repeated))
}
