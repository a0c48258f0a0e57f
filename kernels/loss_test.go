package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestReconLossLiterals(t *testing.T) {
	checkLiterals(t,
		// The first value overshoots a saturated target and counts half.
		literal{kernels.ReconLoss{Pixels: 2, C: 1, Overshoot: .5}, [][]float32{{-1, .5}, {0, 1}, {1, 3}}, []float32{.3125}},
		literal{kernels.ReconLossGrad{Pixels: 2, C: 1, Overshoot: .5}, [][]float32{{2}, {-1, .5}, {0, 1}, {1, 3}}, []float32{-.5, -1.5}},
		literal{kernels.ReconLoss{Pixels: 1, C: 2, Overshoot: 3}, [][]float32{{1.5, .5}, {1, 1}, {2}}, []float32{.5}},
		literal{kernels.ReconLoss{Pixels: 2, C: 1, Kind: kernels.L1, Overshoot: .5}, [][]float32{{-1, .5}, {0, 1}, {1, 3}}, []float32{.5}},
		literal{kernels.ReconLossGrad{Pixels: 2, C: 1, Kind: kernels.L1, Overshoot: .5}, [][]float32{{2}, {-1, .5}, {0, 1}, {1, 3}}, []float32{-.25, -1.5}},
	)
}

func TestReconLossValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.ReconLoss{Pixels: 1, C: 1, Kind: 2}, "Kind is 2, want 0 (MSE) or 1 (L1)"},
		refusal{kernels.ReconLossGrad{Pixels: 1, C: 1, Overshoot: -1}, "Overshoot is -1"},
	)
}
