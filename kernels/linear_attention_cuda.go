package kernels

// launch is linear attention whose heads are too wide for sums over features: with D
// channels these cost D³ operations a pixel, products with all others 4·P·D.
func (s LinearAttention) launch() attentionLaunch {
	w := s.Heads * s.Dim
	return attentionLaunch{attentionSize{Length: s.P, Group: 1, Heads: s.Heads, Dim: s.Dim, Taylor: 1, QueryPitch: w, KeyPitch: 2 * w, Scale: attentionScale(s.Dim)}, s.F}
}

type taylorApplyArgs struct {
	Y, Q, State Operand
	S           taylorSize
	Scale       float32
}

func (s LinearAttention) cuda(p *Launches) {
	y, q, kv := p.arg("y"), p.arg("q"), p.arg("kv")
	if t, ok := s.narrow(); ok {
		p.taylor("taylor_apply", t, taylorApplyArgs{y, q, p.taylorState(t, kv), t.size(), t.scale})
		return
	}
	a := s.launch()
	p.attentionTiles("attention", a, a.Dim, attentionArgs{y, Operand{}, q, kv, Operand{}, a.attentionSize, a.tokens()})
}

type taylorGradQArgs struct {
	DQ, DY, Q, State Operand
	S                taylorSize
	Scale            float32
}

func (s LinearAttentionGradQ) cuda(p *Launches) {
	dq, dy, q, kv := p.arg("dq"), p.arg("dy"), p.arg("q"), p.arg("kv")
	if t, ok := s.narrow(); ok {
		p.taylor("taylor_grad_q", t, taylorGradQArgs{dq, dy, q, p.taylorState(t, kv), t.size(), t.scale})
		return
	}
	a := s.launch()
	p.attentionGradQ(a, dq, dy, q, kv, Operand{}, p.attentionRows(a, dy, q, kv, Operand{}))
}

type taylorErrorsArgs struct {
	E, DY, Q, State Operand
	S               taylorSize
	Scale           float32
}

type taylorGradKVArgs struct {
	DKV, KV, State Operand
	S              taylorSize
}

func (s LinearAttentionGradKV) cuda(p *Launches) {
	dkv, dy, q, kv := p.arg("dkv"), p.arg("dy"), p.arg("q"), p.arg("kv")
	if t, ok := s.narrow(); ok {
		e := p.workspace(t.F * t.P * t.Heads * (t.most + 4))
		p.taylor("taylor_errors", t, taylorErrorsArgs{e, dy, q, p.taylorState(t, kv), t.size(), t.scale})
		p.taylor("taylor_grad_kv", t, taylorGradKVArgs{dkv, kv, p.taylorStateGrad(t, q, e), t.size()})
		return
	}
	a := s.launch()
	p.attentionGradKV(a, dkv, dy, q, kv, p.attentionRows(a, dy, q, kv, Operand{}))
}

// taylorLaunch is linear attention of narrow heads, by sums over features.
type taylorLaunch struct {
	LinearAttention
	most  int // dimensions that its kernels are compiled for
	scale float32
}

// taylorSize is TaylorSize of linear_attention.cu.
type taylorSize struct{ Pixels, Heads, Dim int }

// narrow is the launch for heads that are narrow enough, of up to 16 channels.
func (s LinearAttention) narrow() (taylorLaunch, bool) {
	t := taylorLaunch{s, 8, attentionScale(s.Dim)}
	if s.Dim > t.most {
		t.most = 16
	}
	return t, s.Dim <= t.most
}

func (t taylorLaunch) size() taylorSize { return taylorSize{t.P, t.Heads, t.Dim} }

// stateSize is the number of values of a state.
func (t taylorLaunch) stateSize() int { return (t.most + 1) * (t.most + 2) / 2 * (t.most + 1) }

func (t taylorLaunch) kernel(name string) string {
	if t.most == 8 {
		return name + "_8"
	}
	return name + "_16"
}

// taylor adds a kernel with a thread for one or two pixels of a frame and head.
func (p *Launches) taylor(kernel string, t taylorLaunch, args any) {
	const threads = 128
	pixels := threads
	if t.most == 8 {
		pixels *= 2
	}
	p.add(p.typed(t.kernel(kernel)), grid2D(t.F*t.Heads, ceilDiv(t.P, pixels)), grid1D(threads), args)
}

type taylorStateArgs struct {
	S, KV Operand
	Size  taylorSize
	Chunk int
}

// taylorState is the sum over pixels of the products of keys' features with values.
func (p *Launches) taylorState(t taylorLaunch, kv Operand) Operand {
	return p.taylorSums("taylor_state", t, func(s Operand, chunk int) any { return taylorStateArgs{s, kv, t.size(), chunk} })
}

type taylorStateGradArgs struct {
	S, Q, E Operand
	Size    taylorSize
	Scale   float32
	Chunk   int
}

// taylorStateGrad is the sum over pixels of the products of queries' features with errors.
func (p *Launches) taylorStateGrad(t taylorLaunch, q, e Operand) Operand {
	return p.taylorSums("taylor_state_grad", t, func(s Operand, chunk int) any { return taylorStateGradArgs{s, q, e, t.size(), t.scale, chunk} })
}

func (p *Launches) taylorSums(kernel string, t taylorLaunch, args func(s Operand, chunk int) any) Operand {
	n := t.F * t.Heads
	splits, size := splitK(t.P, n, 256)
	s := p.workspace(splits * n * t.stateSize())
	p.add(p.typed(t.kernel(kernel)), grid2D(n, splits), grid1D(threads), args(s, size))
	if splits == 1 {
		return s
	}
	sum := p.workspace(n * t.stateSize())
	p.sumRows(sum, s, splits, n*t.stateSize(), splits)
	return sum
}
