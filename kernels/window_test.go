package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: the second window would leave the clip.
func TestWindowsLiterals(t *testing.T) {
	s := kernels.Windows{N: 1, T: 2, H: 2, W: 3, C: 1, K: 2, SH: 1, SW: 2}
	at := []float32{1, 0, 1, 0, 5, 2}
	checkLiterals(t,
		literal{s, [][]float32{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, at}, []float32{8, 9, 5, 6}},
		literal{kernels.WindowsGrad(s), [][]float32{{1, 2, 3, 4}, at}, []float32{0, 0, 0, 0, 3, 4, 0, 1, 2, 0, 0, 0}},
	)
}

// Values that two windows have get the sum of both gradients.
func TestWindowsOverlap(t *testing.T) {
	s := kernels.WindowsGrad{N: 1, T: 1, H: 1, W: 3, C: 1, K: 2, SH: 1, SW: 2}
	checkLiterals(t, literal{s, [][]float32{{1, 2, 3, 4}, {0, 0, 0, 0, 0, 1}}, []float32{1, 5, 4}})
}

func TestWindowsValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Windows{N: 1, T: 1, H: 2, W: 2, C: 1, K: 1, SH: 3, SW: 1}, "at most 2×2"},
		refusal{kernels.WindowsGrad{N: 1, T: 1, H: 2, W: 2, C: 1, SH: 1, SW: 1}, "K is 0"},
	)
}
