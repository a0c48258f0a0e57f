package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestAttentionLiterals(t *testing.T) {
	tokens, memory := []float32{1, ln3, 4, 0, 0, 8}, []float32{0, 5} // q, k, v of two tokens
	space := kernels.Attention{N: 1, T: 1, P: 2, Heads: 1, Dim: 1, Memory: 1}
	causal := kernels.Attention{N: 1, T: 2, P: 1, Heads: 1, Dim: 1, Memory: 1, Over: kernels.Time, Causal: true}
	checkLiterals(t,
		// Token 0 weighs memory, itself and token 1 by 1/5, 3/5, 1/5; token 1 all alike.
		literal{space, [][]float32{tokens, memory}, []float32{5, 5.6666667}},
		// Causal: 1/4 and 3/4.
		literal{causal, [][]float32{tokens, memory}, []float32{4.25, 5.6666667}},
		literal{kernels.AttentionGrad{Attention: causal}, [][]float32{{1, 0}, tokens, memory}, []float32{-.2059898, -.1875, .75, 0, 0, 0}},
		literal{kernels.AttentionGradMem{Attention: causal}, [][]float32{{1, 0}, tokens, memory}, []float32{.1875, .25}},
		// Logarithms of the sums 4 and 3.
		literal{kernels.AttentionStats{Attention: causal}, [][]float32{tokens, memory}, []float32{4.25, 5.6666667, 1.3862944, 1.0986123}},
		// The same gradients at once, of given statistics; with half the sum all weights are twice as large.
		literal{kernels.AttentionBackward{Attention: causal}, [][]float32{{1, 0}, tokens, memory, {4.25, 0}, {1.3862944, 0}}, []float32{-.2059898, -.1875, .75, 0, 0, 0, .1875, .25}},
		literal{kernels.AttentionBackward{Attention: causal}, [][]float32{{1, 0}, tokens, memory, {4.25, 0}, {.6931472, 0}}, []float32{-.4119796, -.375, 1.5, 0, 0, 0, .375, .5}},
	)
}

func TestAttentionValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Attention{N: 1, T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1, Over: 2}, "Over is 2, want 0 (Space) or 1 (Time)"},
		refusal{kernels.Attention{N: 1, T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1, Causal: true}, "want Over = Time"},
		refusal{kernels.AttentionGradMem{Attention: kernels.Attention{N: 1, T: 1, P: 1, Heads: 1, Dim: 1}}, "Memory is 0"},
		refusal{kernels.AttentionGradMem{Attention: kernels.Attention{T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1}}, "N is 0"},
	)
}
