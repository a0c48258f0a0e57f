package model

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// quantized is what a quantizer makes of latents.
type quantized struct {
	latents *G.Node // what is rounded, [N,T',H',W',dims]
	values  *G.Node // of the codes, projected back to the network's width; gradients pass straight through
	codes   *G.Node // [N,T',H',W',codebooks]
	aux     *G.Node // weighted auxiliary loss, scalar; nil: none
	terms   []Term
}

// dims is the number of values that the quantizer rounds for each position.
func (q Quantizer) dims() int {
	if q.Kind == "fsq" {
		return q.Codebooks * len(q.Levels)
	}
	return q.Codebooks * bits(q.CodebookSize)
}

func bits(n int) (b int) {
	for ; n > 1; n /= 2 {
		b++
	}
	return b
}

func (q Quantizer) fsq(tokens int) kernels.FSQ {
	s := kernels.FSQ{Tokens: tokens, Books: q.Codebooks, Dims: len(q.Levels)}
	copy(s.Levels[:], q.Levels)
	return s
}

func (q Quantizer) lfq(tokens int) kernels.LFQ {
	return kernels.LFQ{Tokens: tokens, Books: q.Codebooks, Bits: bits(q.CodebookSize)}
}

// quantize projects x to the quantizer's width, rounds, and projects back.
func (b *builder) quantize(x *G.Node) (out quantized) {
	q := b.t.Config.Quantizer
	n, t, h, w, c := b.dims(x)
	z := x
	if c != q.dims() {
		z = b.conv("quantizers.project_in", x, q.dims(), point, form{})
	}
	if b.err != nil {
		return out
	}
	tokens, code := n*t*h*w, []int{n, t, h, w, q.Codebooks}
	switch q.Kind {
	case "fsq":
		s := q.fsq(tokens)
		out.values = b.apply(kernels.FSQQuantize{FSQ: s}, z.Shape(), z)
		out.codes = b.apply(kernels.FSQIndex{FSQ: s}, code, z)
	case "lfq":
		s := q.lfq(tokens)
		if q.SoftClamp {
			z = b.act(kernels.SoftClamp, z)
		}
		out.values = b.apply(kernels.LFQSign{LFQ: s}, z.Shape(), z)
		out.codes = b.apply(kernels.LFQIndex{LFQ: s}, code, z)
		terms := b.apply(kernels.LFQLoss{LFQ: s, InvTemp: float32(q.InvTemperature)}, []int{3}, z)
		pick := func(w ...float64) *G.Node {
			s := kernels.WeightedSum{Len: 3}
			for i, v := range w {
				s.W[i] = float32(v)
			}
			return b.apply(s, []int{}, terms)
		}
		out.aux = pick(q.EntropyWeight, -q.EntropyWeight*q.DiversityGamma, q.CommitmentWeight)
		out.terms = []Term{{"per_sample_entropy", pick(1, 0, 0)}, {"batch_entropy", pick(0, 1, 0)}, {"commitment", pick(0, 0, 1)}}
	}
	out.latents = z
	out.values = b.project(out.values)
	return out
}

// project brings the quantizer's values to the network's width.
func (b *builder) project(x *G.Node) *G.Node {
	dim := b.t.Config.InitDim
	if d := b.t.Config.dimsAfter(); len(d) > 0 {
		dim = d[len(d)-1]
	}
	if b.t.Config.Quantizer.dims() == dim {
		return x
	}
	return b.conv("quantizers.project_out", x, dim, point, form{})
}

// lookup turns codes [N,T',H',W',codebooks] into the values that the decoder gets.
func (b *builder) lookup(codes *G.Node) *G.Node {
	q := b.t.Config.Quantizer
	n, t, h, w, _ := b.dims(codes)
	shape := []int{n, t, h, w, q.dims()}
	if q.Kind == "fsq" {
		return b.project(b.apply(kernels.FSQValues{FSQ: q.fsq(n * t * h * w)}, shape, codes))
	}
	return b.project(b.apply(kernels.LFQValues{LFQ: q.lfq(n * t * h * w)}, shape, codes))
}
