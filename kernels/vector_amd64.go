package kernels

var isaVectors = map[ISA]*vectors{
	Generic: &plainVectors,
	AVX2: {
		act: [activations]func(dst, x []float32){None: plainCopy, SoftClamp: plainSoftClamp, ReLU: plainReLU, LeakyReLU5: plainLeaky5,
			ELU: eluAVX2, SiLU: siluAVX2, LeakyReLU: leakyAVX2, Sigmoid: sigmoidAVX2, Tanh: tanhAVX2, GELU: geluAVX2},
		grad: [activations]func(dst, dy, s []float32){None: plainCopyGrad, SoftClamp: plainSoftClampGrad, ReLU: plainReLUGrad, LeakyReLU5: plainLeaky5Grad,
			ELU: eluGradAVX2, SiLU: siluGradAVX2, LeakyReLU: leakyGradAVX2, Sigmoid: sigmoidGradAVX2, Tanh: tanhGradAVX2, GELU: geluGradAVX2},
		add: addAVX2, mulAdd: mulAddAVX2, affine: affineAVX2, axpy: axpyAVX2, adam: adamAVX2, adamAlone: adamAloneAVX2,
		sum: sumAVX2, squares: squaresAVX2, dot: dotAVX2, greatest: greatestAVX2, exps: expsAVX2,
		softmaxColumns: softmaxColumnsAVX2, transposed: transposedAVX2, weights: weightsAVX2,
		rowSums: rowSumsAVX2, rowSquares: rowSquaresAVX2, rowDots: rowDotsAVX2, rowPairs: rowPairsAVX2, rowAlong: rowAlongAVX2,
		rowStandardise: rowStandardiseAVX2, rowScale: rowScaleAVX2, rowMul: rowMulAVX2, rowSlope: rowSlopeAVX2, rowMix: rowMixAVX2,
		addRows: addRowsAVX2, weighRows: weighRowsAVX2, mulRows: mulRowsAVX2, normRows: normRowsAVX2,
		gateStep: gateStepAVX2, gateBack: gateBackAVX2, geglu: gegluAVX2, gegluGrad: gegluGradAVX2,
		quads: quadsAVX2, quadsBack: quadsBackAVX2, thirds: thirdsAVX2, thirdsBack: thirdsBackAVX2,
		lossSum:   [2]func(x, target, weight []float32, overshoot float32) float64{MSE: squareErrorAVX2, L1: absoluteErrorAVX2},
		lossSlope: [2]func(dx, x, target, weight []float32, overshoot float32){MSE: squareErrorSlopeAVX2, L1: absoluteErrorSlopeAVX2},
	},
	AVX512: {
		act: [activations]func(dst, x []float32){None: plainCopy, SoftClamp: plainSoftClamp, ReLU: plainReLU, LeakyReLU5: plainLeaky5,
			ELU: eluAVX512, SiLU: siluAVX512, LeakyReLU: leakyAVX512, Sigmoid: sigmoidAVX512, Tanh: tanhAVX512, GELU: geluAVX512},
		grad: [activations]func(dst, dy, s []float32){None: plainCopyGrad, SoftClamp: plainSoftClampGrad, ReLU: plainReLUGrad, LeakyReLU5: plainLeaky5Grad,
			ELU: eluGradAVX512, SiLU: siluGradAVX512, LeakyReLU: leakyGradAVX512, Sigmoid: sigmoidGradAVX512, Tanh: tanhGradAVX512, GELU: geluGradAVX512},
		add: addAVX512, mulAdd: mulAddAVX512, affine: affineAVX512, axpy: axpyAVX512, adam: adamAVX512, adamAlone: adamAloneAVX512,
		sum: sumAVX512, squares: squaresAVX512, dot: dotAVX512, greatest: greatestAVX512, exps: expsAVX512,
		softmaxColumns: softmaxColumnsAVX512, transposed: transposedAVX512, weights: weightsAVX512, querySums: querySumsAVX512,
		rowSums: rowSumsAVX512, rowSquares: rowSquaresAVX512, rowDots: rowDotsAVX512, rowPairs: rowPairsAVX512, rowAlong: rowAlongAVX512,
		rowStandardise: rowStandardiseAVX512, rowScale: rowScaleAVX512, rowMul: rowMulAVX512, rowSlope: rowSlopeAVX512, rowMix: rowMixAVX512,
		addRows: addRowsAVX512, weighRows: weighRowsAVX512, mulRows: mulRowsAVX512, normRows: normRowsAVX512,
		gateStep: gateStepAVX512, gateBack: gateBackAVX512, geglu: gegluAVX512, gegluGrad: gegluGradAVX512,
		quads: quadsAVX2, quadsBack: quadsBackAVX2, thirds: thirdsAVX2, thirdsBack: thirdsBackAVX2,
		lossSum:   [2]func(x, target, weight []float32, overshoot float32) float64{MSE: squareErrorAVX512, L1: absoluteErrorAVX512},
		lossSlope: [2]func(dx, x, target, weight []float32, overshoot float32){MSE: squareErrorSlopeAVX512, L1: absoluteErrorSlopeAVX512},
	},
}

// weightsAVX512 is plainWeights.
func weightsAVX512(p, ds, k, v, q, dy, lse, mean []float32, m, dim, ld int) {
	m = ceilDiv(m, weightRows)
	for j := 0; j < ld; j += 32 {
		do := weights32AVX512
		if ld-j < 32 {
			do = weights16AVX512
		}
		do(&p[j], &ds[j], &k[0], &v[0], &q[j], &dy[j], &lse[j], &mean[j], m, dim, ld)
	}
}

// weightsAVX2 is plainWeights.
func weightsAVX2(p, ds, k, v, q, dy, lse, mean []float32, m, dim, ld int) {
	m = ceilDiv(m, 4)
	for j := 0; j < ld; j += 16 {
		do := weights16AVX2
		if ld-j < 16 {
			do = weights8AVX2
		}
		do(&p[j], &ds[j], &k[0], &v[0], &q[j], &dy[j], &lse[j], &mean[j], m, dim, ld)
	}
}

// peakLoop makes n rounds of independent multiply-adds in registers and returns the
// number of floating-point operations of a round.
func peakLoop(isa ISA, n int) int {
	switch isa {
	case AVX512:
		peakAVX512(n)
		return 2 * 12 * 16
	case AVX2:
		peakAVX2(n)
		return 2 * 12 * 8
	}
	return peakGeneric(n)
}
