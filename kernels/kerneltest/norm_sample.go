package kerneltest

import "magvit/kernels"

func normSampleCases() []Case {
	var cs []Case
	for _, s := range []kernels.AdaptiveRMSNorm{{N: 1, Rows: 1, C: 2}, {N: 3, Rows: 5, C: 7}, {N: 2, Rows: 129, C: 33}, {N: 2, Rows: 33, C: 513}, {N: 2, Rows: 1024, C: 3}} {
		n := kernels.Normalize{Rows: s.N * s.Rows, C: s.C}
		cs = append(cs,
			newCase(s, mathTol, roundWhy, nil),
			newCase(kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: s}, sumTol, sumWhy, nil),
			newCase(kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: s}, sumTol, sumWhy, nil),
			newCase(n, roundTol, roundWhy, nil),
			newCase(kernels.NormalizeGrad(n), mathTol, roundWhy, nil))
	}
	floor := map[string]Draw{"x": Constant(1e-14, -2e-14, 0)}
	cs = append(cs,
		newCase(kernels.Normalize{Rows: 2, C: 6}, roundTol, roundWhy, floor),
		newCase(kernels.NormalizeGrad{Rows: 2, C: 6}, mathTol, roundWhy, floor),
		newCase(kernels.NormalizeGrad{Rows: 2, C: 5}, mathTol, roundWhy, map[string]Draw{"x": Constant(0)}))
	cs = append(cs, smoothCase(kernels.AdaptiveRMSNorm{N: 2, Rows: 3, C: 5}, nil), smoothCase(kernels.Normalize{Rows: 3, C: 5}, nil))
	norm, rows := kernels.AdaptiveRMSNorm{N: 2, Rows: 4096, C: 64}, kernels.Normalize{Rows: 5120, C: 18}
	return append(cs,
		benchCase(norm, mathTol, roundWhy, nil),
		benchCase(kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: norm}, sumTol, sumWhy, nil),
		benchCase(kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: norm}, sumTol, sumWhy, nil),
		benchCase(rows, roundTol, roundWhy, nil),
		benchCase(kernels.NormalizeGrad(rows), mathTol, roundWhy, nil))
}
