package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestNormLiterals(t *testing.T) {
	checkLiterals(t,
		// Mean 2, variance 1, Eps 3: the row is halved.
		literal{kernels.LayerNorm{Rows: 1, C: 2, Eps: 3}, [][]float32{{1, 3}, {2, 4}, {1, 0}}, []float32{0, 2}},
		literal{kernels.LayerNormGradX{Rows: 1, C: 2, Eps: 3}, [][]float32{{1, 1}, {1, 3}, {2, 4}}, []float32{-.375, .375}},
		literal{kernels.LayerNormGradGamma{Rows: 1, C: 2, Eps: 3}, [][]float32{{1, 2}, {1, 3}}, []float32{-.5, 1}},
		literal{kernels.RMSNorm{Rows: 1, C: 4}, [][]float32{{3, 4, 0, 0}, {1, 2, 1, 1}}, []float32{1.2, 3.2, 0, 0}},
		literal{kernels.RMSNorm{Rows: 1, C: 1}, [][]float32{{1e-13}, {1}}, []float32{.1}},
		literal{kernels.RMSNormGradX{Rows: 1, C: 4}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}, {1, 2, 1, 1}}, []float32{-.128, .096, .4, 0}},
		literal{kernels.RMSNormGradX{Rows: 1, C: 4, Residual: true}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}, {1, 2, 1, 1}, {1, 0, -1, 2}}, []float32{.872, .096, -.6, 2}},
		literal{kernels.RMSNormGrad{Rows: 1, C: 4, Residual: true}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}, {1, 2, 1, 1}, {1, 0, -1, 2}},
			[]float32{.872, .096, -.6, 2, 1.2, 1.6, 0, 0}},
		literal{kernels.RMSNormGradGamma{Rows: 1, C: 4}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}}, []float32{1.2, 1.6, 0, 0}},
	)
}

func TestNormValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.LayerNorm{Rows: 1, C: 1}, "Eps is 0, want a positive number"},
		refusal{kernels.LayerNormGradX{Rows: 1, C: 1, Eps: -1}, "Eps is -1"},
		refusal{kernels.LayerNormGradGamma{Rows: 0, C: 1, Eps: 1}, "Rows is 0"},
		refusal{kernels.RMSNorm{Rows: 1}, "C is 0"},
		refusal{kernels.RMSNormGradX{Rows: 1}, "C is 0"},
		refusal{kernels.RMSNormGradGamma{Rows: 1}, "C is 0"},
		refusal{kernels.RMSNormGrad{Rows: 1}, "C is 0"},
	)
}
