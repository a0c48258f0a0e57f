package model

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// memory is the number of learned keys and values per head.
const memory = 4

// memories is the size of attention with learned keys and values.
type memories struct {
	Heads
	memory int
}

// attention is self-attention over the pixels of a frame or the frames of a pixel.
func (b *builder) attention(name string, x, cond *G.Node, m memories, over kernels.Layout, causal bool) *G.Node {
	n, t, h, w, _ := b.dims(x)
	return b.attend(name, x, cond, kernels.Attention{N: n, T: t, P: h * w, Heads: m.Heads.Heads, Dim: m.Dim, Memory: m.memory, Over: over, Causal: causal})
}

// attend is self-attention over the tokens of x, in the order that s gives them.
func (b *builder) attend(name string, x, cond *G.Node, s kernels.Attention) *G.Node {
	n, t, h, w, c := b.dims(x)
	width := s.Heads * s.Dim
	mem := b.param(name+".mem_kv", initial{std: 1}, 2, s.Heads, s.Memory, s.Dim)
	qkv := b.linear(name+".to_qkv.0", b.rmsNorm(name+".norm", x, cond, 0), 3*width)
	y := b.apply(s, []int{n, t, h, w, width}, qkv, mem)
	return b.linear(name+".to_out.1", y, c)
}

// linearAttention is self-attention over the pixels of a frame with weights that are
// polynomials of the products of queries and keys.
func (b *builder) linearAttention(name string, x, cond *G.Node, m Heads) *G.Node {
	n, t, h, w, c := b.dims(x)
	width := m.Heads * m.Dim
	y := b.rmsNorm(name+".norm", x, cond, 0)
	q, kv := b.linear(name+".attn.to_q.0", y, width), b.linear(name+".attn.to_kv.0", y, 2*width)
	y = b.apply(kernels.LinearAttention{F: n * t, P: h * w, Heads: m.Heads, Dim: m.Dim}, []int{n, t, h, w, width}, q, kv)
	return b.linear(name+".attn.to_out.0", y, c)
}

// feedForward is a GEGLU MLP on each pixel with hidden width int(mult·2/3·C).
func (b *builder) feedForward(name string, x, cond *G.Node, mult float64) *G.Node {
	return b.feedForwardOf(timeAndSpace, name, x, cond, mult)
}

// feedForwardOf is feedForward whose weights have axes a in the reference.
func (b *builder) feedForwardOf(a axes, name string, x, cond *G.Node, mult float64) *G.Node {
	n, t, h, w, c := b.dims(x)
	inner := int(float64(c) * mult * 2 / 3)
	y := b.conv(name+".net.0", b.rmsNorm(name+".norm", x, cond, len(a.reference(1, 1, point))-2), 2*inner, point, convOptions{axes: a})
	y = b.apply(kernels.GEGLU{Rows: n * t * h * w, C: inner}, []int{n, t, h, w, inner}, y)
	return b.conv(name+".net.2", y, c, point, convOptions{axes: a})
}

// shift delays half of the channels by one frame.
func (b *builder) shift(x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	return b.apply(kernels.TokenShift{N: n, T: t, P: h * w, C: c}, []int{n, t, h, w, c}, x)
}
