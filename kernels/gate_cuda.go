package kernels

type weightedRowsArgs struct {
	Y, W, X              Operand
	Rows, Columns, Group int
}

func weightedRowsOf(w, x Operand, rows, c int) rowSums {
	return func(y Operand, group int) any { return weightedRowsArgs{y, w, x, rows, c, group} }
}

func (s FramePool) cuda(p *Launches) {
	a, _ := s.frameSoftmax(p, Operand{})
	p.groupSums(p.typed("weighted_rows"), p.arg("ctx"), s.F, s.P, s.C, weightedRowsOf(a, p.arg("x"), s.F*s.P, s.C))
}

type framePoolGradXArgs struct {
	DX, A, DS, DCtx, K Operand
	N, C               int
}

func (s FramePoolGradX) cuda(p *Launches) {
	a, ds := FramePool(s).frameSoftmax(p, p.arg("dctx"))
	p.frameCTAs("frame_pool_grad_x", s.F, s.P, s.C, framePoolGradXArgs{p.arg("dx"), a, ds, p.arg("dctx"), p.arg("k"), s.P * s.C, s.C})
}

func (s FramePoolGradK) cuda(p *Launches) {
	_, ds := FramePool(s).frameSoftmax(p, p.arg("dctx"))
	p.totalSums(p.typed("weighted_rows"), p.arg("dk"), s.F*s.P, s.C, weightedRowsOf(ds, p.arg("x"), s.F*s.P, s.C))
}

type squeezeExciteGradXArgs struct {
	DX, DY, X, G, A, DS, DCtx, K Operand
	N, C                         int
	Kind                         Activation
}

func (s SqueezeExciteGradX) cuda(p *Launches) {
	a, ds := FramePool{F: s.F, P: s.P, C: s.C}.frameSoftmax(p, p.arg("dctx"))
	p.frameCTAs("squeeze_excite_grad_x", s.F, s.P, s.C,
		squeezeExciteGradXArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("g"), a, ds, p.arg("dctx"), p.arg("k"), s.P * s.C, s.C, s.Act})
}

type frameGateArgs struct {
	Y, X, G, R Operand
	N, C       int
}

func (s FrameGate) cuda(p *Launches) {
	p.frameCTAs("frame_gate", s.F, s.P, s.C, frameGateArgs{p.arg("y"), p.arg("x"), p.arg("g"), p.optional("r"), s.P * s.C, s.C})
}

type productRowsArgs struct {
	Y, A, B              Operand
	Rows, Columns, Group int
}

func (s FrameGateGradG) cuda(p *Launches) {
	p.groupSums(p.typed("product_rows"), p.arg("dg"), s.F, s.P, s.C, func(y Operand, group int) any {
		return productRowsArgs{y, p.arg("dy"), p.arg("x"), s.F * s.P, s.C, group}
	})
}

type frameDotsArgs struct {
	U, V, X, K, DCtx  Operand
	Rows, C, P, Lanes int
}

type frameSoftmaxArgs struct {
	U, V Operand
	P    int
}

// frameSoftmax is softmax over the pixels of each frame of x·k, [F,P], and, unless dctx is
// null, the gradient of its logits.
func (s FramePool) frameSoftmax(p *Launches, dctx Operand) (a, ds Operand) {
	a = p.workspace(s.F * s.P)
	if dctx != (Operand{}) {
		ds = p.workspace(s.F * s.P)
	}
	lanes, v := 32, 1
	if s.C%8 == 0 {
		v = 8
	}
	for lanes > 1 && lanes/2*v >= s.C {
		lanes /= 2
	}
	p.elementwise(p.typed("frame_dots"), s.F*s.P*lanes, frameDotsArgs{a, ds, p.arg("x"), p.arg("k"), dctx, s.F * s.P, s.C, s.P, lanes})
	block := threads
	if s.P > 4*threads {
		block = 4 * threads
	}
	p.add("frame_softmax", grid1D(s.F), grid1D(block), frameSoftmaxArgs{a, ds, s.P})
	return a, ds
}

// frameCTAs adds a kernel with a thread for eight channels, or one; blockIdx.y is the frame.
func (p *Launches) frameCTAs(kernel string, frames, pixels, c int, args any) {
	kernel, n := vectorKernel(kernel, pixels*c, c)
	p.add(p.typed(kernel), grid2D(ceilDiv(n, threads), frames), grid1D(threads), args)
}
