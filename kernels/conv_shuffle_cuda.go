package kernels

import "math/bits"

// neighbours is Neighbours of common.cuh.
type neighbours struct{ T, H, W int }

func (s ConvGradShuffle) neighbours() neighbours {
	log2 := func(f int) int { return bits.TrailingZeros(uint(f)) }
	return neighbours{log2(s.FT), log2(s.FH), log2(s.FW)}
}

type convGradShuffleArgs struct {
	DX, DY, W, X, R Operand
	S               convSize
	Kind            Activation
	Near            neighbours
}

type convGradShuffleMMAArgs struct {
	convGradShuffleArgs
	Half int // a bit for each of dx, x, r that is stored in bfloat16
}

func (s ConvGradShuffle) cuda(p *Launches) {
	a := convGradShuffleArgs{p.arg("dx"), p.arg("dy"), p.arg("w"), p.arg("x"), p.optional("r"), s.cudaSize(), s.Act, s.neighbours()}
	switch forms := s.gradX().sm90Forms(); {
	case p.onHopper(forms):
		s.sm90(p, forms)
	case p.precision == BF16:
		a.DY, a.W, a.S = p.packGradX(s.Conv, 1, a.DY, a.W)
		p.gradXMMA("conv_grad_shuffle_mma", s.Conv, 1, convGradShuffleMMAArgs{a, p.bf16Bits(a.DX, a.X, a.R)})
	default:
		p.gradXSIMT("conv_grad_shuffle", s.Conv, 1, a)
	}
}

type sm90ConvGradShuffleArgs struct {
	DY, W TensorMap
	sm90ConvGradShuffleSumArgs
}

type sm90ConvGradShuffleSumArgs struct {
	DX, X, R, Workspace Operand
	S                   sm90Params
	Kind                Activation
	Half                int // a bit for each of dx, x, r that is stored in bfloat16
	Near                neighbours
}

func (s ConvGradShuffle) sm90(p *Launches, forms []sm90Form) {
	dy, w := p.packedMap(p.arg("dy"), s.outputDims()), p.weightMap(s.Conv)
	dx, x, r := p.arg("dx"), p.arg("x"), p.optional("r")
	for _, f := range forms {
		dy.Box = f.box()
		p.persistent("conv_grad_shuffle", f, len(forms), func(workspace Operand, size sm90Params) (any, any) {
			sum := sm90ConvGradShuffleSumArgs{dx, x, r, workspace, size, s.Act, p.bf16Bits(dx, x, r), s.neighbours()}
			return sm90ConvGradShuffleArgs{dy, w, sum}, sum
		})
	}
}
