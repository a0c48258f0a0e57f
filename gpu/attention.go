package gpu

import (
	"math"

	"magvit/kernels"
)

// sizes of attention.cu's tiles.
const (
	attendTile    = 32 // queries, keys and channels of a block
	attendThreads = 64
)

// attend plans what attention.cu and linear_attention.cu compute.
func (p *program) attend(s kernels.Spec) bool {
	if p.tied && p.attendMMA(s) {
		return true
	}
	switch s := s.(type) {
	case kernels.Attention:
		a := softmax(s)
		p.attended(a, arg(0), arg(1), arg(1), arg(2))
	case kernels.AttentionGrad:
		a := softmax(s.Attention)
		rows := p.attendRows(a, arg(1), arg(2), arg(2), arg(3))
		p.attendGradQ(a, arg(0), arg(1), arg(2), arg(2), arg(3), rows)
		p.attendGradKV(a, arg(0), arg(1), arg(2), arg(2), rows)
	case kernels.AttentionGradMem:
		a := softmax(s.Attention)
		p.attendGradMemory(a, p.attendRows(a, arg(1), arg(2), arg(2), arg(3)))
	case kernels.LinearAttention:
		if t, ok := narrow(s); ok {
			p.taylor("taylor_apply", t, []operand{arg(0), arg(1), p.state(t, arg(2))}, t.scale)
			return true
		}
		p.attended(wide(s), arg(0), arg(1), arg(2), null)
	case kernels.LinearAttentionGradQ:
		if t, ok := narrow(s.LinearAttention); ok {
			p.taylor("taylor_grad_q", t, []operand{arg(0), arg(1), arg(2), p.state(t, arg(3))}, t.scale)
			return true
		}
		a := wide(s.LinearAttention)
		p.attendGradQ(a, arg(0), arg(1), arg(2), arg(3), null, p.attendRows(a, arg(1), arg(2), arg(3), null))
	case kernels.LinearAttentionGradKV:
		if t, ok := narrow(s.LinearAttention); ok {
			e := p.reserve(t.F * t.P * t.Heads * (t.most + 4))
			p.taylor("taylor_errors", t, []operand{e, arg(1), arg(2), p.state(t, arg(3))}, t.scale)
			p.taylor("taylor_grad_kv", t, []operand{arg(0), arg(3), p.stateGrad(t, arg(2), e)})
			return true
		}
		a := wide(s.LinearAttention)
		p.attendGradKV(a, arg(0), arg(1), arg(2), arg(3), p.attendRows(a, arg(1), arg(2), arg(3), null))
	default:
		return false
	}
	return true
}

// attention is an AttentionSize, and how many sequences there are.
type attention struct {
	sequences, length, group     int
	heads, dim, memory           int
	causal, taylor               int
	queryPitch, keyPitch, keysAt int
}

func softmax(s kernels.Attention) attention {
	w := s.Heads * s.Dim
	a := attention{sequences: s.N * s.T, length: s.P, group: 1, heads: s.Heads, dim: s.Dim, memory: s.Memory, queryPitch: 3 * w, keyPitch: 3 * w, keysAt: w}
	if s.Over == kernels.Time {
		a.sequences, a.length, a.group = s.N*s.P, s.T, s.P
	}
	if s.Causal {
		a.causal = 1
	}
	return a
}

// wide is linear attention whose heads are too wide for sums over features: with D
// channels these cost D³ operations a pixel, products with all others 4·P·D.
func wide(s kernels.LinearAttention) attention {
	w := s.Heads * s.Dim
	return attention{sequences: s.F, length: s.P, group: 1, heads: s.Heads, dim: s.Dim, taylor: 1, queryPitch: w, keyPitch: 2 * w}
}

func (a attention) tokens() int { return a.sequences * a.length }

// attendTiles adds a launch of blocks for tiles of each sequence and head and for chunks of
// so many channels.
func (p *program) attendTiles(kernel string, a attention, channels int, pointers []operand, more ...any) {
	grid := [3]uint32{uint32(a.sequences * a.heads * ceilDiv(a.length, attendTile)), uint32(ceilDiv(channels, attendTile)), 1}
	p.add(p.typed(kernel), grid, line(attendThreads), pointers, append(a.values(), more...)...)
}

func (a attention) values() []any {
	return []any{a.length, a.group, a.heads, a.dim, a.memory, a.causal, a.taylor, a.queryPitch, a.keyPitch, a.keysAt, float32(1 / math.Sqrt(float64(a.dim)))}
}

func (p *program) attended(a attention, y, q, kv, mem operand) {
	p.attendTiles("attention", a, a.dim, []operand{y, q, kv, mem})
}

// attendRows is what the gradients need to know of each query.
func (p *program) attendRows(a attention, dy, q, kv, mem operand) operand {
	rows := p.reserve(3 * a.heads * a.tokens())
	p.attendTiles("attention_rows", a, 1, []operand{rows, dy, q, kv, mem}, a.tokens())
	return rows
}

func (p *program) attendGradQ(a attention, dq, dy, q, kv, mem, rows operand) {
	p.attendTiles("attention_grad_q", a, a.dim, []operand{dq, dy, q, kv, mem, rows}, a.tokens())
}

func (p *program) attendGradKV(a attention, dkv, dy, q, kv, rows operand) {
	p.attendTiles("attention_grad_kv", a, a.dim, []operand{dkv, dy, q, kv, rows}, a.tokens())
}

// attendGradMemory splits the sum over all queries.
func (p *program) attendGradMemory(a attention, rows operand) {
	grid := [3]uint32{uint32(a.heads * ceilDiv(a.memory, attendTile)), uint32(ceilDiv(a.dim, attendTile)), 1}
	parts, size := split(a.tokens(), int(grid[0]*grid[1]), 128)
	grid[2] = uint32(parts)
	n := 2 * a.heads * a.memory * a.dim
	dmem := arg(0)
	if parts > 1 {
		dmem = p.reserve(parts * n)
	}
	p.add(p.typed("attention_grad_memory"), grid, line(attendThreads), []operand{dmem, arg(1), arg(2), arg(3), rows}, append(a.values(), a.tokens(), size)...)
	if parts > 1 {
		p.columns("sum_rows", arg(0), []operand{dmem}, parts, n, parts)
	}
}

// sizes of attention_mma.cu's tiles.
const (
	mmaHead  = 32 // channels
	mmaSpan  = 64 // queries or keys of a block at most
	mmaQuery = 16 // of a warp
)

// attendMMA plans what attention_mma.cu computes: attention of narrow heads, activations
// being bfloat16.
func (p *program) attendMMA(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.Attention:
		if s.Dim > mmaHead {
			return false
		}
		p.attendWarps("attention_mma", softmax(s), []operand{arg(0), arg(1), arg(1), arg(2)})
	case kernels.AttentionGrad:
		if s.Dim > mmaHead {
			return false
		}
		a := softmax(s.Attention)
		rows := p.attendRowsMMA(a, arg(0))
		p.attendWarps("attention_grad_kv_mma", a, []operand{arg(0), arg(1), arg(2), arg(2), rows}, a.tokens())
	case kernels.AttentionGradMem:
		if s.Dim > mmaHead {
			return false
		}
		a := softmax(s.Attention)
		rows := p.attendRowsMMA(a, null)
		warps := mmaWarps(a.memory)
		n := 2 * a.heads * a.memory * a.dim
		tiles := a.heads * ceilDiv(a.memory, warps*mmaQuery)
		parts, size := splitInto(sumWave, a.tokens(), tiles, 2*mmaSpan)
		dmem := arg(0)
		if parts > 1 {
			dmem = p.reserve(parts * n)
		}
		p.add("attention_grad_memory_mma", [3]uint32{uint32(tiles), 1, uint32(parts)}, line(warps*32),
			[]operand{dmem, arg(1), arg(2), arg(3), rows}, append(a.values(), a.tokens(), size)...)
		if parts > 1 {
			p.columns("sum_rows", arg(0), []operand{dmem}, parts, n, parts)
		}
	default:
		return false
	}
	return true
}

// mmaWarps is how many warps a block has for so many queries or keys.
func mmaWarps(n int) int { return min(mmaSpan, ceilDiv(n, mmaQuery)*mmaQuery) / mmaQuery }

// attendWarps adds a launch of blocks for tiles of each sequence and head.
func (p *program) attendWarps(kernel string, a attention, pointers []operand, more ...any) {
	warps := mmaWarps(a.length)
	grid := line(a.sequences * a.heads * ceilDiv(a.length, warps*mmaQuery))
	p.add(kernel, grid, line(warps*32), pointers, append(a.values(), more...)...)
}

// attendRowsMMA is attendRows, and the gradient of the queries on the way; dy, qkv and
// mem are arguments 1 to 3.
func (p *program) attendRowsMMA(a attention, dq operand) operand {
	rows := p.reserve(3 * a.heads * a.tokens())
	p.attendWarps("attention_grad_q_mma", a, []operand{dq, rows, arg(1), arg(2), arg(2), arg(3)}, a.tokens())
	return rows
}

// taylor is linear attention by sums over features.
type taylor struct {
	kernels.LinearAttention
	most  int // dimensions that its kernels are made for
	scale float32
}

func narrow(s kernels.LinearAttention) (taylor, bool) {
	t := taylor{s, 8, float32(1 / math.Sqrt(float64(s.Dim)))}
	if s.Dim > t.most {
		t.most = 16
	}
	return t, s.Dim <= t.most
}

// values is the size of a state.
func (t taylor) values() int { return (t.most + 1) * (t.most + 2) / 2 * (t.most + 1) }

func (t taylor) kernel(name string) string {
	if t.most == 8 {
		return name + "_8"
	}
	return name + "_16"
}

func (t taylor) sizes(more ...any) []any { return append([]any{t.P, t.Heads, t.Dim}, more...) }

// taylor adds a launch with a thread for one or two pixels of a frame and head.
func (p *program) taylor(kernel string, t taylor, pointers []operand, more ...any) {
	const threads = 128
	pixels := threads
	if t.most == 8 {
		pixels *= 2
	}
	p.add(p.typed(t.kernel(kernel)), [3]uint32{uint32(t.F * t.Heads), uint32(ceilDiv(t.P, pixels)), 1}, line(threads), pointers, t.sizes(more...)...)
}

// state is the sum over pixels of keys' features with values, stateGrad that of
// queries' with errors.
func (p *program) state(t taylor, kv operand) operand {
	return p.states(t, "taylor_state", []operand{kv})
}

func (p *program) stateGrad(t taylor, q, e operand) operand {
	return p.states(t, "taylor_state_grad", []operand{q, e}, t.scale)
}

func (p *program) states(t taylor, kernel string, sources []operand, more ...any) operand {
	n := t.F * t.Heads
	parts, size := split(t.P, n, 256)
	s := p.reserve(parts * n * t.values())
	grid := [3]uint32{uint32(n), uint32(parts), 1}
	p.add(p.typed(t.kernel(kernel)), grid, line(threads), append([]operand{s}, sources...), t.sizes(append(more, size)...)...)
	if parts == 1 {
		return s
	}
	sum := p.reserve(n * t.values())
	p.columns("sum_rows", sum, []operand{s}, parts, n*t.values(), parts)
	return sum
}
