package kernels

const (
	frameChunkValues = 32 << 10 // values of a chunk of a frame, 64 KiB in bfloat16: what all CTAs of an H100 read fits into L2
	maxFrameChunk    = 1024     // MAX_CHUNK of gate.cu: pixels
)

// frameCTA is how CTAs of gate.cu divide frames: pixels of a chunk, chunks of a frame, threads
// for the products of a pixel, and threads for its channels.
type frameCTA struct{ chunk, chunks, lanes, columns int }

func (s FramePool) frameCTA() frameCTA {
	chunk := min(max(frameChunkValues/s.C, 8), maxFrameChunk, s.P)
	f := frameCTA{chunk, ceilDiv(s.P, chunk), 32, threads}
	v := 1
	if s.C%8 == 0 {
		v = 8
	}
	for f.lanes > 1 && f.lanes/2*v >= s.C {
		f.lanes /= 2
	}
	for f.columns > 1 && f.columns/2*v >= s.C {
		f.columns /= 2
	}
	return f
}

type framePoolArgs struct {
	Y, Stats, X, K              Operand
	P, C, Chunk, Lanes, Columns int
}

type framePoolMergeArgs struct {
	Ctx, LSE, Y, Stats Operand
	Chunks, C          int
}

// framePool adds the kernels of FramePoolStats; lse may be null.
func (s FramePool) framePool(p *Launches, ctx, lse Operand) {
	f := s.frameCTA()
	y, stats := p.workspace(s.F*f.chunks*s.C), p.workspace(2*s.F*f.chunks)
	p.add(p.typed("frame_pool"), grid2D(f.chunks, s.F), grid1D(threads),
		framePoolArgs{y, stats, p.arg("x"), p.arg("k"), s.P, s.C, f.chunk, f.lanes, f.columns})
	p.add("frame_pool_merge", grid1D(s.F), grid1D(threads), framePoolMergeArgs{ctx, lse, y, stats, f.chunks, s.C})
}

func (s FramePool) cuda(p *Launches) { s.framePool(p, p.arg("ctx"), Operand{}) }

func (s FramePoolStats) cuda(p *Launches) { FramePool(s).framePool(p, p.arg("ctx"), p.arg("lse")) }

type squeezeExciteGradArgs struct {
	DX, DK, DY, X, G, DCtx, K, Ctx, LSE Operand
	P, C, Chunk, Lanes, Columns         int
	Kind                                Activation
}

func (s SqueezeExciteGrad) cuda(p *Launches) {
	FramePool{s.F, s.P, s.C}.frameGrad(p, p.arg("ctx"), p.arg("lse"), s.Act)
}

func (s SqueezeExciteGradX) cuda(p *Launches) { FramePool{s.F, s.P, s.C}.frameGradAlone(p, s.Act) }
func (s FramePoolGradX) cuda(p *Launches)     { FramePool(s).frameGradAlone(p, None) }
func (s FramePoolGradK) cuda(p *Launches)     { FramePool(s).frameGradAlone(p, None) }

// frameGradAlone is frameGrad where the forward pass left no results.
func (s FramePool) frameGradAlone(p *Launches, act Activation) {
	ctx, lse := p.workspace(s.F*s.C), p.workspace(s.F)
	s.framePool(p, ctx, lse)
	s.frameGrad(p, ctx, lse, act)
}

// frameGrad adds the gradients of squeeze-excite that the Spec has: dx with dy or without,
// and dk.
func (s FramePool) frameGrad(p *Launches, ctx, lse Operand, act Activation) {
	f := s.frameCTA()
	dk := p.optional("dk")
	rows, partials := s.F*f.chunks, dk
	if dk != (Operand{}) && rows > 1 {
		partials = p.workspace(rows * s.C)
	}
	p.add(p.typed("squeeze_excite_grad"), grid2D(f.chunks, s.F), grid1D(threads), squeezeExciteGradArgs{
		p.optional("dx"), partials, p.optional("dy"), p.arg("x"), p.optional("g"), p.arg("dctx"), p.arg("k"), ctx, lse, s.P, s.C, f.chunk, f.lanes, f.columns, act})
	if partials != dk {
		p.totalSums("sum_rows", dk, rows, s.C, sumRowsOf(partials, rows, s.C))
	}
}

type frameGateArgs struct {
	Y, X, G, R Operand
	N, C       int
}

func (s FrameGate) cuda(p *Launches) {
	kernel, n := vectorKernel("frame_gate", s.P*s.C, s.C)
	p.add(p.typed(kernel), grid2D(ceilDiv(n, threads), s.F), grid1D(threads),
		frameGateArgs{p.arg("y"), p.arg("x"), p.arg("g"), p.optional("r"), s.P * s.C, s.C})
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
