package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestModulateLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2}, [][]float32{{3, 2}, {0, 1}}, []float32{3, 4}},
		literal{kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2, Demod: true}, [][]float32{{3, 2}, {0, 1}}, []float32{.6, .8}},
		literal{kernels.Modulate{N: 2, O: 1, Taps: 1, C: 1, Demod: true}, [][]float32{{1e-5}, {0, 2}}, []float32{.1, .3}}, // the floor
		literal{kernels.ModulateGradW{Modulate: kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2, Demod: true}}, [][]float32{{1, 0}, {3, 2}, {0, 1}}, []float32{.128, -.192}},
		literal{kernels.ModulateGradS{Modulate: kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2, Demod: true}}, [][]float32{{1, 0}, {3, 2}, {0, 1}}, []float32{.384, -.192}},
	)
}

func TestModulateValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Modulate{N: 1, O: 1, Taps: 0, C: 1}, "Taps is 0"},
	)
}
