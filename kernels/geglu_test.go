package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestGEGLULiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.GEGLU{Rows: 1, C: 2}, [][]float32{{3, 2, 1, -1}}, []float32{2.5240342, -.3173105}},
		literal{kernels.GEGLUGrad{Rows: 1, C: 2}, [][]float32{{1, 1}, {3, 2, 1, -1}}, []float32{.8413447, -.1586553, 3.2499464, -.1666309}},
	)
}

func TestGEGLUValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.GEGLU{Rows: 1}, "C is 0"},
		refusal{kernels.GEGLUGrad{C: 1}, "Rows is 0"},
	)
}
