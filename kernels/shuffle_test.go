package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestShuffleLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 2, C: 1, FT: 1, FH: 2, FW: 2}, [][]float32{{1, 2, 3, 4, 5, 6, 7, 8}}, []float32{1, 2, 5, 6, 3, 4, 7, 8}},
		literal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 1}, [][]float32{{1, 2, 3, 4}}, []float32{1, 3, 2, 4}},
		literal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 2, C: 1, FT: 1, FH: 2, FW: 2, Down: true}, [][]float32{{1, 2, 5, 6, 3, 4, 7, 8}}, []float32{1, 2, 3, 4, 5, 6, 7, 8}},
		literal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 1, Act: kernels.SiLU}, [][]float32{{1, -2, -3, 4}}, []float32{.7310586, -.14227761, -.23840584, 3.9280552}},
		literal{kernels.ShuffleGrad{Shuffle: kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 1, Act: kernels.SiLU}},
			[][]float32{{5, 6, 7, 8}, {1, -2, -3, 4}}, []float32{4.6383525, -.63548975, -.52862472, 8.4213168}},
	)
}

func TestShuffleValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 0, FW: 1}, "FH is 0"},
		refusal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 1, FW: 1, Act: 99}, "unknown activation 99"},
		refusal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 1, FW: 1, Act: kernels.ELU}, "Act is ELU, want None, SiLU or GELU"},
		refusal{kernels.ShuffleGrad{Shuffle: kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, FT: 1, FH: 1, FW: 1}}, "C is 0"},
	)
}
