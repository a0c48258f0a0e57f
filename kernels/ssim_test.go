package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// Worked out by hand. A window of one pixel has no variance: S = (2·x·t + C1)/(x² + t² + C1).
// Two flat frames, and a frame and its negative.
func TestSSIMLossLiterals(t *testing.T) {
	one := kernels.SSIMLoss{N: 1, H: 1, W: 2, C: 1, Window: 1}
	single := func(x, t float64) float64 { return 1 - (2*x*t+1e-4)/(x*x+t*t+1e-4) }
	g := math.Exp(-1/4.5) / (1 + 2*math.Exp(-1/4.5)) // weight of the outer taps of a window of three
	v := 1 - math.Pow(1-4*g, 2)                      // variance of columns -1, 1, -1
	checkLiterals(t,
		literal{one, [][]float32{{.5, 1}, {.25, 1}, {3, 1}}, []float32{float32(3 * single(.5, .25) / 4)}},
		literal{kernels.SSIMLoss{N: 1, H: 3, W: 3, C: 1, Window: 3}, [][]float32{{1, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 2, 0, 0, 0, 0}},
			[]float32{float32(single(1, 0))}},
		literal{kernels.SSIMLoss{N: 1, H: 3, W: 3, C: 1, Window: 3}, [][]float32{{-1, 1, -1, -1, 1, -1, -1, 1, -1}, {1, -1, 1, 1, -1, 1, 1, -1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}},
			[]float32{float32(1 - (-2*(1-v)+1e-4)*(-2*v+9e-4)/((2*(1-v)+1e-4)*(2*v+9e-4)))}},
	)
}

// A frame next to itself has neither an error nor a slope.
func TestSSIMLossOfEqualFrames(t *testing.T) {
	x := random("frame", 12*13*3)
	weight := make([]float32, 12*13)
	for i := range weight {
		weight[i] = 1
	}
	s := kernels.SSIMLoss{N: 1, H: 12, W: 13, C: 3, Window: 11}
	if loss := define(s, x, x, weight); math.Abs(float64(loss[0])) > 1e-7 {
		t.Errorf("loss %g", loss[0])
	}
	for i, d := range define(kernels.SSIMLossGrad(s), []float32{1}, x, x, weight) {
		if math.Abs(float64(d)) > 1e-7 {
			t.Fatalf("slope %g of value %d", d, i)
		}
	}
}

func TestSSIMLossValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.SSIMLoss{N: 1, H: 8, W: 20, C: 3, Window: 11}, "Window is 11, want an odd number from 1 to 8"},
		refusal{kernels.SSIMLossGrad{N: 1, H: 8, W: 8, C: 3, Window: 4}, "Window is 4, want an odd number"},
	)
}
