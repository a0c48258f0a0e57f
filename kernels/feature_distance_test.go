package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// Worked out by hand: (3,4) and (0,2) have the unit vectors (.6,.8) and (0,1); a second pixel
// is equal in both but for its length, and a third is 0 in f.
func TestFeatureDistanceLiterals(t *testing.T) {
	s := kernels.FeatureDistance{N: 1, P: 3, C: 2}
	f, g, w := []float32{3, 4, 1, 1, 0, 0}, []float32{0, 2, 5, 5, 0, 3}, []float32{1, 10}
	checkLiterals(t,
		literal{s, [][]float32{f, g, w}, []float32{(.36 + 10*.04 + 10) / 3}},
		// e = 2/3·dd·(.6, -2) with dd = 3/2, so that e·f = -6.2 and df = e/5 - f·(-6.2)/125.
		literal{kernels.FeatureDistanceGrad(s), [][]float32{{1.5}, f, g, w}, []float32{.12 + 3*.0496, -.4 + 4*.0496, 0, 0, 0, 0}},
	)
}

func TestFeatureDistanceValidate(t *testing.T) {
	checkRefusals(t, refusal{kernels.FeatureDistance{N: 1, P: 1}, "C is 0"}, refusal{kernels.FeatureDistanceGrad{P: 1, C: 1}, "N is 0"})
}
