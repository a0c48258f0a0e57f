package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestLinearAttentionLiterals(t *testing.T) {
	s := kernels.LinearAttention{F: 1, P: 2, Heads: 1, Dim: 1}
	checkLiterals(t,
		// The four products of query and key are 0, 1, 0, 0: weights 1, 2.5, 1, 1.
		literal{s, [][]float32{{1, 0}, {0, 2, 1, 4}}, []float32{3.4285714, 3}},
		literal{kernels.LinearAttentionGradQ{LinearAttention: s}, [][]float32{{1, 0}, {1, 0}, {0, 2, 1, 4}}, []float32{.3265306, 0}},
		literal{kernels.LinearAttentionGradKV{LinearAttention: s}, [][]float32{{1, 0}, {1, 0}, {0, 2, 1, 4}}, []float32{-.4081633, .2857143, .3265306, .7142857}},
	)
}

func TestLinearAttentionValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.LinearAttention{F: 1, P: 1, Heads: 1, Dim: 1 << 30}, "more than"},
		refusal{kernels.LinearAttentionGradQ{LinearAttention: kernels.LinearAttention{F: 1, P: 1, Heads: 0, Dim: 1}}, "Heads is 0"},
		refusal{kernels.LinearAttentionGradKV{LinearAttention: kernels.LinearAttention{F: 1, P: 0, Heads: 1, Dim: 1}}, "P is 0"},
	)
}
