package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// Two batches of a step have signs 0 and 1: each has entropy 0 of its own, the step has log 2.
func TestLFQStepLiterals(t *testing.T) {
	l := kernels.LFQ{Tokens: 1, Books: 1, Bits: 1}
	s := kernels.LFQLoss{LFQ: l, InvTemp: 100}
	checkLiterals(t,
		literal{kernels.LFQMeans{LFQ: l, InvTemp: 100}, [][]float32{{-1}}, []float32{1, 0}},
		literal{kernels.LFQMeans{LFQ: l, InvTemp: .25}, [][]float32{{ln3}}, []float32{.25, .75}},
		literal{kernels.LFQStepLoss{LFQLoss: s}, [][]float32{{-1}, {.5, .5}}, []float32{0, math.Ln2, 0}},
		// p = 3/4 and 1/4, so dp/dz = 3/16 of the second code, whose slope exceeds the first one's by log 3.
		literal{kernels.LFQStepLossGrad{LFQLossGrad: kernels.LFQLossGrad{LFQ: l, InvTemp: .25}}, [][]float32{{0, 1, 0}, {ln3}, {.75, .25}}, []float32{3 * ln3 / 16}},
	)
	checkRefusals(t, refusal{kernels.LFQMeans{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 21}, InvTemp: 1}, "Bits is 21"},
		refusal{kernels.LFQStepLoss{LFQLoss: kernels.LFQLoss{LFQ: l}}, "InvTemp is 0"})
}

// TestLFQStepEqualsOneBatch divides a batch. The means of its parts' losses and gradients are
// those of the whole.
func TestLFQStepEqualsOneBatch(t *testing.T) {
	const parts = 3
	for _, offset := range []float32{0, 1e-2} {
		whole := kernels.LFQLoss{LFQ: kernels.LFQ{Tokens: 12, Books: 2, Bits: 5}, InvTemp: .5, Offset: offset}
		part := whole
		part.Tokens /= parts
		z, dterms := random("z", whole.Tokens*whole.Books*whole.Bits), []float32{.1, -.4, .25}
		n := len(z) / parts
		mean := make([]float32, whole.Books<<whole.Bits)
		for i := range parts {
			for j, v := range define(kernels.LFQMeans{LFQ: part.LFQ, InvTemp: part.InvTemp}, z[i*n:][:n]) {
				mean[j] += v / parts
			}
		}
		terms, grad := make([]float32, 3), []float32(nil)
		for i := range parts {
			for j, v := range define(kernels.LFQStepLoss{LFQLoss: part}, z[i*n:][:n], mean) {
				terms[j] += v / parts
			}
			for _, v := range define(kernels.LFQStepLossGrad{LFQLossGrad: kernels.LFQLossGrad(part)}, dterms, z[i*n:][:n], mean) {
				grad = append(grad, v/parts)
			}
		}
		near(t, "terms", terms, define(whole, z))
		near(t, "gradient", grad, define(kernels.LFQLossGrad(whole), dterms, z))
	}
}
