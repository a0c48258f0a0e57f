package kerneltest

import "magvit/kernels"

func runningCases() []Case {
	var cs []Case
	for _, n := range []int{1, 31, 257, 5000} {
		average := kernels.RunningAverage{Len: n, Rate: .1}
		cs = append(cs, newCase(average, roundTol, roundWhy, nil))
		for _, guard := range []float32{1, nan32, inf32} {
			tol, why := roundTol, roundWhy
			if guard != 1 {
				tol, why = exactTol, "a step that is not applied changes nothing"
			}
			cs = append(cs, newCase(kernels.RunningUpdate(average), tol, why, map[string]Draw{"average": Normal(1), "guard": Constant(guard)}))
		}
	}
	large := kernels.RunningAverage{Len: 4096, Rate: .1}
	return append(cs,
		benchCase(large, roundTol, roundWhy, nil),
		benchCase(kernels.RunningUpdate(large), roundTol, roundWhy, map[string]Draw{"average": Normal(1), "guard": Constant(1)}))
}
