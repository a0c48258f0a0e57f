package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestGateLoopLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.GateLoop{N: 1, T: 2, P: 1, C: 1}, [][]float32{{2, 3, 0, 4, 5, 0}}, []float32{6, 26}},
		literal{kernels.GateLoopGrad{N: 1, T: 2, P: 1, C: 1}, [][]float32{{1, 1}, {2, 3, 0, 4, 5, 0}}, []float32{3, 4, 0, 6.5, 4, 3}},
	)
}

func TestGateLoopValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.GateLoop{N: 1, T: 0, P: 1, C: 1}, "T is 0"},
		refusal{kernels.GateLoopGrad{N: 1, T: 1, P: 1}, "C is 0"},
	)
}
