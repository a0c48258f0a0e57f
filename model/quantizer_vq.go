package model

import (
	"errors"
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// vq is vector quantization (van den Oord et al. 2017): a code is the nearest vector of a
// learned codebook. The codebook is the exponential moving average of the latents of each
// code; it starts at random, and codes that are hardly used, most of them after the first
// step, are replaced by latents of the step.
type vq struct{ Quantizer }

// vqAverage is the buffer of the averages, of shape [codebooks,codebook_size,code_dim+1]:
// of the sum of the latents of each code, and of their number.
const vqAverage = "quantizers.average"

func (q vq) validate(c Config) []error {
	errs := []error{noLevels("vq", q.Levels), notInReference(c), between("quantizer.codebook_size", q.CodebookSize, 2, kernels.MaxCodes),
		between("quantizer.code_dim", q.CodeDim, 1, 1024), inRange("quantizer.commitment_weight", q.CommitmentWeight, 0, 100), needsCommitment(q.CommitmentWeight),
		inRange("quantizer.aux_weight", q.AuxWeight, 0, 100), inRange("quantizer.decay", q.Decay, 0, .9999), inRange("quantizer.dead_threshold", q.DeadThreshold, 0, 1)}
	if n := float64(q.Codebooks) * float64(q.CodebookSize) * float64(q.CodeDim); n > 1<<28 {
		errs = append(errs, fmt.Errorf("model.quantizer: codebooks %d of %d codes of code_dim %d: %.3g values, want at most 2^28", q.Codebooks, q.CodebookSize, q.CodeDim, n))
	}
	return errs
}

// needsCommitment is the error of latents that nothing keeps near the codebook.
func needsCommitment(weight float64) error {
	if weight == 0 {
		return errors.New("model.quantizer.commitment_weight: 0: vq needs it to keep latents near the codebook; 0.25 in the paper")
	}
	return nil
}

// noLevels is the error of a kind that has no levels.
func noLevels(kind string, levels []int) error {
	if len(levels) != 0 {
		return fmt.Errorf("model.quantizer.levels: %v: %s has a codebook_size instead", levels, kind)
	}
	return nil
}

// notInReference is the error of a kind that magvit2-pytorch does not have.
func notInReference(c Config) error {
	if c.lucidrains() {
		return fmt.Errorf("model.quantizer.kind: %s: the reference has fsq and lfq; leave compat out", c.Quantizer.Kind)
	}
	return nil
}

func (q vq) dims() int     { return q.Codebooks * q.CodeDim }
func (q vq) levels() []int { return []int{q.CodebookSize} }

func (q vq) spec(tokens int) kernels.VQ {
	return kernels.VQ{Tokens: tokens, Books: q.Codebooks, Codes: q.CodebookSize, Dim: q.CodeDim}
}

// codebook declares the buffers and their update.
func (q vq) codebook(b *builder) *G.Node {
	s := q.spec(1)
	e := b.buffer(codebookBuffer, initial{bound: 1}, s.Books, s.Codes, s.Dim)
	b.buffer(vqAverage, initial{}, s.Books, s.Codes, s.Dim+1)
	b.updateBuffers(kernels.VQUpdate{VQ: s, Rate: float32(1 - q.Decay), Eps: 1e-5, Dead: float32(q.DeadThreshold), Spherical: q.Spherical}, codebookBuffer, vqAverage)
	return e
}

func (q vq) quantize(b *builder, z *G.Node) quantized {
	e := q.codebook(b)
	n, t, h, w, _ := b.dims(z)
	if b.err != nil {
		return quantized{}
	}
	tokens := n * t * h * w
	s := q.spec(tokens)
	if q.Spherical {
		z = b.apply(kernels.Normalize{Rows: tokens * s.Books, C: s.Dim}, z.Shape(), z)
	}
	codes := b.apply(kernels.VQIndex{VQ: s}, b.withChannels(z, s.Books), z, e)
	values := b.apply(kernels.VQQuantize{VQ: s}, z.Shape(), z, codes, e)
	picks := b.scheduled("quantizers.picks", func(p StepPosition, dst []float32) { q.picks(p, tokens, dst) }, s.Books, s.Codes)
	b.statistic(codebookBuffer, b.apply(kernels.VQSamples{VQ: s}, []int{s.Books, s.Codes, s.Dim}, z, picks))
	b.statistic(vqAverage, b.apply(kernels.VQStatistics{VQ: s}, []int{s.Books, s.Codes, s.Dim + 1}, z, codes))
	ones := b.constant("quantizers.ones", slices.Repeat([]float32{1}, tokens*s.Books), tokens*s.Books)
	commitment := b.apply(kernels.ReconLoss{Pixels: tokens * s.Books, C: s.Dim, Kind: kernels.MSE, Overshoot: 1}, []int{}, z, values, ones)
	return quantized{latents: z, values: values, codes: codes,
		terms: []Term{{Name: "commitment", Node: commitment, Weight: q.AuxWeight * q.CommitmentWeight}}}
}

// picks draws the latent that replaces each code [codebooks,codebook_size] if it is dead,
// by its token in this batch of the step: different latents of all batches, so that the
// token is not in [0,tokens) in the others. If the step has fewer latents than there are
// codes, some codes have none.
func (q vq) picks(p StepPosition, tokens int, dst []float32) {
	total := tokens * p.Batches
	for book := range q.Codebooks {
		r := philox.New(p.Seed, "dead codes", uint64(p.Step), uint64(book))
		n := max(total, q.CodebookSize)
		moved := map[int]int{} // a random order of n numbers, as far as it is drawn
		at := func(i int) int {
			if v, ok := moved[i]; ok {
				return v
			}
			return i
		}
		for i := range q.CodebookSize {
			j := i + r.IntN(n-i)
			pick := at(j)
			moved[j] = at(i)
			if pick >= total {
				pick = -1
			} else {
				pick -= p.Batch * tokens
			}
			dst[book*q.CodebookSize+i] = float32(pick)
		}
	}
}

func (q vq) lookup(b *builder, codes *G.Node) *G.Node {
	n, t, h, w, _ := b.dims(codes)
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.VQValues{VQ: q.spec(n * t * h * w)}, b.withChannels(codes, q.dims()), codes, q.codebook(b))
}
