package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: GELU(1) = .8413447, GELU'(1) = 1.0833155 and
// GELU”(1) = φ(1) = .24197072.
func TestGEGLUTangentLiterals(t *testing.T) {
	s := kernels.GEGLUTangent{Rows: 1, C: 1}
	checkLiterals(t,
		literal{s, [][]float32{{2, 3}, {4, 1}}, []float32{14.682475}},
		literal{kernels.GEGLUTangentGrad(s), [][]float32{{10}, {2, 3}, {4, 1}}, []float32{32.499463, 50.702797}},
	)
}

func TestGEGLUTangentValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.GEGLUTangent{Rows: 1}, "C is 0"},
		refusal{kernels.GEGLUTangentGrad{C: 1}, "Rows is 0"},
	)
}
