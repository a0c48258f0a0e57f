package kerneltest

import "magvit/kernels"

func logitsCases() []Case {
	funcs := []kernels.LogitFunc{kernels.LogitValue, kernels.HingeReal, kernels.HingeFake, kernels.LogisticReal, kernels.LogisticFake, kernels.IsPositive, kernels.IsNegative}
	x := map[string]Draw{"x": Mixed(-3, 3, 0, -1, 1, -100, 100)}
	var cs []Case
	for _, of := range funcs {
		for _, n := range []int{1, 4, 33, 255, 257, 1000} {
			s := kernels.LogitMean{Len: n, Of: of}
			cs = append(cs, newCase(s, sumTol, sumWhy, x), newCase(kernels.LogitMeanGrad(s), mathTol, mathWhy, x))
		}
		if of != kernels.IsPositive && of != kernels.IsNegative {
			cs = append(cs, smoothCase(kernels.LogitMean{Len: 5, Of: of}, map[string]Draw{"x": Constant(-3, -.5, .25, .6, 4)}))
		}
	}
	zero, small := map[string]Draw{"b": Constant(0)}, map[string]Draw{"b": Constant(1e-4)}
	for _, n := range []int{1, 31, 257, 5000} {
		cs = append(cs,
			newCase(kernels.GradientRatio{Len: n, Floor: 1e-3, Max: 1e3}, sumTol, sumWhy, nil),
			newCase(kernels.GradientRatio{Len: n, Eps: 1e-4, Max: 1e4}, sumTol, sumWhy, nil),
			newCase(kernels.GradientRatio{Len: n, Floor: 1e-3, Max: 1e3}, sumTol, sumWhy, zero),
			newCase(kernels.GradientRatio{Len: n, Floor: .5, Max: 1e3}, sumTol, sumWhy, small),
			newCase(kernels.GradientRatio{Len: n, Max: 7}, exactTol, "a NaN counts as 1", map[string]Draw{"a": Constant(0), "b": Constant(0)}))
	}
	return append(cs,
		benchCase(kernels.LogitMean{Len: 4096, Of: kernels.HingeReal}, sumTol, sumWhy, nil),
		benchCase(kernels.LogitMeanGrad{Len: 4096, Of: kernels.HingeReal}, mathTol, mathWhy, nil),
		benchCase(kernels.GradientRatio{Len: 3 * 27 * 64, Floor: 1e-3, Max: 1e3}, sumTol, sumWhy, nil))
}
