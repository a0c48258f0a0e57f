package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestPoolLiterals(t *testing.T) {
	pairs := kernels.Pool{N: 1, T: 1, H: 1, W: 5, C: 1, KT: 1, KH: 1, KW: 2, ST: 1, SH: 1, SW: 2, OT: 1, OH: 1, OW: 3}
	triples := kernels.Pool{N: 1, T: 3, H: 1, W: 1, C: 1, KT: 3, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, PT: 1, OT: 3, OH: 1, OW: 1}
	pairsMax, triplesMax := pairs, triples
	pairsMax.Kind, triplesMax.Kind = kernels.MaxPool, kernels.MaxPool
	checkLiterals(t,
		literal{pairs, [][]float32{{1, 3, -2, -4, 7}}, []float32{2, -3, 7}}, // the last window has one position
		literal{kernels.PoolGrad{Pool: pairs}, [][]float32{{2, 4, 6}}, []float32{1, 1, 2, 2, 6}},
		literal{pairsMax, [][]float32{{1, 3, -2, -4, 7}}, []float32{3, -2, 7}},
		literal{triples, [][]float32{{3, 6, 9}}, []float32{4.5, 6, 7.5}},
		literal{kernels.PoolGrad{Pool: triples}, [][]float32{{2, 3, 4}}, []float32{2, 4, 3}},
		literal{triplesMax, [][]float32{{5, 5, -1}}, []float32{5, 5, 5}},
		// Of the equal values the first is the maximum, also of the last window, which has no first frame.
		literal{kernels.PoolGrad{Pool: triplesMax}, [][]float32{{2, 3, 4}, {5, 5, -1}, {5, 5, 5}}, []float32{5, 4, 0}},
	)
}

func TestPoolValidate(t *testing.T) {
	s := kernels.Pool{N: 1, T: 1, H: 1, W: 5, C: 1, KT: 1, KH: 1, KW: 2, ST: 1, SH: 1, SW: 2, OT: 1, OH: 1, OW: 3}
	outside, before, kind := s, s, s
	outside.OW, before.PW, kind.Kind = 4, 2, 2
	checkRefusals(t,
		refusal{outside, "W is 5 with 4 windows of 2"},
		refusal{before, "2 positions before the first"},
		refusal{kernels.PoolGrad{Pool: kind}, "Kind is 2, want 0 (MeanPool) or 1 (MaxPool)"},
	)
}
