package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: two batches of two rows with means 1, 2 and 4, 0,
// unbiased variances 2, 0 and 8, 2; with the decay 1/2 the first counts half.
func TestBatchNormLiterals(t *testing.T) {
	x := []float32{0, 2, 2, 2, 2, 1, 6, -1}
	checkLiterals(t,
		literal{kernels.BatchMoments{N: 2, Rows: 2, C: 2, Decay: .5}, [][]float32{x}, []float32{3, 2. / 3}},
		literal{kernels.BatchMoments{N: 2, Rows: 2, C: 2, Decay: .5, Variance: true}, [][]float32{x}, []float32{6, 4. / 3}},
		literal{kernels.BatchMoments{N: 1, Rows: 4, C: 2}, [][]float32{x}, []float32{2.5, 1}},
		literal{kernels.BatchNorm(2, 2, 2, 3), [][]float32{x, {2, 1}, {0, 5}}, []float32{-1, 5, 1, 5, -4 / 2.6457513, 5.5, 4 / 2.6457513, 4.5}},
	)
}

// Running statistics that follow two batches at once are those that follow one, then the other.
func TestBatchMomentsFollowInTurn(t *testing.T) {
	x, rate := []float32{0, 2, 2, 2, 2, 1, 6, -1}, float32(.25)
	for _, variance := range []bool{false, true} {
		at := []float32{10, -3}
		together := define(kernels.RunningAverage{Len: 2, Rate: 1 - .75*.75}, at, define(kernels.BatchMoments{N: 2, Rows: 2, C: 2, Decay: 1 - rate, Variance: variance}, x))
		for n := range 2 {
			at = define(kernels.RunningAverage{Len: 2, Rate: rate}, at, define(kernels.BatchMoments{N: 1, Rows: 2, C: 2, Variance: variance}, x[4*n:][:4]))
		}
		near(t, "running statistics", together, at)
	}
}

func TestBatchNormValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.BatchMoments{N: 1, Rows: 2, C: 1, Decay: 1}, "Decay is 1, want 0 or more, below 1"},
		refusal{kernels.BatchMoments{N: 1, Rows: 1, C: 1, Variance: true}, "Rows is 1, want at least 2"},
		refusal{kernels.BatchMoments{N: 0, Rows: 2, C: 1}, "N is 0"},
	)
}
