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
	return quantized{latents: z,
		values: b.apply(kernels.FSQQuantize{FSQ: s}, z.Shape(), z),
		codes:  b.apply(kernels.FSQIndex{FSQ: s}, b.withChannels(z, q.Codebooks), z)}
}

func (q fsq) lookup(b *builder, codes *G.Node) *G.Node {
	return b.apply(kernels.FSQValues{FSQ: q.spec(b, codes)}, b.withChannels(codes, q.dims()), codes)
}
