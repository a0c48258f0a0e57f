package kernels

import "math"

// Tiles of attention.cu.
const (
	attentionTile    = 32 // queries, keys and channels of a CTA
	attentionThreads = 64
)

// attentionSize is AttentionSize of attention.cuh.
type attentionSize struct {
	Length, Group               int
	Heads, Dim, Memory          int
	Causal, Taylor              int
	QueryPitch, KeyPitch, KeyAt int
	Scale                       float32
}

// attentionLaunch is attention over a number of sequences.
type attentionLaunch struct {
	attentionSize
	sequences int
}

func (a attentionLaunch) tokens() int { return a.sequences * a.Length }

func (s Attention) launch() attentionLaunch {
	w := s.Heads * s.Dim
	a := attentionSize{Length: s.P, Group: 1, Heads: s.Heads, Dim: s.Dim, Memory: s.Memory, Causal: flag(s.Causal),
		QueryPitch: 3 * w, KeyPitch: 3 * w, KeyAt: w, Scale: attentionScale(s.Dim)}
	if s.Over == Time {
		a.Length, a.Group = s.T, s.P
		return attentionLaunch{a, s.N * s.P}
	}
	return attentionLaunch{a, s.N * s.T}
}

func attentionScale(dim int) float32 { return float32(1 / math.Sqrt(float64(dim))) }

type attentionArgs struct {
	Y, LSE, Q, KV, Memory Operand
	S                     attentionSize
	Tokens                int
}

func (s Attention) cuda(p *Launches) { s.forward(p, Operand{}) }

func (s AttentionStats) cuda(p *Launches) { s.forward(p, p.arg("lse")) }

// forward adds the kernel of AttentionStats; lse may be null.
func (s Attention) forward(p *Launches, lse Operand) {
	a := s.launch()
	args := attentionArgs{p.arg("y"), lse, p.arg("qkv"), p.arg("qkv"), p.optional("mem"), a.attentionSize, a.tokens()}
	if p.bf16 && s.Dim <= mmaHead {
		p.attentionWarps("attention_mma", s.launch(), args)
		return
	}
	p.attentionTiles("attention", s.launch(), s.Dim, args)
}

func (s AttentionGrad) cuda(p *Launches) {
	if p.bf16 && s.Dim <= mmaHead {
		s.mma(p)
		return
	}
	a := s.launch()
	dy, qkv, mem := p.arg("dy"), p.arg("qkv"), p.optional("mem")
	rows := p.attentionRows(a, dy, qkv, qkv, mem)
	p.attentionGradQ(a, p.arg("dqkv"), dy, qkv, qkv, mem, rows)
	p.attentionGradKV(a, p.arg("dqkv"), dy, qkv, qkv, rows)
}

type attentionGradMemoryArgs struct {
	DMemory, DY, Q, Memory, Rows Operand
	S                            attentionSize
	Tokens, Chunk                int
}

func (s AttentionGradMem) cuda(p *Launches) {
	if p.bf16 && s.Dim <= mmaHead {
		s.mma(p)
		return
	}
	a := s.launch()
	qkv := p.arg("qkv")
	p.attentionGradMemory(a, p.attentionRows(a, p.arg("dy"), qkv, qkv, p.arg("mem")))
}

func (p *Launches) attentionGradMemory(a attentionLaunch, rows Operand) {
	dmem, dy, qkv, mem := p.arg("dmem"), p.arg("dy"), p.arg("qkv"), p.arg("mem")
	x, y := a.Heads*ceilDiv(a.Memory, attentionTile), ceilDiv(a.Dim, attentionTile)
	splits, size := splitK(a.tokens(), x*y, 128)
	n := 2 * a.Heads * a.Memory * a.Dim
	partials := p.partials(dmem, splits, n)
	p.add(p.typed("attention_grad_memory"), grid3D(x, y, splits), grid1D(attentionThreads), attentionGradMemoryArgs{partials, dy, qkv, mem, rows, a.attentionSize, a.tokens(), size})
	p.addPartials(dmem, partials, splits, splits, n)
}

type attentionStatsArgs struct {
	Rows, DY, Y, LSE Operand
	S                attentionSize
	Tokens           int
}

func (s AttentionBackward) cuda(p *Launches) {
	a := s.launch()
	rows := p.workspace(3 * a.Heads * a.tokens())
	p.elementwise(p.typed("attention_stats"), a.Heads*a.tokens(), attentionStatsArgs{rows, p.arg("dy"), p.arg("y"), p.arg("lse"), a.attentionSize, a.tokens()})
	dqkv, dy, qkv, mem := p.arg("dqkv"), p.arg("dy"), p.arg("qkv"), p.optional("mem")
	if p.bf16 && s.Dim <= mmaHead {
		p.attentionGradQMMA(a, dqkv, rows, true)
		p.attentionWarps("attention_grad_kv_mma", a, attentionGradKVArgs{dqkv, dy, qkv, qkv, rows, a.attentionSize, a.tokens()})
		if s.Memory > 0 {
			p.attentionGradMemoryMMA(a, rows)
		}
		return
	}
	p.attentionGradQ(a, dqkv, dy, qkv, qkv, mem, rows)
	p.attentionGradKV(a, dqkv, dy, qkv, qkv, rows)
	if s.Memory > 0 {
		p.attentionGradMemory(a, rows)
	}
}

// attentionTiles adds a kernel with a CTA for each tile of queries or keys of a sequence
// and head, and for each tile of its channels.
func (p *Launches) attentionTiles(kernel string, a attentionLaunch, channels int, args any) {
	p.add(p.typed(kernel), grid2D(a.sequences*a.Heads*ceilDiv(a.Length, attentionTile), ceilDiv(channels, attentionTile)), grid1D(attentionThreads), args)
}

type attentionRowsArgs struct {
	Rows, DY, Q, KV, Memory Operand
	S                       attentionSize
	Tokens                  int
}

// attentionRows is what the gradients need to know of each query.
func (p *Launches) attentionRows(a attentionLaunch, dy, q, kv, mem Operand) Operand {
	rows := p.workspace(3 * a.Heads * a.tokens())
	p.attentionTiles("attention_rows", a, 1, attentionRowsArgs{rows, dy, q, kv, mem, a.attentionSize, a.tokens()})
	return rows
}

type attentionGradQArgs struct {
	DQ, DY, Q, KV, Memory, Rows Operand
	S                           attentionSize
	Tokens                      int
}

func (p *Launches) attentionGradQ(a attentionLaunch, dq, dy, q, kv, mem, rows Operand) {
	p.attentionTiles("attention_grad_q", a, a.Dim, attentionGradQArgs{dq, dy, q, kv, mem, rows, a.attentionSize, a.tokens()})
}

type attentionGradKVArgs struct {
	DKV, DY, Q, KV, Rows Operand
	S                    attentionSize
	Tokens               int
}

func (p *Launches) attentionGradKV(a attentionLaunch, dkv, dy, q, kv, rows Operand) {
	p.attentionTiles("attention_grad_kv", a, a.Dim, attentionGradKVArgs{dkv, dy, q, kv, rows, a.attentionSize, a.tokens()})
}
