package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestShiftLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.TokenShift{N: 1, T: 2, P: 1, C: 3}, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{1, 2, 0, 4, 5, 3}},
		literal{kernels.TokenShift{N: 1, T: 2, P: 1, C: 3, Back: true}, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{1, 2, 6, 4, 5, 0}},
	)
}

func TestShiftValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.TokenShift{N: 1, T: 1, P: -1, C: 1}, "P is -1"},
	)
}
