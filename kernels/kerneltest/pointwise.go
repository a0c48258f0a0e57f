package kerneltest

import "magvit/kernels"

func pointwiseCases() []Case {
	var cs []Case
	wide := map[string]Draw{"x": Mixed(-12, 12, 0, -1e-6, 1e-6, -90, 90, -30, 30)}
	for _, k := range allActivations {
		// The slope's argument: outputs, or inputs as above.
		slope := Mixed(-1, 1, 0, -1, 1)
		if !k.FromOutput() {
			slope = wide["x"]
		}
		for _, n := range []int{1, 15, 16, 17, 31, 33, 16385} {
			cs = append(cs,
				newCase(kernels.Act{Kind: k, Len: n}, mathTol, mathWhy, wide),
				newCase(kernels.ActGrad{Kind: k, Len: n}, mathTol, mathWhy, map[string]Draw{"s": slope}))
		}
	}
	for _, n := range edges {
		cs = append(cs,
			newCase(kernels.Add{Len: n}, exactTol, "one IEEE addition", nil),
			newCase(kernels.Affine{Len: n, Mul: 1.5, Add: -.25}, roundTol, roundWhy, nil))
	}
	kinked := map[string]Draw{"x": Constant(.3, -.7, 1.1, -.2, .5, -1.3, .9)} // not near 0
	for _, k := range allActivations {
		cs = append(cs, smoothCase(kernels.Act{Kind: k, Len: 7}, kinked))
	}
	cs = append(cs, smoothCase(kernels.Affine{Len: 9, Mul: 3, Add: -1}, nil), smoothCase(kernels.ActGrad{Kind: kernels.LeakyReLU, Len: 7}, nil))
	const values, large = 2 * 16 * 16 * 16 * 64, 1 << 23
	return append(cs,
		benchCase(kernels.Act{Kind: kernels.ELU, Len: values}, mathTol, mathWhy, nil),
		benchCase(kernels.Act{Kind: kernels.SiLU, Len: values}, mathTol, mathWhy, nil),
		benchCase(kernels.Act{Kind: kernels.GELU, Len: values}, mathTol, mathWhy, nil),
		benchCase(kernels.ActGrad{Kind: kernels.ELU, Len: values}, mathTol, mathWhy, nil),
		benchCase(kernels.ActGrad{Kind: kernels.SiLU, Len: values}, mathTol, mathWhy, nil),
		benchCase(kernels.Add{Len: values}, exactTol, "one IEEE addition", nil),
		benchCase(kernels.Affine{Len: values, Mul: .5, Add: 1}, roundTol, roundWhy, nil),
		largeBenchCase(kernels.Act{Kind: kernels.ELU, Len: large}, mathTol, mathWhy, nil),
		largeBenchCase(kernels.ActGrad{Kind: kernels.ELU, Len: large}, mathTol, mathWhy, nil),
		largeBenchCase(kernels.Add{Len: large}, exactTol, "one IEEE addition", nil))
}
