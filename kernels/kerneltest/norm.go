package kerneltest

import "magvit/kernels"

func normCases() []Case {
	var cs []Case
	shifted := map[string]Draw{"x": Uniform(4, 6)}
	for _, d := range [][2]int{{1, 2}, {3, 7}, {129, 32}, {33, 96}, {40, 513}, {5, 15}, {1100, 16}, {3, 17}, {31, 31}, {9, 33}} {
		rows, c := d[0], d[1]
		cs = append(cs,
			newCase(kernels.LayerNorm{Rows: rows, C: c, Eps: 1e-5}, sumTol, sumWhy, nil),
			newCase(kernels.LayerNorm{Rows: rows, C: c, Eps: 1e-3}, sumTol, "a mean of five times the spread costs three bits", shifted),
			newCase(kernels.LayerNormGradX{Rows: rows, C: c, Eps: 1e-3}, sumTol, sumWhy, nil),
			newCase(kernels.LayerNormGradGamma{Rows: rows, C: c, Eps: 1e-5}, sumTol, sumWhy, nil),
			newCase(kernels.RMSNorm{Rows: rows, C: c}, mathTol, roundWhy, nil),
			newCase(kernels.RMSNormGradX{Rows: rows, C: c}, sumTol, sumWhy, nil),
			newCase(kernels.RMSNormGradX{Rows: rows, C: c, Residual: true}, sumTol, sumWhy, nil),
			newCase(kernels.RMSNormGradGamma{Rows: rows, C: c}, sumTol, sumWhy, nil),
			newCase(kernels.RMSNormGrad{Rows: rows, C: c}, sumTol, sumWhy, nil),
			newCase(kernels.RMSNormGrad{Rows: rows, C: c, Residual: true}, sumTol, sumWhy, nil))
	}
	floor := map[string]Draw{"x": Constant(1e-14, -2e-14, 0)}
	cs = append(cs,
		newCase(kernels.RMSNorm{Rows: 2, C: 6}, mathTol, roundWhy, floor),
		newCase(kernels.RMSNormGradX{Rows: 2, C: 6}, mathTol, roundWhy, floor),
		newCase(kernels.RMSNormGradX{Rows: 2, C: 5}, mathTol, roundWhy, map[string]Draw{"x": Constant(0)}))
	cs = append(cs,
		newCase(kernels.RMSNormGrad{Rows: 2, C: 6}, mathTol, roundWhy, floor),
		newCase(kernels.RMSNormGrad{Rows: 530, C: 64}, sumTol, sumWhy, nil), // two CTAs, of 272 and 258 rows
		newCase(kernels.RMSNormGrad{Rows: 70, C: 512, Residual: true}, sumTol, sumWhy, nil))
	cs = append(cs, smoothCase(kernels.LayerNorm{Rows: 3, C: 7, Eps: .01}, nil), smoothCase(kernels.RMSNorm{Rows: 3, C: 7}, nil))
	layer := kernels.LayerNorm{Rows: 512, C: 96, Eps: 1e-5}
	rms := kernels.RMSNorm{Rows: 2 * 16 * 16 * 16, C: 64}
	largeLayer := kernels.LayerNorm{Rows: 1 << 17, C: 64, Eps: 1e-5}
	largeRMS := kernels.RMSNorm{Rows: 1 << 17, C: 64}
	return append(cs,
		benchCase(layer, sumTol, sumWhy, nil),
		benchCase(kernels.LayerNormGradX(layer), sumTol, sumWhy, nil),
		benchCase(kernels.LayerNormGradGamma(layer), sumTol, sumWhy, nil),
		benchCase(rms, sumTol, sumWhy, nil),
		benchCase(kernels.RMSNormGradX{Rows: rms.Rows, C: rms.C}, sumTol, sumWhy, nil),
		benchCase(kernels.RMSNormGradGamma(rms), sumTol, sumWhy, nil),
		largeBenchCase(largeLayer, sumTol, sumWhy, nil),
		largeBenchCase(kernels.LayerNormGradX(largeLayer), sumTol, sumWhy, nil),
		largeBenchCase(kernels.LayerNormGradGamma(largeLayer), sumTol, sumWhy, nil),
		largeBenchCase(largeRMS, sumTol, sumWhy, nil),
		largeBenchCase(kernels.RMSNormGradX{Rows: largeRMS.Rows, C: largeRMS.C}, sumTol, sumWhy, nil),
		largeBenchCase(kernels.RMSNormGrad{Rows: largeRMS.Rows, C: largeRMS.C}, sumTol, sumWhy, nil))
}
