package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestModConvLiterals(t *testing.T) {
	point := kernels.Conv{N: 2, T: 1, H: 1, W: 1, C: 1, O: 1, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	checkLiterals(t,
		literal{kernels.ModConv{Conv: point}, [][]float32{{2, 3}, {5, 7}}, []float32{10, 21}},
		literal{kernels.ModConvGradX{Conv: point}, [][]float32{{1, 2}, {5, 7}}, []float32{5, 14}},
		literal{kernels.ModConvGradW{Conv: point}, [][]float32{{1, 2}, {2, 3}}, []float32{2, 6}},
	)
}

func TestModConvValidate(t *testing.T) {
	active := kernels.Conv{N: 2, T: 1, H: 1, W: 1, C: 1, O: 1, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	residual := active
	active.Act, residual.Residual = kernels.ELU, true
	checkRefusals(t,
		refusal{kernels.ModConv{Conv: residual}, "Residual is set"},
		refusal{kernels.ModConvGradX{Conv: active}, "Act is ELU, want 0 (None)"},
		refusal{kernels.ModConvGradW{Conv: kernels.Conv{}}, "N is 0"},
	)
}
