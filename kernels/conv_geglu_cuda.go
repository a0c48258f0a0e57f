package kernels

type convGEGLUMMAArgs struct {
	Y, H, X, W, B Operand
	S             convSize
	Half          int // a bit for each of y, h that is stored in bfloat16
}

// cuda: in float32 GEGLU follows as a kernel of its own.
func (s ConvGEGLU) cuda(p *Launches) {
	y, h, x, w, b := p.arg("y"), p.arg("h"), p.arg("x"), p.arg("w"), p.arg("b")
	switch forms := s.sm90Forms(); {
	case p.onHopper(forms):
		s.sm90(p, forms[0])
	case p.precision == BF16:
		var in Conv
		x, in = p.packInput(s.Conv, 1, x)
		w = p.packRows(w, in.O*in.KT*in.KH*in.KW, in.C)
		p.mma("conv_geglu_mma", mmaWidth(s.pixels(), s.O), s.pixels(), s.O, 1, 0, convGEGLUMMAArgs{y, h, x, w, b, in.paddedSize(), p.bf16Bits(y, h)})
	default:
		p.conv(s.Conv, 1, convArgs{Y: h, X: x, W: w, B: b, S: s.cudaSize(), Kind: None})
		p.warpPerRow("geglu", s.pixels(), gegluArgs{y, h, s.pixels(), s.O / 2})
	}
}

type sm90ConvGEGLUArgs struct {
	X, W TensorMap
	sm90ConvGEGLUSumArgs
}

type sm90ConvGEGLUSumArgs struct {
	Y, H, B, Workspace Operand
	S                  sm90Params
	Half               int // a bit for each of y, h that is stored in bfloat16
}

// sm90: a tile of weights is half of u and half of g.
func (s ConvGEGLU) sm90(p *Launches, f sm90Form) {
	x, w := p.pixelMap(p.arg("x"), s.inputDims(), f), p.weightMap(s.Conv)
	w.Box[len(w.Box)-1] /= 2
	y, h := p.arg("y"), p.arg("h")
	p.persistent("conv_geglu", f, 1, func(workspace Operand, size sm90Params) (any, any) {
		sum := sm90ConvGEGLUSumArgs{y, h, p.arg("b"), workspace, size, p.bf16Bits(y, h)}
		return sm90ConvGEGLUArgs{x, w, sum}, sum
	})
}

type convGradGEGLUArgs struct {
	DX, DY, W, X Operand
	S            convSize
}

type convGradGEGLUMMAArgs struct {
	convGradGEGLUArgs
	Half int // a bit for each of dx, x that is stored in bfloat16
}

func (s ConvGradGEGLU) cuda(p *Launches) {
	a := convGradGEGLUArgs{p.arg("dx"), p.arg("dy"), p.arg("w"), p.arg("x"), s.cudaSize()}
	switch forms := ConvGradX(s).sm90Forms(); {
	case p.onHopper(forms):
		s.sm90(p, forms)
	case p.precision == BF16:
		a.DY, a.W, a.S = p.packGradX(s.Conv, 1, a.DY, a.W)
		p.gradXMMA("conv_grad_geglu_mma", s.Conv, 1, convGradGEGLUMMAArgs{a, p.bf16Bits(a.DX, a.X)})
	default:
		p.gradXSIMT("conv_grad_geglu", s.Conv, 1, a)
	}
}

type sm90ConvGradGEGLUArgs struct {
	DY, W TensorMap
	sm90ConvGradGEGLUSumArgs
}

type sm90ConvGradGEGLUSumArgs struct {
	DX, X, Workspace Operand
	S                sm90Params
	Half             int // a bit for each of dx, x that is stored in bfloat16
}

func (s ConvGradGEGLU) sm90(p *Launches, forms []sm90Form) {
	dy, w := p.packedMap(p.arg("dy"), s.outputDims()), p.weightMap(s.Conv)
	dx, x := p.arg("dx"), p.arg("x")
	for _, f := range forms {
		dy.Box = f.box()
		p.persistent("conv_grad_geglu", f, len(forms), func(workspace Operand, size sm90Params) (any, any) {
			sum := sm90ConvGradGEGLUSumArgs{dx, x, workspace, size, p.bf16Bits(dx, x)}
			return sm90ConvGradGEGLUArgs{dy, w, sum}, sum
		})
	}
}
