package kerneltest

import "magvit/kernels"

func lecamCases() []Case {
	var cs []Case
	for _, fake := range []bool{false, true} {
		for _, n := range []int{1, 4, 33, 255, 257, 1000} {
			s := kernels.LeCam{Len: n, Fake: fake}
			cs = append(cs, newCase(s, sumTol, sumWhy, nil), newCase(kernels.LeCamGrad(s), mathTol, roundWhy, nil))
		}
		cs = append(cs, smoothCase(kernels.LeCam{Len: 5, Fake: fake}, map[string]Draw{"x": Constant(-3, -.5, .25, .6, 4), "a": Constant(.1)}))
	}
	large := kernels.LeCam{Len: 4096}
	return append(cs, benchCase(large, sumTol, sumWhy, nil), benchCase(kernels.LeCamGrad(large), mathTol, roundWhy, nil))
}
