package kernels_test

import (
	"testing"

	"magvit/kernels"
)

func TestResampleLiterals(t *testing.T) {
	third := kernels.Resample{N: 1, T: 4, Inner: 1, Kind: kernels.MeanOfThree}
	cut := third
	cut.Kind = kernels.MeanOfThreeCut
	two := third
	two.T, two.Kind = 5, kernels.MeanOfTwo
	linear := kernels.Resample{N: 1, T: 3, Inner: 1, Kind: kernels.Linear}
	head := linear
	head.Head = 1
	checkLiterals(t,
		literal{kernels.Resample{N: 1, T: 2, Inner: 2}, [][]float32{{1, 2, 3, 4}}, []float32{1, 2, 1, 2, 3, 4, 3, 4}},
		literal{linear, [][]float32{{0, 4, 8}}, []float32{0, 1, 3, 5, 7, 8}},
		literal{head, [][]float32{{0, 4, 8}}, []float32{0, 0, 4, 5, 7, 8}},
		literal{third, [][]float32{{3, 6, 9, 12}}, []float32{3, 9}},
		literal{cut, [][]float32{{3, 6, 9, 12}}, []float32{4, 9}},
		literal{two, [][]float32{{3, 6, 9, 12, 15}}, []float32{4.5, 10.5}},
		literal{kernels.ResampleGrad{Resample: two}, [][]float32{{3, 6}}, []float32{1.5, 1.5, 3, 3, 0}},
		literal{kernels.ResampleGrad{Resample: cut}, [][]float32{{3, 6}}, []float32{2, 3, 2, 2}},
		literal{kernels.ResampleGrad{Resample: head}, [][]float32{{1, 1, 4, 4, 4, 4}}, []float32{2, 8, 8}},
	)
}

func TestResampleValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Resample{N: 1, T: 1, Inner: 1, Kind: kernels.MeanOfThree}, "T is 1, want at least 2"},
		refusal{kernels.Resample{N: 1, T: 2, Inner: 1, Head: 1}, "Head is 1"},
		refusal{kernels.Resample{N: 1, T: 2, Inner: 1, Kind: 5}, "Kind is 5, want 0 (Nearest) to 4 (MeanOfTwo)"},
	)
}

func TestBlendLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.Blend{Len: 2}, [][]float32{{4, 8}, {0, 4}, {ln3}}, []float32{3, 7}},
		literal{kernels.BlendGrad{Len: 1, Second: true}, [][]float32{{4}, {ln3}}, []float32{1}},
		literal{kernels.BlendGradMix{Len: 2}, [][]float32{{1, 2}, {4, 8}, {0, 4}, {0}}, []float32{3}},
		literal{kernels.LearnedScale{K: 3}, [][]float32{{6}, {ln3}}, []float32{5.2958369}},
		literal{kernels.LearnedScaleGrad{LearnedScale: kernels.LearnedScale{K: 3}, OfScale: true}, [][]float32{{2}, {6}, {ln3}}, []float32{2}},
	)
}

// The phase is the slow part of the channel index; padding comes after the last row.
func TestPublishedLayoutLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 2, PhaseFirst: true}, [][]float32{{1, 2, 3, 4, 5, 6, 7, 8}}, []float32{1, 2, 3, 4, 5, 6, 7, 8}},
		literal{kernels.Shuffle{N: 1, T: 1, H: 1, W: 2, C: 1, FT: 1, FH: 2, FW: 1, PhaseFirst: true}, [][]float32{{1, 2, 3, 4}}, []float32{1, 3, 2, 4}},
		literal{kernels.Pad{N: 1, T: 1, H: 1, W: 2, C: 1, PH: 1, PW: 1, After: true}, [][]float32{{1, 2}}, []float32{1, 2, 0, 0, 0, 0}},
		literal{kernels.LFQIndex{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 3}, LowFirst: true}, [][]float32{{1, 0, -1}}, []float32{1}},
		literal{kernels.LFQValues{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 3}, LowFirst: true}, [][]float32{{6}}, []float32{-1, 1, 1}},
	)
}
