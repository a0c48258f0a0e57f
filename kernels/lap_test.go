package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The values beyond the reach of a border, and the outer halves of the first and last block, are copied.
func TestLapLiterals(t *testing.T) {
	pairs := kernels.Lap{N: 1, T: 6, Inner: 1, Size: 3, Reach: 1}
	back := pairs
	back.Transposed = true
	checkLiterals(t,
		literal{pairs, [][]float32{{1, 2, 3, 4, 5, 6}, {1, 10, 0, 1}}, []float32{1, 2, 43, 4, 5, 6}},
		literal{back, [][]float32{{1, 2, 3, 4, 5, 6}, {1, 10, 0, 1}}, []float32{1, 2, 3, 34, 5, 6}},
		literal{kernels.Lap{N: 2, T: 4, Inner: 2, Size: 2, Reach: 1}, [][]float32{{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 1, 0}},
			[]float32{0, 1, 4, 5, 2, 3, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7}},
		literal{kernels.Lap{N: 1, T: 2, Inner: 1, Size: 2, Reach: 1}, [][]float32{{5, 6}, {7, 7, 7, 7}}, []float32{5, 6}},
	)
}

func TestLapValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Lap{N: 1, T: 9, Inner: 1, Size: 2, Reach: 1}, "T is 9, want a multiple of Size = 2"},
		refusal{kernels.Lap{N: 1, T: 6, Inner: 1, Size: 3, Reach: 2}, "Reach is 2, want 1 to 1"},
		refusal{kernels.Lap{N: 1, T: 6, Inner: 1, Size: 3}, "Reach is 0"},
		refusal{kernels.Lap{T: 6, Inner: 1, Size: 3, Reach: 1}, "N is 0"},
	)
}
