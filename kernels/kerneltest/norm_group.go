package kerneltest

import (
	"magvit/kernels"
	"magvit/kernels/philox"
)

func normGroupCases() []Case {
	var cs []Case
	for _, s := range []kernels.GroupNorm{
		{N: 1, Rows: 1, C: 5, Groups: 1, Eps: 1e-6},
		{N: 3, Rows: 5, C: 8, Groups: 4, Eps: 1e-6},
		{N: 2, Rows: 129, C: 33, Groups: 11, Eps: 1e-5},
		{N: 2, Rows: 700, C: 64, Groups: 32, Eps: 1e-6},
		{N: 1, Rows: 9000, C: 6, Groups: 2, Eps: 1e-6},
	} {
		for _, s.Adaptive = range []bool{false, true} {
			x := map[string]Draw{"x": shifted}
			cs = append(cs,
				newCase(s, mathTol, roundWhy, x),
				newCase(kernels.GroupNormGradX{GroupNorm: s}, sumTol, sumWhy, x),
				newCase(kernels.GroupNormGradGamma{GroupNorm: s}, sumTol, sumWhy, x))
			s.Act = kernels.SiLU
			cs = append(cs, newCase(s, sumTol, mathWhy, x))
			s.Act = kernels.None
		}
		cs = append(cs, newCase(kernels.SumSamples{N: s.N, Rows: s.Rows, C: s.C}, sumTol, sumWhy, nil))
	}
	cs = append(cs,
		smoothCase(kernels.GroupNorm{N: 2, Rows: 3, C: 4, Groups: 2, Eps: 1e-6}, nil),
		smoothCase(kernels.GroupNorm{N: 2, Rows: 3, C: 4, Groups: 2, Eps: 1e-6, Adaptive: true}, nil))
	norm := kernels.GroupNorm{N: 1, Rows: 5 * 32 * 32, C: 128, Groups: 32, Eps: 1e-6}
	activated := norm
	activated.Act = kernels.SiLU
	return append(cs,
		benchCase(norm, mathTol, roundWhy, nil),
		benchCase(activated, sumTol, mathWhy, nil),
		benchCase(kernels.GroupNormGradX{GroupNorm: norm}, sumTol, sumWhy, nil),
		benchCase(kernels.GroupNormGradGamma{GroupNorm: norm}, 1e-10, "sums in float32 of thousands of terms, partly cancelling", nil),
		benchCase(kernels.SumSamples{N: 2, Rows: 4096, C: 64}, 1e-10, "sums in float32 of thousands of terms, partly cancelling", nil))
}

// shifted are values whose mean is twice their deviation.
var shifted Draw = func(s *philox.Stream, dst []float32) {
	for i := range dst {
		dst[i] = float32(2 + s.Normal())
	}
}
