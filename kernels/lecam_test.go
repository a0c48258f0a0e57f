package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: distances 0, 0, 1 and 3 beyond 1, and 2, 1, 0 and 0 below it.
func TestLeCamLiterals(t *testing.T) {
	x, a := []float32{-1, 0, 2, 4}, []float32{1}
	real, fake := kernels.LeCam{Len: 4}, kernels.LeCam{Len: 4, Fake: true}
	checkLiterals(t,
		literal{real, [][]float32{x, a}, []float32{2.5}},
		literal{fake, [][]float32{x, a}, []float32{1.25}},
		literal{kernels.LeCamGrad(real), [][]float32{{4}, x, a}, []float32{0, 0, 2, 6}},
		literal{kernels.LeCamGrad(fake), [][]float32{{4}, x, a}, []float32{-4, -2, 0, 0}},
	)
}

func TestLeCamValidate(t *testing.T) {
	checkRefusals(t, refusal{kernels.LeCam{}, "Len is 0"}, refusal{kernels.LeCamGrad{}, "Len is 0"})
}
