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

func TestBSQStepEqualsOneBatch(t *testing.T) {
	l := kernels.LFQ{Tokens: 12, Books: 2, Bits: 5}
	stepEqualsOneBatch(t, l.Tokens*l.Books*l.Bits, l.Books*l.Bits, 3, func(parts int) stepKernels {
		s := kernels.BSQLoss{LFQ: l, InvTemp: .5}
		s.Tokens /= parts
		return stepKernels{kernels.BSQMeans(s), kernels.BSQStepLoss{BSQLoss: s}, kernels.BSQStepLossGrad{BSQLossGrad: kernels.BSQLossGrad(s)}, s, kernels.BSQLossGrad(s)}
	})
}
