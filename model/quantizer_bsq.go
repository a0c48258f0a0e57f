package model

import (
	"math"
	"math/bits"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// bsq is binary spherical quantization (Zhao et al. 2024): latents are projected to the
// unit sphere, and a code's bits are their signs, ±1/√bits. There is no codebook; the
// entropies are those of single bits.
type bsq struct{ Quantizer }

func (q bsq) validate(c Config) []error {
	return []error{noLevels("bsq", q.Levels), notInReference(c), powerOfTwo(q.CodebookSize, kernels.MaxCodes),
		inRange("quantizer.entropy_weight", q.EntropyWeight, 0, 100), inRange("quantizer.diversity_gamma", q.DiversityGamma, 0, 100),
		inRange("quantizer.commitment_weight", q.CommitmentWeight, 0, 100), inRange("quantizer.aux_weight", q.AuxWeight, 0, 100),
		inRange("quantizer.inv_temperature", q.InvTemperature, math.SmallestNonzeroFloat32, 1e4)}
}

func (q bsq) bits() int     { return bits.Len(uint(q.CodebookSize)) - 1 }
func (q bsq) dims() int     { return q.Codebooks * q.bits() }
func (q bsq) levels() []int { return slices.Repeat([]int{2}, q.bits()) }

// radius is the absolute value of a code's coordinates.
func (q bsq) radius() float64 { return 1 / math.Sqrt(float64(q.bits())) }

func (q bsq) spec(b *builder, x *G.Node) kernels.LFQ {
	n, t, h, w, _ := b.dims(x)
	return kernels.LFQ{Tokens: n * t * h * w, Books: q.Codebooks, Bits: q.bits()}
}

func (q bsq) quantize(b *builder, z *G.Node) quantized {
	s := q.spec(b, z)
	u := b.apply(kernels.Normalize{Rows: s.Tokens * s.Books, C: s.Bits}, z.Shape(), z)
	terms := q.loss(b, kernels.BSQLoss{LFQ: s, InvTemp: float32(q.InvTemperature)}, u)
	pick := func(w ...float32) *G.Node {
		return b.apply(kernels.WeightedSum{Len: 3, W: [4]float32{w[0], w[1], w[2]}}, []int{}, terms)
	}
	weight := q.AuxWeight * q.EntropyWeight
	// Signs of scaled latents, of norm √bits as they are, scaled back: gradients pass straight through.
	signs := b.apply(kernels.LFQSign{LFQ: s}, z.Shape(), b.scale(u, 1/q.radius()))
	return quantized{latents: u, values: b.scale(signs, q.radius()),
		codes: b.apply(kernels.LFQIndex{LFQ: s}, b.withChannels(z, q.Codebooks), u),
		terms: []Term{
			{Name: "sample_entropy", Node: pick(1, 0, 0), Weight: weight},
			{Name: "codebook_entropy", Node: pick(0, 1, 0), Weight: -weight * q.DiversityGamma},
			{Name: "entropy", Node: pick(1, float32(-q.DiversityGamma), 0), Derived: true},
			{Name: "commitment", Node: pick(0, 0, 1), Weight: q.AuxWeight * q.CommitmentWeight},
		}}
}

// means is the number of bit means that batches of a step share.
func (q bsq) means(Config) int {
	if q.AuxWeight*q.EntropyWeight*q.DiversityGamma == 0 {
		return 0
	}
	return q.dims()
}

// loss is BSQLoss; of one of several batches of a step, with the entropies of all.
func (q bsq) loss(b *builder, s kernels.BSQLoss, u *G.Node) *G.Node {
	if !b.scaled || q.means(b.t.Config) == 0 {
		return b.apply(s, []int{3}, u)
	}
	b.output(CodeMeans, b.apply(kernels.BSQMeans(s), []int{s.Books, s.Bits}, u))
	return b.apply(kernels.BSQStepLoss{BSQLoss: s}, []int{3}, u, b.input(StepMeans, s.Books, s.Bits))
}

func (q bsq) lookup(b *builder, codes *G.Node) *G.Node {
	return b.scale(b.apply(kernels.LFQValues{LFQ: q.spec(b, codes)}, b.withChannels(codes, q.dims()), codes), q.radius())
}
