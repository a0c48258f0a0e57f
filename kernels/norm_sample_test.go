package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestNormSampleLiterals(t *testing.T) {
	s := kernels.AdaptiveRMSNorm{N: 2, Rows: 1, C: 4}
	checkLiterals(t,
		literal{s, [][]float32{{3, 4, 0, 0, 3, 4, 0, 0}, {1, 2, 1, 1, 2, 1, 1, 1}}, []float32{1.2, 3.2, 0, 0, 2.4, 1.6, 0, 0}},
		literal{kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: s}, [][]float32{{0, 0, 0, 0, 1, 1, 1, 0}, {3, 4, 0, 0, 3, 4, 0, 0}, {3, 3, 3, 3, 1, 2, 1, 1}}, []float32{0, 0, 0, 0, -.128, .096, .4, 0}},
		literal{kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: s}, [][]float32{{1, 1, 1, 0, 2, 0, 0, 0}, {3, 4, 0, 0, 3, 4, 0, 0}}, []float32{1.2, 1.6, 0, 0, 2.4, 0, 0, 0}},
		literal{kernels.Normalize{Rows: 2, C: 2}, [][]float32{{3, 4, 1e-13, 0}}, []float32{.6, .8, .1, 0}},
		literal{kernels.NormalizeGrad{Rows: 2, C: 2}, [][]float32{{1, 0, 1e-12, 2e-12}, {3, 4, 1e-13, 0}}, []float32{.128, -.096, 1, 2}},
	)
}

func TestNormSampleValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.AdaptiveRMSNorm{Rows: 1, C: 1}, "N is 0"},
		refusal{kernels.Normalize{Rows: 1}, "C is 0"},
		refusal{kernels.NormalizeGrad{C: 2}, "Rows is 0"},
	)
}
