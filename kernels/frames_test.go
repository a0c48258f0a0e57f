package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestFramesLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.PadFront{N: 2, T: 1, Inner: 2, P: 1}, [][]float32{{7, 8, 9, 1}}, []float32{0, 0, 7, 8, 0, 0, 9, 1}},
		literal{kernels.CropFront{N: 2, T: 1, Inner: 2, P: 1}, [][]float32{{5, 6, 7, 8, 3, 4, 9, 1}}, []float32{7, 8, 9, 1}},
	)
}

func TestFramesValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.PadFront{N: 1, T: 1, Inner: 1, P: -1}, "P is -1, want at least 0"},
		refusal{kernels.CropFront{N: 1, T: 0, Inner: 1, P: 2}, "T is 0"},
	)
}
