package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestBlurLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.Blur{N: 1, T: 1, H: 1, W: 3, C: 1, Space: true}, [][]float32{{4, 0, 8}}, []float32{3, 3, 6}},
		literal{kernels.Blur{N: 1, T: 3, H: 1, W: 1, C: 1, Time: true}, [][]float32{{4, 0, 8}}, []float32{3, 3, 6}},
		literal{kernels.Blur{N: 1, T: 1, H: 2, W: 2, C: 1, Space: true}, [][]float32{{16, 0, 0, 0}}, []float32{9, 3, 3, 1}},
	)
}

func TestBlurValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Blur{N: 1, T: 1, H: 1, W: 1, C: 1}, "neither Time nor Space"},
	)
}
