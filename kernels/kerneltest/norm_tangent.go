package kerneltest

import "magvit/kernels"

func normTangentCases() []Case {
	var cs []Case
	for _, d := range [][2]int{{1, 2}, {3, 7}, {129, 32}, {33, 96}, {40, 513}, {1100, 16}, {9, 33}} {
		s := kernels.RMSNormTangent{Rows: d[0], C: d[1]}
		cs = append(cs,
			newCase(s, sumTol, sumWhy, nil),
			newCase(kernels.RMSNormTangentGradX(s), sumTol, sumWhy, nil),
			newCase(kernels.RMSNormTangentGradGamma(s), sumTol, sumWhy, nil))
	}
	floor := map[string]Draw{"x": Constant(1e-14, -2e-14, 0)}
	low := kernels.RMSNormTangent{Rows: 2, C: 6}
	cs = append(cs,
		newCase(low, mathTol, roundWhy, floor),
		newCase(kernels.RMSNormTangentGradX(low), exactTol, "the floor has no slope", floor),
		newCase(kernels.RMSNormTangentGradGamma(low), mathTol, roundWhy, floor),
		smoothCase(kernels.RMSNormGradX{Rows: 3, C: 7}, nil), smoothCase(kernels.RMSNormTangent{Rows: 3, C: 7}, nil))
	large := kernels.RMSNormTangent{Rows: 4 * 32 * 32, C: 64}
	return append(cs,
		benchCase(large, sumTol, sumWhy, nil),
		benchCase(kernels.RMSNormTangentGradX(large), sumTol, sumWhy, nil),
		benchCase(kernels.RMSNormTangentGradGamma(large), sumTol, sumWhy, nil))
}
