package gpu

import "magvit/kernels"

// storage tells which arguments of a Spec may lie in bfloat16: for those of Free a kernel
// has a flag each, with those of Tied the kernel NAME_half runs. Small things stay float32,
// and what parameters, quantizers and losses are made of.
func storage(s kernels.Spec) kernels.Storage {
	switch s := s.(type) {
	case kernels.Conv, kernels.ConvGradX, kernels.ConvGradW, kernels.ModConv, kernels.ModConvGradX, kernels.ModConvGradW:
		var large []int // all but weights and biases
		for i, a := range s.Args() {
			if a.Name != "w" && a.Name != "dw" && a.Name != "b" {
				large = append(large, i)
			}
		}
		return free(large...)
	case kernels.Act, kernels.Affine, kernels.Shuffle, kernels.PadFront, kernels.CropFront, kernels.SliceTime, kernels.SliceTimeGrad,
		kernels.Pad, kernels.PadGrad, kernels.Blur:
		return tied(0, 1)
	case kernels.SumRows:
		return tied(1)
	case kernels.ActGrad, kernels.Add, kernels.ShuffleGrad, kernels.ConcatTime:
		return tied(0, 1, 2)
	case kernels.LayerNorm, kernels.RMSNorm, kernels.AdaptiveRMSNorm, kernels.Normalize, kernels.GEGLU, kernels.GateLoop, kernels.TokenShift, kernels.Attention:
		return tied(0, 1)
	case kernels.LayerNormGradX, kernels.AdaptiveRMSNormGradX, kernels.NormalizeGrad, kernels.GEGLUGrad, kernels.GateLoopGrad, kernels.AttentionGrad, kernels.LinearAttention:
		return tied(0, 1, 2)
	case kernels.RMSNormGradX:
		if s.Residual {
			return tied(0, 1, 2, 4)
		}
		return tied(0, 1, 2)
	case kernels.LayerNormGradGamma, kernels.RMSNormGradGamma, kernels.AdaptiveRMSNormGradGamma, kernels.AttentionGradMem:
		return tied(1, 2)
	case kernels.FramePool:
		return tied(1)
	case kernels.FramePoolGradX:
		return tied(0, 2)
	case kernels.FramePoolGradK:
		return tied(2)
	case kernels.SqueezeExciteGradX:
		return tied(0, 1, 4)
	case kernels.FrameGate:
		if s.Residual {
			return tied(0, 1, 3)
		}
		return tied(0, 1)
	case kernels.FrameGateGradG:
		return tied(1, 2)
	case kernels.LinearAttentionGradQ, kernels.LinearAttentionGradKV:
		return tied(0, 1, 2, 3)
	}
	return kernels.Storage{}
}

func free(args ...int) kernels.Storage { return kernels.Storage{Free: mask(args)} }
func tied(args ...int) kernels.Storage { return kernels.Storage{Tied: mask(args)} }

// mask has a bit for each argument.
func mask(args []int) (m uint32) {
	for _, i := range args {
		m |= 1 << i
	}
	return m
}
