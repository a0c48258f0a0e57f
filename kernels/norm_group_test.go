package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestGroupNormLiterals(t *testing.T) {
	norm := kernels.GroupNorm{N: 2, Rows: 2, C: 2, Groups: 2, Eps: 3}
	x := []float32{1, 0, 3, 0, 0, -1, 0, 1} // deviations 1, 0; 0, 1
	adaptive := norm
	adaptive.Adaptive = true
	checkLiterals(t,
		literal{norm, [][]float32{x, {2, 4}, {1, 0}}, []float32{0, 0, 2, 0, 1, -2, 1, 2}},
		literal{adaptive, [][]float32{x, {2, 4, 6, 8}, {1, 0, 0, 1}}, []float32{0, 0, 2, 0, 0, -3, 0, 5}},
		literal{kernels.GroupNormGradGamma{GroupNorm: norm}, [][]float32{{1, 1, 2, 1, 1, 1, 1, 3}, x}, []float32{.5, 1}},
		literal{kernels.GroupNormGradGamma{GroupNorm: adaptive}, [][]float32{{1, 1, 2, 1, 1, 1, 1, 3}, x}, []float32{.5, 0, 0, 1}},
		literal{kernels.SumSamples{N: 2, Rows: 2, C: 1}, [][]float32{{1, 2, 3, 4}}, []float32{3, 7}},
		literal{kernels.ChannelStats{N: 1, Rows: 3, C: 1, Eps: 3}, [][]float32{{1, 2, 3}}, []float32{2, 2}},
		literal{kernels.ChannelStatsGrad{N: 1, Rows: 3, C: 1, Eps: 3}, [][]float32{{3, 8}, {1, 2, 3}}, []float32{-1, 1, 3}},
	)
}

func TestGroupNormValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.GroupNorm{N: 1, Rows: 1, C: 6, Groups: 4, Eps: 1}, "Groups is 4, want a divisor of C = 6"},
		refusal{kernels.GroupNorm{N: 1, Rows: 1, C: 6, Groups: 3}, "Eps is 0"},
		refusal{kernels.GroupNormGradX{GroupNorm: kernels.GroupNorm{N: 1, Rows: 1, C: 1, Groups: 1, Eps: 1, Act: kernels.SiLU}}, "Act is SiLU, want None"},
		refusal{kernels.ChannelStats{N: 1, Rows: 1, C: 1, Eps: 1}, "Rows is 1, want at least 2"},
	)
}
