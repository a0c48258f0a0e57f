package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// Two batches of a step have bits 0 and 1: each has entropy 0 of its own, the step has log 2.
func TestBSQStepLiterals(t *testing.T) {
	l := kernels.LFQ{Tokens: 1, Books: 1, Bits: 1}
	s := kernels.BSQLoss{LFQ: l, InvTemp: 100}
	checkLiterals(t,
		literal{kernels.BSQMeans(s), [][]float32{{-1}}, []float32{0}},
		literal{kernels.BSQMeans{LFQ: l, InvTemp: .25}, [][]float32{{ln3}}, []float32{.75}},
		literal{kernels.BSQStepLoss{BSQLoss: s}, [][]float32{{-1}, {.5}}, []float32{0, math.Ln2, 0}},
		// p = 3/4, so dp/du = 3/16; a mean of 1/4 has the slope log 3.
		literal{kernels.BSQStepLossGrad{BSQLossGrad: kernels.BSQLossGrad{LFQ: l, InvTemp: .25}}, [][]float32{{0, 1, 0}, {ln3}, {.25}}, []float32{3 * ln3 / 16}},
	)
	checkRefusals(t, refusal{kernels.BSQMeans{LFQ: l}, "InvTemp is 0"}, refusal{kernels.BSQStepLoss{BSQLoss: kernels.BSQLoss{LFQ: l}}, "InvTemp is 0"})
}

// TestBSQStepEqualsOneBatch divides a batch. The means of its parts' losses and gradients are
// those of the whole.
func TestBSQStepEqualsOneBatch(t *testing.T) {
	const parts = 3
	whole := kernels.BSQLoss{LFQ: kernels.LFQ{Tokens: 12, Books: 2, Bits: 5}, InvTemp: .5}
	part := whole
	part.Tokens /= parts
	u, dterms := random("u", whole.Tokens*whole.Books*whole.Bits), []float32{.1, -.4, .25}
	n := len(u) / parts
	mean := make([]float32, whole.Books*whole.Bits)
	for i := range parts {
		for j, v := range define(kernels.BSQMeans(part), u[i*n:][:n]) {
			mean[j] += v / parts
		}
	}
	terms, grad := make([]float32, 3), []float32(nil)
	for i := range parts {
		for j, v := range define(kernels.BSQStepLoss{BSQLoss: part}, u[i*n:][:n], mean) {
			terms[j] += v / parts
		}
		for _, v := range define(kernels.BSQStepLossGrad{BSQLossGrad: kernels.BSQLossGrad(part)}, dterms, u[i*n:][:n], mean) {
			grad = append(grad, v/parts)
		}
	}
	near(t, "terms", terms, define(whole, u))
	near(t, "gradient", grad, define(kernels.BSQLossGrad(whole), dterms, u))
}
