package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// fsq is finite scalar quantization (Mentzer et al. 2023): each latent value is rounded
// to one of a few levels.
type fsq struct{ Quantizer }

func (q fsq) validate(Config) (errs []error) {
	if q.CodebookSize != 0 {
		errs = append(errs, fmt.Errorf("model.quantizer.codebook_size: %d: fsq has levels instead", q.CodebookSize))
	}
	errs = append(errs, between("quantizer.levels: their number", len(q.Levels), 1, 8))
	size := 1
	for i, l := range q.Levels {
		errs = append(errs, between(fmt.Sprintf("quantizer.levels[%d]", i), l, 3, 1024))
		if size *= max(l, 1); size > kernels.MaxCodes {
			return append(errs, fmt.Errorf("model.quantizer.levels: %v: more than %d codes", q.Levels, kernels.MaxCodes))
		}
	}
	return errs
}

func (q fsq) dims() int     { return q.Codebooks * len(q.Levels) }
func (q fsq) levels() []int { return q.Levels }

func (q fsq) spec(b *builder, x *G.Node) kernels.FSQ {
	n, t, h, w, _ := b.dims(x)
	s := kernels.FSQ{Tokens: n * t * h * w, Books: q.Codebooks, Dims: len(q.Levels)}
	copy(s.Levels[:], q.Levels)
	return s
}

func (q fsq) quantize(b *builder, z *G.Node) quantized {
	s := q.spec(b, z)
	return quantized{latents: z, terms: q.entropies(b, s, z),
		values: b.apply(kernels.FSQQuantize{FSQ: s}, z.Shape(), z),
		codes:  b.apply(kernels.FSQIndex{FSQ: s}, b.withChannels(z, q.Codebooks), z)}
}

// entropies is VidTok's part of the loss; other tokenizers have none.
func (q fsq) entropies(b *builder, s kernels.FSQ, z *G.Node) []Term {
	if b.t.Config.Compat != VidTok {
		return nil
	}
	all := b.apply(kernels.FSQLoss{FSQ: s, InvTemp: float32(q.InvTemperature)}, []int{3}, z)
	pick := func(i int) *G.Node {
		var w [4]float32
		w[i] = 1
		return b.apply(kernels.WeightedSum{Len: 3, W: w}, []int{}, all)
	}
	weight, boost := q.AuxWeight*q.EntropyWeight, q.boosted(b)
	return []Term{
		{Name: "sample_entropy", Node: pick(0), Weight: weight, Scale: boost},
		{Name: "codebook_entropy", Node: pick(1), Weight: -weight * q.DiversityGamma, Scale: boost},
		{Name: "commitment", Node: pick(2), Weight: q.AuxWeight * q.CommitmentWeight},
	}
}

func (q fsq) lookup(b *builder, codes *G.Node) *G.Node {
	return b.apply(kernels.FSQValues{FSQ: q.spec(b, codes)}, b.withChannels(codes, q.dims()), codes)
}
