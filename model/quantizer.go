package model

import (
	"fmt"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"
)

// quantizer turns latents into codes and back. Each kind has a file of its own,
// quantizer_*.go, and an entry in quantizers.
type quantizer interface {
	// validate checks the kind's keys of model.quantizer.
	validate(c Config) []error
	// dims is the number of latent values of a position, those of all codebooks.
	dims() int
	// levels is the number of values of each digit of a code, the first one varying
	// fastest. Their product is the codebook's size.
	levels() []int
	// quantize rounds latents z [N,T',H',W',dims].
	quantize(b *builder, z *G.Node) quantized
	// lookup is the values [N,T',H',W',dims] of codes [N,T',H',W',codebooks].
	lookup(b *builder, codes *G.Node) *G.Node
}

// quantizers are the values of model.quantizer.kind.
var quantizers = []struct {
	kind string
	of   func(Quantizer) quantizer
}{
	{"fsq", func(q Quantizer) quantizer { return fsq{q} }},
	{"lfq", func(q Quantizer) quantizer { return lfq{q} }},
	{"vq", func(q Quantizer) quantizer { return vq{q} }},
	{"bsq", func(q Quantizer) quantizer { return bsq{q} }},
}

// of is the quantizer of a configuration; the error names the kinds.
func (q Quantizer) of() (quantizer, error) {
	var kinds []string
	for _, k := range quantizers {
		if k.kind == q.Kind {
			return k.of(q), nil
		}
		kinds = append(kinds, k.kind)
	}
	return nil, fmt.Errorf("model.quantizer.kind: %q: want %s", q.Kind, strings.Join(kinds, ", "))
}

// CodeMeans is the output of TrainingPart with the mean probabilities of the codes of a batch (lfq), or of their
// bits (bsq), and StepMeans the input for their mean over all batches of the step, whose entropy is a term of the loss.
const (
	CodeMeans = "code_means"
	StepMeans = "step_means"
)

// sharing is a quantizer whose loss depends on statistics of all batches of a step.
type sharing interface {
	// means is the number of values of CodeMeans, 0 without any.
	means(c Config) int
}

// StepMeans is the number of values of CodeMeans and StepMeans, 0 in networks without them.
func (c Config) StepMeans() int {
	if q, err := c.Quantizer.of(); err == nil {
		if s, ok := q.(sharing); ok {
			return s.means(c)
		}
	}
	return 0
}

// width is the number of latent values of a position; 0 of an unknown kind, which New refuses.
func (q Quantizer) width() int {
	if kind, err := q.of(); err == nil {
		return kind.dims()
	}
	return 0
}

// codebookBuffer is the name of the buffer of a learned codebook, of shape
// [codebooks,codebook size,dim].
const codebookBuffer = "quantizers.codebook"

// quantized is what a quantizer makes of latents.
type quantized struct {
	latents *G.Node // what is rounded, [N,T',H',W',dims]
	values  *G.Node // of the codes, [N,T',H',W',dims]; gradients pass straight through
	codes   *G.Node // [N,T',H',W',codebooks]
	terms   []Term
}

// quantize projects x to the quantizer's width, rounds, and projects the values back.
func (b *builder) quantize(x *G.Node) quantized {
	out := b.round(x)
	if b.err == nil {
		out.values = b.project(out.values)
	}
	return out
}

// round is quantize without the way back.
func (b *builder) round(x *G.Node) (out quantized) {
	q := b.quantizer()
	_, _, _, _, c := b.dims(x)
	if b.err != nil {
		return out
	}
	z := x
	if c != q.dims() {
		f := convOptions{}
		if d := b.codec(); d != nil {
			f = d.projectIn(c)
		}
		f.axes = noAxes
		z = b.conv("quantizers.project_in", x, q.dims(), point, f)
	}
	if b.err != nil {
		return out
	}
	return q.quantize(b, z)
}

// lookup turns codes [N,T',H',W',codebooks] into the values that the decoder gets.
func (b *builder) lookup(codes *G.Node) *G.Node {
	q := b.quantizer()
	if b.err != nil {
		return nil
	}
	return b.project(q.lookup(b, codes))
}

// project brings the quantizer's values to the network's width.
func (b *builder) project(x *G.Node) *G.Node {
	if b.t.Config.published() {
		return x
	}
	dim := b.t.Config.InitDim
	if d := b.t.Config.dimsAfter(); len(d) > 0 {
		dim = d[len(d)-1]
	}
	if _, _, _, _, c := b.dims(x); c == dim {
		return x
	}
	f := convOptions{}
	if d := b.codec(); d != nil {
		f = d.projectOut(dim)
	}
	f.axes = noAxes
	return b.conv("quantizers.project_out", x, dim, point, f)
}

func (b *builder) quantizer() quantizer {
	q, err := b.t.Config.Quantizer.of()
	if err != nil && b.err == nil {
		b.err = err
	}
	return q
}

// withChannels is a node's shape [N,T,H,W,C] with another number of channels.
func (b *builder) withChannels(x *G.Node, c int) []int {
	if b.err != nil {
		return nil
	}
	return append(slices.Clone([]int(x.Shape()[:4])), c)
}
