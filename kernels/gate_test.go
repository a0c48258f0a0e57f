package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestGateLiterals(t *testing.T) {
	checkLiterals(t,
		// Logits differ by ln 3: attention 1/4 and 3/4.
		literal{kernels.FramePool{F: 1, P: 2, C: 1}, [][]float32{{1, 3}, {ln3 / 2}}, []float32{2.5}},
		literal{kernels.FramePoolGradX{F: 1, P: 2, C: 1}, [][]float32{{1}, {1, 3}, {ln3 / 2}}, []float32{.0440102, .9559898}},
		literal{kernels.FramePoolGradK{F: 1, P: 2, C: 1}, [][]float32{{1}, {1, 3}, {ln3 / 2}}, []float32{.75}},
		// The context's share as above, and 2 and 1 times a gain of 10.
		literal{kernels.SqueezeExciteGradX{F: 1, P: 2, C: 1}, [][]float32{{2, 1}, {10}, {1}, {1, 3}, {ln3 / 2}}, []float32{20.0440102, 10.9559898}},
		// Logits ln 3/2 and 3 ln 3/2: their exponentials add up to 4 √3.
		literal{kernels.FramePoolStats{F: 1, P: 2, C: 1}, [][]float32{{1, 3}, {ln3 / 2}}, []float32{2.5, 1.9356005}},
		literal{kernels.SqueezeExciteGrad{F: 1, P: 2, C: 1}, [][]float32{{2, 1}, {10}, {1}, {1, 3}, {ln3 / 2}, {2.5}, {1.9356005}}, []float32{20.0440102, 10.9559898, .75}},
		literal{kernels.FrameGate{F: 1, P: 2, C: 2}, [][]float32{{1, 2, 3, 4}, {10, -1}}, []float32{10, -2, 30, -4}},
		literal{kernels.FrameGate{F: 1, P: 2, C: 2, Residual: true}, [][]float32{{1, 2, 3, 4}, {10, -1}, {1, 1, 2, 2}}, []float32{11, -1, 32, -2}},
		literal{kernels.FrameGateGradG{F: 1, P: 2, C: 2}, [][]float32{{1, 1, 2, 2}, {1, 2, 3, 4}}, []float32{7, 10}},
	)
}

func TestGateValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.FramePool{F: 1, P: 0, C: 1}, "P is 0"},
		refusal{kernels.FramePoolGradX{F: 1, P: 0, C: 1}, "P is 0"},
		refusal{kernels.FramePoolGradK{F: 1, P: 0, C: 1}, "P is 0"},
		refusal{kernels.SqueezeExciteGradX{F: 1, P: 1, C: 1, Act: kernels.SiLU}, "no function of its output"},
		refusal{kernels.SqueezeExciteGradX{F: 1, P: 0, C: 1}, "P is 0"},
		refusal{kernels.FramePoolStats{F: 1, P: 0, C: 1}, "P is 0"},
		refusal{kernels.SqueezeExciteGrad{F: 1, P: 1, C: 1, Act: kernels.SiLU}, "no function of its output"},
		refusal{kernels.FrameGate{F: 0, P: 1, C: 1}, "F is 0"},
		refusal{kernels.FrameGateGradG{F: 0, P: 1, C: 1}, "F is 0"},
	)
}
