package kerneltest

import "magvit/kernels"

func batchNormCases() []Case {
	const momentsWhy = "sums in float32 of thousands of terms"
	var cs []Case
	for _, s := range []kernels.BatchMoments{{N: 1, Rows: 2, C: 1}, {N: 2, Rows: 5, C: 8, Decay: .9}, {N: 3, Rows: 129, C: 33, Decay: .5}, {N: 2, Rows: 9000, C: 3, Decay: .9}} {
		for _, s.Variance = range []bool{false, true} {
			cs = append(cs, newCase(s, sumTol, momentsWhy, map[string]Draw{"x": shifted}))
		}
		norm := kernels.BatchNorm(s.N, max(s.Rows, 5), s.C, 1e-5) // of two rows the gradient cancels
		x := map[string]Draw{"x": shifted}
		cs = append(cs, newCase(norm, sumTol, momentsWhy, x),
			newCase(kernels.GroupNormGradX{GroupNorm: norm}, sumTol, sumWhy, x),
			newCase(kernels.GroupNormGradGamma{GroupNorm: norm}, sumTol, sumWhy, x))
	}
	cs = append(cs, smoothCase(kernels.BatchNorm(2, 5, 3, 1e-5), nil))
	large := kernels.BatchNorm(2, 5*16*16, 128, 1e-5)
	return append(cs,
		benchCase(large, sumTol, momentsWhy, nil),
		benchCase(kernels.GroupNormGradX{GroupNorm: large}, sumTol, sumWhy, nil),
		benchCase(kernels.BatchMoments{N: 2, Rows: large.Rows, C: large.C, Decay: .9, Variance: true}, sumTol, momentsWhy, nil))
}
