package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestLogitsLiterals(t *testing.T) {
	x := []float32{-2, 0, .5, 3}
	mean := func(of kernels.LogitFunc, y float32, dx ...float32) []literal {
		s := kernels.LogitMean{Len: 4, Of: of}
		return []literal{{s, [][]float32{x}, []float32{y}}, {kernels.LogitMeanGrad(s), [][]float32{{4}, x}, dx}}
	}
	for _, l := range [][]literal{
		mean(kernels.LogitValue, .375, 1, 1, 1, 1),
		mean(kernels.HingeReal, 1.125, -1, -1, -1, 0),
		mean(kernels.HingeFake, 1.625, 0, 1, 1, 1),
		mean(kernels.LogisticReal, .8356849, -.8807971, -.5, -.37754068, -.04742587),
		mean(kernels.LogisticFake, 1.2106849, .11920292, .5, .62245935, .95257413),
		mean(kernels.IsPositive, .5, 0, 0, 0, 0),
		mean(kernels.IsNegative, .25, 0, 0, 0, 0),
	} {
		checkLiterals(t, l...)
	}
	a, b := []float32{3, 4}, []float32{0, 2}
	checkLiterals(t,
		literal{kernels.GradientRatio{Len: 2, Max: 9}, [][]float32{a, b}, []float32{2.5}},
		literal{kernels.GradientRatio{Len: 2, Eps: .5, Max: 9}, [][]float32{a, b}, []float32{2}},
		literal{kernels.GradientRatio{Len: 2, Floor: 4, Max: 9}, [][]float32{a, b}, []float32{1.25}},
		literal{kernels.GradientRatio{Len: 2, Max: 2}, [][]float32{a, b}, []float32{2}},
		literal{kernels.GradientRatio{Len: 2, Max: 9}, [][]float32{{0, 0}, {0, 0}}, []float32{1}},
	)
}

func TestLogitsValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.LogitMean{Len: 1, Of: 7}, "Of is 7, want 0 (LogitValue) to 6 (IsNegative)"},
		refusal{kernels.LogitMeanGrad{}, "Len is 0"},
		refusal{kernels.GradientRatio{Len: 1, Floor: -1}, "want numbers from 0 on"},
	)
}
