package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestFramesSliceLiterals(t *testing.T) {
	s := kernels.SliceTime{N: 2, T: 3, Inner: 1, From: 1, To: 3}
	checkLiterals(t,
		literal{kernels.ConcatTime{N: 2, TA: 1, TB: 2, Inner: 1}, [][]float32{{1, 4}, {2, 3, 5, 6}}, []float32{1, 2, 3, 4, 5, 6}},
		literal{s, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{2, 3, 5, 6}},
		literal{kernels.SliceTimeGrad{SliceTime: s}, [][]float32{{2, 3, 5, 6}}, []float32{0, 2, 3, 0, 5, 6}},
	)
}

func TestFramesSliceValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.ConcatTime{N: 1, TA: 1, TB: 0, Inner: 1}, "TB is 0"},
		refusal{kernels.SliceTime{N: 1, T: 3, Inner: 1, From: 2, To: 2}, "want 0 <= From < To <= T = 3"},
		refusal{kernels.SliceTimeGrad{SliceTime: kernels.SliceTime{N: 1, T: 3, Inner: 1, To: 4}}, "To is 4"},
	)
}
