package kernels

const convTile = 64 // TILE of conv.cu: pixels and channels of a CTA

// convSize is ConvSize of conv.cuh.
type convSize struct {
	N, T, H, W, C                          int
	OT, OH, OW, O                          int
	KT, KH, KW, ST, SH, SW, DT, PT, PH, PW int
}

func (s Conv) cudaSize() convSize {
	t, h, w := s.Out()
	return convSize{s.N, s.T, s.H, s.W, s.C, t, h, w, s.O, s.KT, s.KH, s.KW, s.ST, s.SH, s.SW, s.DT, s.PT, s.PH, s.PW}
}

type convArgs struct {
	Y, X, W, B, R Operand
	S             convSize
	Kind          Activation
}

func (s Conv) cuda(p *Launches) {
	args := convArgs{p.arg("y"), p.arg("x"), p.arg("w"), p.arg("b"), p.optional("r"), s.cudaSize(), s.Act}
	switch forms := s.sm90Forms(); {
	case p.onHopper(forms):
		s.sm90(p, forms[0])
	case p.precision == BF16:
		p.convMMA(s, 1, args)
	default:
		p.conv(s, 1, args)
	}
}

func (s ModConv) cuda(p *Launches) {
	one := s.sample()
	args := convArgs{Y: p.arg("y"), X: p.arg("x"), W: p.arg("w"), S: one.cudaSize(), Kind: s.Act}
	if p.precision == BF16 {
		p.convMMA(one, s.N, args)
		return
	}
	p.conv(one, s.N, args)
}

// conv adds conv.cu's convolution of each of the samples.
func (p *Launches) conv(s Conv, samples int, args convArgs) {
	p.add("conv", grid3D(ceilDiv(s.pixels(), convTile), ceilDiv(s.O, convTile), samples), grid1D(threads), args)
}

type convGradXArgs struct {
	DX, DY, W, Saved, R Operand
	S                   convSize
	Kind                Activation
}

func (s ConvGradX) cuda(p *Launches) {
	args := convGradXArgs{p.arg("dx"), p.arg("dy"), p.arg("w"), p.optional("s"), p.optional("r"), s.cudaSize(), s.Act}
	switch forms := s.sm90Forms(); {
	case p.onHopper(forms):
		s.sm90(p, forms)
	case p.precision == BF16:
		p.convGradXMMA(s.Conv, 1, args)
	default:
		p.convGradX(s.Conv, 1, args)
	}
}

func (s ModConvGradX) cuda(p *Launches) {
	one := s.sample()
	args := convGradXArgs{DX: p.arg("dx"), DY: p.arg("dy"), W: p.arg("w"), S: one.cudaSize(), Kind: None}
	if p.precision == BF16 {
		p.convGradXMMA(one, s.N, args)
		return
	}
	p.convGradX(one, s.N, args)
}

func (p *Launches) convGradX(s Conv, samples int, args convGradXArgs) {
	p.add("conv_grad_x", grid3D(ceilDiv(s.phasePixels(), convTile), ceilDiv(s.C, convTile), samples*s.strides()), grid1D(threads), args)
}

type convGradWArgs struct {
	DW, DY, X Operand
	S         convSize
	Chunk     int
}

func (s ConvGradW) cuda(p *Launches) {
	if forms := s.sm90Forms(); p.onHopper(forms) {
		s.sm90(p, forms[0])
		return
	}
	if p.precision == BF16 {
		p.convGradWMMA(s.Conv, 1)
		return
	}
	x, y := ceilDiv(s.taps(), convTile), ceilDiv(s.O, convTile)
	splits, size := splitK(s.pixels(), x*y, 256)
	dw := p.arg("dw")
	partials := p.partials(dw, splits, s.O*s.taps())
	p.add("conv_grad_w", grid3D(x, y, splits), grid1D(threads), convGradWArgs{partials, p.arg("dy"), p.arg("x"), s.cudaSize(), size})
	p.addPartials(dw, partials, splits, splits, s.O*s.taps())
}

// cuda: a split of the sum over pixels is a sample.
func (s ModConvGradW) cuda(p *Launches) {
	if p.precision == BF16 {
		p.convGradWMMA(s.sample(), s.N)
		return
	}
	p.add("conv_grad_w", grid3D(ceilDiv(s.taps(), convTile), ceilDiv(s.O, convTile), s.N), grid1D(threads),
		convGradWArgs{p.arg("dw"), p.arg("dy"), p.arg("x"), s.cudaSize(), s.pixels() / s.N})
}

// strides is the number of phases of the gradient of the input: inputs whose positions
// differ by multiples of the strides read the same taps. phasePixels is the number of
// pixels of the first phase, which has most.
func (s Conv) strides() int { return s.ST * s.SH * s.SW }
func (s Conv) phasePixels() int {
	return s.N * ceilDiv(s.T, s.ST) * ceilDiv(s.H, s.SH) * ceilDiv(s.W, s.SW)
}
