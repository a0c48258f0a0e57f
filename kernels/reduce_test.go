package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestReduceLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.SumRows{Rows: 2, C: 2}, [][]float32{{1, 2, 3, 5}}, []float32{4, 7}},
		literal{kernels.SumSquares{Len: 2}, [][]float32{{3, 4}}, []float32{25}},
		literal{kernels.SumSquaresGrad{Len: 2}, [][]float32{{10}, {3, 4}}, []float32{60, 80}},
		literal{kernels.WeightedSum{Len: 2, W: [4]float32{2, -1}}, [][]float32{{3, 5}}, []float32{1}},
		literal{kernels.Spread{Len: 2, W: [4]float32{2, -1}}, [][]float32{{3}}, []float32{6, -3}},
	)
}

func TestReduceValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.SumRows{Rows: 1 << 30, C: 1 << 30}, "more than"},
		refusal{kernels.SumSquares{}, "Len is 0"},
		refusal{kernels.SumSquaresGrad{}, "Len is 0"},
		refusal{kernels.WeightedSum{Len: 5}, "Len is 5, want 1 to 4"},
		refusal{kernels.Spread{Len: 1, W: [4]float32{1, 2}}, "W[1] is 2, want 0"},
	)
}
