package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: errors 1 2 / 4 8 have differences 3 and 1, 6 and -, - and 4.
func TestImageGradientLossLiterals(t *testing.T) {
	s := kernels.ImageGradientLoss{N: 1, H: 2, W: 2, C: 1}
	x, target, weight := []float32{1, 2, 4, 9}, []float32{0, 0, 0, 1}, []float32{2, 1, 3, 2}
	checkLiterals(t,
		literal{s, [][]float32{x, target, weight}, []float32{(2*(3+1) + 1*6 + 3*4) / 8.}},
		literal{kernels.ImageGradientLossGrad(s), [][]float32{{8}, x, target, weight}, []float32{-4, 2 - 1, 2 - 3, 1 + 3}},
		// A shift of all values is no error; two channels share a pixel's weight.
		literal{s, [][]float32{{1, 2, 3, 4}, {0, 1, 2, 3}, {1, 1, 1, 1}}, []float32{0}},
		literal{kernels.ImageGradientLoss{N: 1, H: 1, W: 2, C: 2}, [][]float32{{0, 0, 1, -3}, {0, 0, 0, 0}, {1, 1}}, []float32{1}},
	)
}

func TestImageGradientLossValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.ImageGradientLoss{N: 1, W: 1, C: 1}, "H is 0, want at least 1"},
		refusal{kernels.ImageGradientLossGrad{N: 1, H: 1, W: 1}, "C is 0, want at least 1"},
	)
}
