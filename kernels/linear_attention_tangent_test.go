package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: one query 0 of one channel, whose weights of the
// keys 1 and -1 are both 1, and values 2 and 4.
func TestLinearAttentionTangentLiterals(t *testing.T) {
	s := kernels.LinearAttention{F: 1, P: 2, Heads: 1, Dim: 1}
	ofQ, ofKV := kernels.LinearAttentionTangent{LinearAttention: s}, kernels.LinearAttentionTangent{LinearAttention: s, KV: true}
	q, kv := []float32{0, 0}, []float32{1, 2, -1, 4}
	checkLiterals(t,
		// dw = 1, -1 along q = 1: (2 - 4)/2
		literal{ofQ, [][]float32{{1, 0}, q, kv}, []float32{-1, 0}},
		// The keys do not matter to a query 0: the mean of the values' directions.
		literal{ofKV, [][]float32{{5, 3, 7, 1}, q, kv}, []float32{2, 2}},
		// w_j = 1 + k_j q + q²/2: of sum dw v - y·sum dw, with y' = -1, the slope in q is
		// (1·2 + 1·4 - 3·2)/2 = 0; that of the denominator's second order vanishes too.
		literal{kernels.LinearAttentionTangentGradQ{LinearAttentionTangent: ofQ}, [][]float32{{1, 0}, {1, 0}, q, kv}, []float32{0, 0}},
		// dt/dk_j = (v_j - y)/2, dt/dv_j = k_j/2.
		literal{kernels.LinearAttentionTangentGradKV{LinearAttentionTangent: ofQ}, [][]float32{{1, 0}, {1, 0}, q, kv}, []float32{-.5, .5, .5, -.5}},
	)
}

func TestLinearAttentionTangentValidate(t *testing.T) {
	s := kernels.LinearAttentionTangent{LinearAttention: kernels.LinearAttention{F: 1, P: 1, Heads: 1}}
	checkRefusals(t,
		refusal{s, "Dim is 0"},
		refusal{kernels.LinearAttentionTangentGradQ{LinearAttentionTangent: s}, "Dim is 0"},
		refusal{kernels.LinearAttentionTangentGradKV{LinearAttentionTangent: s}, "Dim is 0"},
	)
}
