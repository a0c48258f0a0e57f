package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: a row of norm 5, and sqrt(2)/5 as s.
func TestRMSNormTangentLiterals(t *testing.T) {
	s := kernels.RMSNormTangent{Rows: 1, C: 2}
	v, x, gamma := []float32{1, 0}, []float32{3, 4}, []float32{1, 2}
	checkLiterals(t,
		// v·x/25 = .12, v - .12·x = (.64, -.48)
		literal{s, [][]float32{v, x, gamma}, []float32{.18101934, -.27152902}},
		// g = (0,2): g·x = 8, v·g = 0; s/25·(3·8·3/25·x - 3·g - 8·v)
		literal{kernels.RMSNormTangentGradX(s), [][]float32{{0, 1}, v, x, gamma}, []float32{.007240774, .06245167}},
		literal{kernels.RMSNormTangentGradGamma(s), [][]float32{{2, 1}, v, x}, []float32{.3620387, -.1357645}},
	)
}

func TestRMSNormTangentValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.RMSNormTangent{Rows: 1}, "C is 0"},
		refusal{kernels.RMSNormTangentGradX{C: 1}, "Rows is 0"},
		refusal{kernels.RMSNormTangentGradGamma{C: 1}, "Rows is 0"},
	)
}
