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

// stepKernels are the kernels of a loss of a step: the means of a batch, the loss and its gradient
// with given means, and both of a batch alone.
type stepKernels struct{ means, loss, grad, lossAlone, gradAlone kernels.Spec }

// stepEqualsOneBatch divides a batch of values into parts. The means of the parts' losses and
// gradients, with means [means] of all, are those of the whole. of returns the kernels of a number of parts.
func stepEqualsOneBatch(t *testing.T, values, means, parts int, of func(parts int) stepKernels) {
	t.Helper()
	x, dterms := random("x", values), []float32{.1, -.4, .25}
	n, part, whole := values/parts, of(parts), of(1)
	mean := make([]float32, means)
	for i := range parts {
		for j, v := range define(part.means, x[i*n:][:n]) {
			mean[j] += v / float32(parts)
		}
	}
	terms, grad := make([]float32, len(dterms)), []float32(nil)
	for i := range parts {
		for j, v := range define(part.loss, x[i*n:][:n], mean) {
			terms[j] += v / float32(parts)
		}
		for _, v := range define(part.grad, dterms, x[i*n:][:n], mean) {
			grad = append(grad, v/float32(parts))
		}
	}
	near(t, "terms", terms, define(whole.lossAlone, x))
	near(t, "gradient", grad, define(whole.gradAlone, dterms, x))
}

func TestLFQStepEqualsOneBatch(t *testing.T) {
	for _, offset := range []float32{0, 1e-2} {
		l := kernels.LFQ{Tokens: 12, Books: 2, Bits: 5}
		stepEqualsOneBatch(t, l.Tokens*l.Books*l.Bits, l.Books<<l.Bits, 3, func(parts int) stepKernels {
			s := kernels.LFQLoss{LFQ: l, InvTemp: .5, Offset: offset}
			s.Tokens /= parts
			return stepKernels{kernels.LFQMeans{LFQ: s.LFQ, InvTemp: s.InvTemp}, kernels.LFQStepLoss{LFQLoss: s},
				kernels.LFQStepLossGrad{LFQLossGrad: kernels.LFQLossGrad(s)}, s, kernels.LFQLossGrad(s)}
		})
	}
}
