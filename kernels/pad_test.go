package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestPadLiterals(t *testing.T) {
	line := func(m kernels.PadMode) kernels.Pad { return kernels.Pad{N: 1, T: 1, H: 1, W: 3, C: 1, PW: 2, Mode: m} }
	checkLiterals(t,
		literal{line(kernels.Zeros), [][]float32{{1, 2, 3}}, []float32{0, 0, 1, 2, 3, 0, 0}},
		literal{line(kernels.Replicate), [][]float32{{1, 2, 3}}, []float32{1, 1, 1, 2, 3, 3, 3}},
		literal{line(kernels.Reflect), [][]float32{{1, 2, 3}}, []float32{3, 2, 1, 2, 3, 2, 1}},
		literal{line(kernels.Circular), [][]float32{{1, 2, 3}}, []float32{2, 3, 1, 2, 3, 1, 2}},
		literal{kernels.Pad{N: 1, T: 3, H: 1, W: 1, C: 1, PT: 2, Mode: kernels.Reflect}, [][]float32{{1, 2, 3}}, []float32{3, 2, 1, 2, 3}},
		literal{kernels.Pad{N: 1, T: 1, H: 2, W: 2, C: 1, PH: 1, Mode: kernels.Circular}, [][]float32{{1, 2, 3, 4}}, []float32{3, 4, 1, 2, 3, 4, 1, 2}},
		literal{kernels.PadGrad{Pad: line(kernels.Zeros)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{3, 4, 5}},
		literal{kernels.PadGrad{Pad: line(kernels.Replicate)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{6, 4, 18}},
		literal{kernels.PadGrad{Pad: line(kernels.Reflect)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{10, 12, 6}},
		literal{kernels.PadGrad{Pad: line(kernels.Circular)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{9, 12, 7}},
	)
}

func TestPadValidate(t *testing.T) {
	circular := kernels.Pad{N: 1, T: 3, H: 3, W: 3, C: 1, PT: 3, Mode: kernels.Circular}
	if err := circular.Validate(); err != nil {
		t.Errorf("%s: %v; a circular pad may be as large as the clip", kernels.Name(circular), err)
	}
	reflect, unknown := circular, circular
	reflect.Mode, unknown.Mode = kernels.Reflect, 7
	checkRefusals(t,
		refusal{unknown, "Mode is 7, want 0 (Zeros) to 3 (Circular)"},
		refusal{reflect, "PT is 3 with T = 3, want 0 to 2 for Reflect"},
		refusal{kernels.PadGrad{Pad: reflect}, "PT is 3"},
	)
}
