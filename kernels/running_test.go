package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestRunningLiterals(t *testing.T) {
	checkLiterals(t, literal{kernels.RunningAverage{Len: 2, Rate: .25}, [][]float32{{1, 4}, {5, 0}}, []float32{2, 3}})
	for _, c := range []struct {
		guard float32
		want  []float32
	}{{1, []float32{2, 3}}, {float32(math.NaN()), []float32{1, 4}}, {float32(math.Inf(-1)), []float32{1, 4}}} {
		average := []float32{1, 4}
		kernels.RunningUpdate{Len: 2, Rate: .25}.Define(average, []float32{5, 0}, []float32{c.guard})
		near(t, "RunningUpdate", average, c.want)
	}
}

func TestRunningValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.RunningAverage{Len: 1}, "Rate is 0, want more than 0, at most 1"},
		refusal{kernels.RunningUpdate{Len: 0, Rate: 1}, "Len is 0"},
	)
}
