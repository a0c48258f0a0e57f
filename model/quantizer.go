package model

import (
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// quantized is what a quantizer makes of latents.
type quantized struct {
	latents *G.Node // what is rounded, [N,T',H',W',dims]
	values  *G.Node // of the codes, projected back to the network's width; gradients pass straight through
	codes   *G.Node // [N,T',H',W',codebooks]
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
		z = b.conv("quantizers.project_in", x, q.dims(), point, form{axes: noAxes})
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
		if q.SoftClamp != 0 { // the kernel's scale is 10
			z = b.scale(b.act(kernels.SoftClamp, b.scale(z, 10/q.SoftClamp)), q.SoftClamp/10)
		}
		if q.Spherical {
			z = b.apply(kernels.Normalize{Rows: tokens * q.Codebooks, C: s.Bits}, z.Shape(), z)
		}
		// Of norm √bits, as signs are: so gradients pass straight through.
		signs := b.scale(z, 1/q.radius())
		out.values = b.scale(b.apply(kernels.LFQSign{LFQ: s}, z.Shape(), signs), q.radius())
		out.codes = b.apply(kernels.LFQIndex{LFQ: s}, code, z)
		out.terms = b.entropies(s, z, signs)
	}
	out.latents = z
	out.values = b.project(out.values)
	return out
}

// radius is the size of a code's coordinates.
func (q Quantizer) radius() float64 {
	if q.Spherical {
		return 1 / math.Sqrt(float64(bits(q.CodebookSize)))
	}
	return 1
}

// entropies is LFQ's part of the loss. signs are the latents z scaled so that codes
// are signs; their commitment is that of z over the square of the radius.
func (b *builder) entropies(s kernels.LFQ, z, signs *G.Node) []Term {
	q := b.t.Config.Quantizer
	r2 := q.radius() * q.radius()
	var all *G.Node
	if b.t.Config.lucidrains() {
		all, r2 = b.apply(kernels.LFQLossFloored{LFQ: s, InvTemp: float32(q.InvTemperature), Spherical: q.Spherical}, []int{3}, z), 1
		if q.CommitmentWeight == 0 {
			r2 = 0 // the reference does not compute it then
		}
	} else {
		all = b.apply(kernels.LFQLoss{LFQ: s, InvTemp: float32(q.InvTemperature * r2)}, []int{3}, signs)
	}
	pick := func(sample, codebook, commitment float64) *G.Node {
		return b.apply(kernels.WeightedSum{Len: 3, W: [4]float32{float32(sample), float32(codebook), float32(commitment)}}, []int{}, all)
	}
	var boost *G.Node
	if q.EntropyBoostSteps > 0 {
		boost = b.scheduled("entropy_boost", q.EntropyScale)
	}
	weight := q.AuxWeight * q.EntropyWeight
	return []Term{
		{Name: "sample_entropy", Node: pick(1, 0, 0), Weight: weight, Scale: boost},
		{Name: "codebook_entropy", Node: pick(0, 1, 0), Weight: -weight * q.DiversityGamma, Scale: boost},
		{Name: "entropy", Node: pick(1, -q.DiversityGamma, 0), Derived: true},
		{Name: "commitment", Node: pick(0, 0, r2), Weight: q.AuxWeight * q.CommitmentWeight},
	}
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
	return b.conv("quantizers.project_out", x, dim, point, form{axes: noAxes})
}

// lookup turns codes [N,T',H',W',codebooks] into the values that the decoder gets.
func (b *builder) lookup(codes *G.Node) *G.Node {
	q := b.t.Config.Quantizer
	n, t, h, w, _ := b.dims(codes)
	shape := []int{n, t, h, w, q.dims()}
	if q.Kind == "fsq" {
		return b.project(b.apply(kernels.FSQValues{FSQ: q.fsq(n * t * h * w)}, shape, codes))
	}
	return b.project(b.scale(b.apply(kernels.LFQValues{LFQ: q.lfq(n * t * h * w)}, shape, codes), q.radius()))
}
