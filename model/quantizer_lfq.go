package model

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// lfq is lookup-free quantization (Yu et al. 2023): a code's bits are the signs of the
// latent values.
type lfq struct{ Quantizer }

func (q lfq) validate(c Config) []error {
	var errs []error
	if len(q.Levels) != 0 {
		errs = append(errs, fmt.Errorf("model.quantizer.levels: %v: lfq has a codebook_size instead", q.Levels))
	}
	errs = append(errs, powerOfTwo(q.CodebookSize, 1<<18), inRange("quantizer.entropy_weight", q.EntropyWeight, 0, 100), inRange("quantizer.diversity_gamma", q.DiversityGamma, 0, 100),
		inRange("quantizer.commitment_weight", q.CommitmentWeight, 0, 100), inRange("quantizer.inv_temperature", q.InvTemperature, math.SmallestNonzeroFloat32, 1e4),
		inRange("quantizer.aux_weight", q.AuxWeight, 0, 100), inRange("quantizer.soft_clamp", q.SoftClamp, 0, 1e4),
		inRange("quantizer.entropy_boost", q.EntropyBoost, 0, 1000), between("quantizer.entropy_boost_steps", q.EntropyBoostSteps, 0, math.MaxInt32))
	if c.lucidrains() && q.InvTemperature != 100 {
		errs = append(errs, fmt.Errorf("model.quantizer.inv_temperature: %v: want 100 with compat lucidrains", q.InvTemperature))
	}
	return errs
}

// powerOfTwo checks the codebook size of a quantizer whose codes are bits.
func powerOfTwo(size, most int) error {
	if size < 2 || size > most || size&(size-1) != 0 {
		return fmt.Errorf("model.quantizer.codebook_size: %d: want a power of two, 2 to %d", size, most)
	}
	return nil
}

// bits is the number of bits of a code.
func (q lfq) bits() int     { return bits.Len(uint(q.CodebookSize)) - 1 }
func (q lfq) dims() int     { return q.Codebooks * q.bits() }
func (q lfq) levels() []int { return slices.Repeat([]int{2}, q.bits()) }

// radius is the size of a code's coordinates.
func (q lfq) radius() float64 {
	if q.Spherical {
		return 1 / math.Sqrt(float64(q.bits()))
	}
	return 1
}

// lowFirst reports whether channel 0 is the least significant bit of a code.
func lowFirst(b *builder) bool { return b.t.Config.Compat == OpenMagvit2 }

func (q lfq) spec(b *builder, x *G.Node) kernels.LFQ {
	n, t, h, w, _ := b.dims(x)
	return kernels.LFQ{Tokens: n * t * h * w, Books: q.Codebooks, Bits: q.bits()}
}

func (q lfq) quantize(b *builder, z *G.Node) quantized {
	s := q.spec(b, z)
	if q.SoftClamp != 0 { // the kernel's scale is 10
		z = b.scale(b.act(kernels.SoftClamp, b.scale(z, 10/q.SoftClamp)), q.SoftClamp/10)
	}
	if q.Spherical {
		z = b.apply(kernels.Normalize{Rows: s.Tokens * s.Books, C: s.Bits}, z.Shape(), z)
	}
	// Of norm √bits, as signs are: so gradients pass straight through.
	signs := b.scale(z, 1/q.radius())
	return quantized{latents: z,
		values: b.scale(b.apply(kernels.LFQSign{LFQ: s}, z.Shape(), signs), q.radius()),
		codes:  b.apply(kernels.LFQIndex{LFQ: s, LowFirst: lowFirst(b)}, b.withChannels(z, q.Codebooks), z),
		terms:  q.entropies(b, s, z, signs)}
}

// means is the number of code means that batches of a step share. The reference's batches each
// have an entropy of their own.
func (q lfq) means(c Config) int {
	if c.lucidrains() || q.AuxWeight*q.EntropyWeight*q.DiversityGamma == 0 {
		return 0
	}
	return q.Codebooks * q.CodebookSize
}

// entropies is LFQ's part of the loss. signs are the latents z scaled so that codes
// are signs; their commitment is that of z over the square of the radius.
func (q lfq) entropies(b *builder, s kernels.LFQ, z, signs *G.Node) []Term {
	r2 := q.radius() * q.radius()
	var all *G.Node
	if b.t.Config.lucidrains() {
		all, r2 = b.apply(kernels.LFQLossFloored{LFQ: s, InvTemp: float32(q.InvTemperature), Spherical: q.Spherical}, []int{3}, z), 1
		if q.CommitmentWeight == 0 {
			r2 = 0 // the reference does not compute it then
		}
	} else {
		loss := kernels.LFQLoss{LFQ: s, InvTemp: float32(q.InvTemperature * r2)}
		if b.t.Config.Compat == OpenMagvit2 {
			loss.Offset = 1e-5
		}
		if b.scaled && q.means(b.t.Config) > 0 {
			means := kernels.LFQMeans{LFQ: s, InvTemp: loss.InvTemp}
			b.output(CodeMeans, b.apply(means, []int{s.Books, 1 << s.Bits}, signs))
			all = b.apply(kernels.LFQStepLoss{LFQLoss: loss}, []int{3}, signs, b.input(StepMeans, s.Books, 1<<s.Bits))
		} else {
			all = b.apply(loss, []int{3}, signs)
		}
	}
	pick := func(sample, codebook, commitment float64) *G.Node {
		return b.apply(kernels.WeightedSum{Len: 3, W: [4]float32{float32(sample), float32(codebook), float32(commitment)}}, []int{}, all)
	}
	boost := q.boosted(b)
	weight := q.AuxWeight * q.EntropyWeight
	return []Term{
		{Name: "sample_entropy", Node: pick(1, 0, 0), Weight: weight, Scale: boost},
		{Name: "codebook_entropy", Node: pick(0, 1, 0), Weight: -weight * q.DiversityGamma, Scale: boost},
		{Name: "entropy", Node: pick(1, -q.DiversityGamma, 0), Derived: true},
		{Name: "commitment", Node: pick(0, 0, r2), Weight: q.AuxWeight * q.CommitmentWeight},
	}
}

func (q lfq) lookup(b *builder, codes *G.Node) *G.Node {
	return b.scale(b.apply(kernels.LFQValues{LFQ: q.spec(b, codes), LowFirst: lowFirst(b)}, b.withChannels(codes, q.dims()), codes), q.radius())
}

// boosted is that multiplier as an input, nil without one.
func (q Quantizer) boosted(b *builder) *G.Node {
	if q.EntropyBoostSteps == 0 {
		return nil
	}
	return b.scheduled("entropy_boost", func(p StepPosition, dst []float32) { dst[0] = float32(q.boost(p.Step)) })
}

// boost is the multiplier of entropy_weight at a step, from 0: it falls linearly from
// entropy_boost to 1.
func (q Quantizer) boost(step int) float64 {
	if step >= q.EntropyBoostSteps {
		return 1
	}
	return q.EntropyBoost + (1-q.EntropyBoost)*float64(step)/float64(q.EntropyBoostSteps)
}
