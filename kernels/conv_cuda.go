package kernels

// Tiles of conv.cu.
const (
	simtRows    = 128 // TILE_M: pixels of a CTA, or weights of a channel
	simtThreads = 256
	simtShared  = 48 << 10 // bytes of shared memory of the pipeline
	simtTable   = 512      // bytes of the pixel table of the gradient of the weights
)

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
	p.simt("conv", simtWidth(s.pixels(), s.O, samples), s.pixels(), s.O, samples, 0, args)
}

// simt adds a kernel of conv.cu for m by n results of each of depth samples, phases or
// splits, in CTAs of width columns.
func (p *Launches) simt(kernel string, width, m, n, depth, table int, args any) {
	p.gemm(kernel, simtRows, width, simtThreads, m, n, depth, args).Shared = simtShared + table
}

// simtWidth is the number of columns of CTAs for m by n results: the one whose waves of two
// CTAs an SM take less time. A narrow one loads half as much again for each product, which
// is taken to cost a fifth.
func simtWidth(m, n, depth int) int {
	rows := ceilDiv(m, simtRows) * depth
	if ceilDiv(rows*ceilDiv(n, 64), wave)*6 < ceilDiv(rows*ceilDiv(n, 128), wave)*10 {
		return 64
	}
	return 128
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
	p.gradXSIMT("conv_grad_x", s, samples, args)
}

// gradXSIMT adds a kernel of the gradient of the input.
func (p *Launches) gradXSIMT(kernel string, s Conv, samples int, args any) {
	pixels, depth := s.phasePixels(), samples*s.strides()
	p.simt(kernel, simtWidth(pixels, s.C, depth), pixels, s.C, depth, 0, args)
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
	width := s.gradWWidth()
	splits, size := splitPixels(s.pixels(), ceilDiv(s.taps(), simtRows)*ceilDiv(s.O, width), wave)
	dw := p.arg("dw")
	partials := p.partials(dw, splits, s.O*s.taps())
	p.simt("conv_grad_w", width, s.taps(), s.O, splits, simtTable, convGradWArgs{partials, p.arg("dy"), p.arg("x"), s.cudaSize(), size})
	p.addPartials(dw, partials, splits, splits, s.O*s.taps())
}

func (s ConvGradWB) cuda(p *Launches) {
	if forms := ConvGradW(s).sm90Forms(); p.onHopper(forms) {
		ConvGradW(s).sm90(p, forms[0])
		return
	}
	ConvGradW(s).cuda(p)
	p.totalSums(p.sumRowsKernel(p.arg("dy")), p.arg("db"), s.pixels(), s.O, sumRowsOf(p.arg("dy"), s.pixels(), s.O))
}

// gradWWidth is the number of columns, which are output channels, of CTAs of the gradient of
// the weights.
func (s Conv) gradWWidth() int {
	if s.O <= 64 {
		return 64
	}
	return 128
}

// cuda: a split of the sum over pixels is a sample.
func (s ModConvGradW) cuda(p *Launches) {
	if p.precision == BF16 {
		p.convGradWMMA(s.sample(), s.N)
		return
	}
	p.simt("conv_grad_w", s.gradWWidth(), s.taps(), s.O, s.N, simtTable, convGradWArgs{p.arg("dw"), p.arg("dy"), p.arg("x"), s.cudaSize(), s.pixels() / s.N})
}

// strides is the number of phases of the gradient of the input: inputs whose positions
// differ by multiples of the strides read the same taps. phasePixels is the number of
// pixels of the first phase, which has most.
func (s Conv) strides() int { return s.ST * s.SH * s.SW }
func (s Conv) phasePixels() int {
	return s.N * ceilDiv(s.T, s.ST) * ceilDiv(s.H, s.SH) * ceilDiv(s.W, s.SW)
}
