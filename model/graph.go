package model

import (
	"fmt"
	"math"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
	"magvit/model/op"
)

// Graph is a network's computation for one batch shape. Inputs and outputs go by name;
// those that the computation does not have are absent.
//
//	inputs  video    [N,T,H,W,channels]          in training also the target of a tokenizer
//	        weight   [N,T,H,W]                   weight of each pixel's error
//	        cond     [N,dim_cond]                condition of each clip
//	        codes    [N,T',H',W',codebooks]      of a decoder, whole numbers
//	        labels   [N]                         class; -1: no label
//	        target   [N,horizon,dims]            positions to forecast, relative to the last one seen
//	        counts   [N,horizon]                 weight of each position's error
//	        tokens, classes, label.d             see Transformer.Training and Step
//	        step_means [codebooks,codes or bits] see StepMeans
//	outputs codes    [N,T',H',W',codebooks]      of an encoder, whole numbers
//	        latents  [N,T',H',W',dims]           what the quantizer rounds
//	        recon    [N,T,H,W,channels]          not clamped
//	        logits   [N,classes]
//	        forecast [N,horizon,dims]
//	        logits.d [N,L,values of digit d]     of a Transformer
//	        code_means [codebooks,codes or bits] see CodeMeans
type Graph struct {
	Shape           Shape
	Params          G.Nodes // by index of the network's parameters; nil where this graph has no use for one
	Inputs, Outputs map[string]*G.Node
	Loss            *G.Node // scalar, the weighted sum of Terms; nil without one
	Terms           []Term
	Grads           G.Nodes           // of Loss, by index of the parameters; of buffers their statistics
	Recompute       machine.Recompute // how Compile saves memory

	features  *G.Node     // between network and quantizer, of the encoder or of the decoder; input of a Classifier's heads
	constants []constant  // inputs that never change
	scheduled []scheduled // inputs that depend on the step and the batch in it

	statistics map[int]*G.Node // of buffers, by index of the parameters

	// Given are inputs that are buffers of other programs, by name.
	Given map[string]kernels.Buffer

	discriminates bool    // the loss is the discriminator's: its parameters have gradients, no others
	from, seeds   G.Nodes // nodes and their gradients that backpropagation begins with; none: Loss
}

// constant is an input that Compile fills.
type constant struct {
	node   *G.Node
	values []float32
}

// Constants are the values of the inputs that never change.
func (g *Graph) Constants() map[*G.Node][]float32 {
	all := map[*G.Node][]float32{}
	for _, c := range g.constants {
		all[c.node] = c.values
	}
	return all
}

// scheduled is an input that is a function of the step and the batch in it.
type scheduled struct {
	node *G.Node
	at   func(p StepPosition, dst []float32)
}

// StepPosition is a batch of a training: which step it is in, from 0, and which of the
// step's batches, from 0, it is.
type StepPosition struct {
	Seed                 uint64
	Step, Batch, Batches int
}

// Update changes buffers at the end of a step, after all of its batches. The Spec's
// arguments are the buffers, read and written, in the same order the statistic of each,
// summed over the step's batches, and a scalar: if it is not finite, the step is not
// applied, and the buffers stay as they are.
type Update struct {
	Spec    kernels.Spec
	Buffers []int // by index of the parameters
}

// Term is a part of the loss under the name that records and reports show.
type Term struct {
	Name    string
	Node    *G.Node // scalar, unweighted
	Weight  float64 // factor in the loss
	Scale   *G.Node // further factor, a scheduled scalar; nil: 1
	Derived bool    // follows from other terms: reported, and not part of the loss
}

// ScaleInput is the name of the scalar input that multiplies a term of Network.TrainingPart.
func ScaleInput(term string) string { return "scale." + term }

// total is the weighted sum of the terms.
func (b *builder) total(terms []Term) (sum *G.Node) {
	for _, t := range terms {
		if t.Derived {
			continue
		}
		v := b.scale(t.Node, t.Weight)
		if t.Scale != nil {
			v = b.apply(kernels.FrameGate{F: 1, P: 1, C: 1}, []int{}, v, t.Scale)
		}
		if sum == nil {
			sum = v
		} else {
			sum = b.add(sum, v)
		}
	}
	return sum
}

// encode is the encoder: video [N,T,H,W,channels] to features [N,T',H',W',dim], before
// the quantizer's projection.
func (b *builder) encode(x *G.Node) *G.Node {
	c := b.t.Config
	switch c.Compat {
	case OpenMagvit2:
		return openMagvit2{b}.encode(x)
	case VidTok:
		return vidTok{builder: b}.encode(x)
	case Cosmos:
		return cosmos{b}.encode(x)
	}
	cond := b.conditionMLP("encoder_cond_in")
	if c.Background != 0 {
		n, t, h, w, ch := b.dims(x)
		x = b.apply(kernels.Affine{Len: n * t * h * w * ch, Mul: 1, Add: float32(-c.Background)}, []int{n, t, h, w, ch}, x)
	}
	if !c.separate() {
		x = b.padFirstFrame(x)
	}
	x = b.toPatches(x)
	in := func(x *G.Node) *G.Node {
		f := convOptions{}
		if d := b.codec(); d != nil {
			f = d.convIn(c.InitDim, c.InputKernel)
		}
		f.mode = c.padding()
		return b.causal("conv_in.conv", x, c.InitDim, c.InputKernel, f)
	}
	if c.separate() {
		x = b.padFirstFrame(b.separateFirstFrame(x, c.InitDim, "conv_in_first_frame", c.InputKernel, convOptions{}, in))
	} else {
		x = in(x)
		b.unusedFirstFrame("conv_in_first_frame", c.InitDim, c.Channels, c.InputKernel)
	}
	dims := c.dimsAfter()
	for i := range c.Layers {
		x = b.encodeLayer(i, x, cond, dims[i])
	}
	name := fmt.Sprintf("encoder_layers.%d.1", len(c.Layers))
	_, _, _, _, dim := b.dims(x)
	switch {
	case c.lucidrains():
		b.unusedParam(name+".weight", initial{mean: 1}, dim)
		b.unusedParam(name+".bias", initial{}, dim)
	case c.LatentNorm == "layer":
		x = b.layerNorm(name, x)
	}
	return x
}

// padFirstFrame puts zero frames in front of clips with a first frame, so that this
// frame has a code of its own.
func (b *builder) padFirstFrame(x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	p := b.t.Config.timeFactor() - 1
	if !b.t.Config.FirstFrame || p == 0 {
		return x
	}
	return b.apply(kernels.PadFront{N: n, T: t, Inner: h * w * c, P: p}, []int{n, t + p, h, w, c}, x)
}

// separateFirstFrame applies convolution name to the first frame, rest to the others.
func (b *builder) separateFirstFrame(x *G.Node, out int, name string, k Kernel, f convOptions, rest func(*G.Node) *G.Node) *G.Node {
	n, t, h, w, _ := b.dims(x)
	f.axes = spaceOnly
	first := b.conv(name, b.frames(x, 0, 1), out, Kernel{1, k[1], k[2]}, f)
	if t == 1 {
		return first
	}
	return b.apply(kernels.ConcatTime{N: n, TA: 1, TB: t - 1, Inner: h * w * out}, []int{n, t, h, w, out}, first, rest(b.frames(x, 1, t)))
}

// unusedFirstFrame declares the first frame's convolution where clips have no such frame.
func (b *builder) unusedFirstFrame(name string, out, in int, k Kernel) {
	if !b.t.Config.SeparateFirstFrame {
		return
	}
	b.unusedParam(name+".weight", initial{bound: 1 / math.Sqrt(float64(in*k[1]*k[2]))}, out, in, k[1], k[2])
	b.unusedParam(name+".bias", initial{bound: 1 / math.Sqrt(float64(in*k[1]*k[2]))}, out)
}

// separate reports whether the first frame has convolutions of its own.
func (c Config) separate() bool { return c.SeparateFirstFrame && c.FirstFrame }

func (c Config) padding() kernels.PadMode {
	return kernels.PadMode(slices.Index(padModes, c.PadMode)) // both lists have one order
}

// decode is the decoder: the quantizer's values, projected, to video [N,T,H,W,channels].
func (b *builder) decode(x *G.Node) *G.Node {
	c := b.t.Config
	switch c.Compat {
	case OpenMagvit2:
		return openMagvit2{b}.decode(x)
	case VidTok:
		return vidTok{builder: b}.decode(x)
	case Cosmos:
		return cosmos{b}.decode(x)
	}
	cond := b.conditionMLP("decoder_cond_in")
	dims := c.dimsAfter()
	for i := len(c.Layers) - 1; i >= 0; i-- {
		before := c.InitDim
		if i > 0 {
			before = dims[i-1]
		}
		x = b.decodeLayer(i, x, cond, before)
	}
	skip, out := 0, c.patchChannels()
	if c.FirstFrame {
		skip = c.timeFactor() - 1
	}
	f := convOptions{bias: c.Background, fixedBias: c.Background != 0}
	if c.transforms() {
		f = convOptions{fixedBias: true}
	}
	if d := b.codec(); d != nil {
		f = d.convOut(c.InitDim, c.OutputKernel)
	}
	last := func(x *G.Node) *G.Node {
		f := f
		f.mode = c.padding()
		return b.causal("conv_out.conv", x, out, c.OutputKernel, f)
	}
	_, t, _, _, _ := b.dims(x)
	if c.separate() {
		x = b.separateFirstFrame(b.frames(x, skip, t), out, "conv_out_first_frame", c.OutputKernel, f, last)
	} else {
		x = last(x)
		if c.PatchTime == 1 { // the padded frames need no pixels
			x = b.frames(x, skip, t)
		}
		b.unusedFirstFrame("conv_out_first_frame", c.Channels, c.InitDim, c.OutputKernel)
	}
	x = b.fromPatches(x)
	if c.PatchTime > 1 {
		_, t, _, _, _ := b.dims(x)
		x = b.frames(x, skip, t)
	}
	return x
}

// Training is the graph of a training step: video and weight in, cond where the
// configuration has it; loss, terms, recon, codes and gradients out.
func (t *Tokenizer) Training(s Shape) (*Graph, error) { return t.training(s, false) }

// TrainingPart is Training for one of several batches of a step, see Network.
func (t *Tokenizer) TrainingPart(s Shape) (*Graph, error) { return t.training(s, true) }

func (t *Tokenizer) training(s Shape, scaled bool) (*Graph, error) {
	g, err := t.forward(s, scaled)
	if err != nil {
		return nil, err
	}
	_, err = g.differentiate(t.Params)
	return g, err
}

// forward is the graph of a training step without the gradients.
func (t *Tokenizer) forward(s Shape, scaled bool) (*Graph, error) {
	b, err := t.begin(s)
	if err != nil {
		return nil, err
	}
	b.scaled = scaled
	r := b.reconstruct()
	return b.finish(append(r.pixels, r.latents...)...)
}

// reconstruction is the network applied to a batch, and the terms of its loss: those that
// are functions of the reconstructed pixels, and the quantizer's.
type reconstruction struct {
	recon           *G.Node
	pixels, latents []Term
}

// reconstruct encodes and decodes the input video.
func (b *builder) reconstruct() reconstruction {
	s, t := b.shape, b.t
	ch := t.Config.Channels
	video, weight := b.input("video", s.N, s.T, s.H, s.W, ch), b.input("weight", s.N, s.T, s.H, s.W)
	q := b.quantize(b.encode(video))
	b.output("codes", q.codes)
	b.output("latents", q.latents)
	recon := b.output("recon", b.decode(q.values))
	kind := kernels.MSE
	if t.Config.Loss.Kind == "l1" {
		kind = kernels.L1
	}
	pixels := b.apply(kernels.ReconLoss{Pixels: s.N * s.T * s.H * s.W, C: ch, Kind: kind, Overshoot: float32(t.Config.Loss.Overshoot)},
		[]int{}, recon, video, weight)
	terms := []Term{{Name: "recon", Node: pixels, Weight: 1}}
	if t.Config.published() {
		terms = b.publishedLoss(pixels, s)
	}
	terms = append(terms, b.structureTerms(recon, video, weight)...)
	terms = append(terms, b.perceptualTerms(recon, video)...)
	return reconstruction{recon, terms, q.terms}
}

// differentiate adds the gradients of the parameters and returns those of other nodes.
func (g *Graph) differentiate(params []Param, others ...*G.Node) (G.Nodes, error) {
	wrt := slices.Clone(others)
	for i, p := range g.Params {
		if p != nil && g.trains(params[i]) {
			wrt = append(wrt, p)
		}
	}
	grads, err := g.backpropagate(wrt)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	for i, d := range grads {
		if d == nil {
			return nil, fmt.Errorf("model: the loss does not depend on %v", wrt[i])
		}
	}
	own := grads[len(others):]
	g.Grads = make(G.Nodes, len(g.Params))
	bound := map[*G.Node]bool{}
	for i, p := range g.Params {
		if params[i].Buffer {
			g.Grads[i] = g.statistics[i]
			continue
		}
		if p == nil || !g.trains(params[i]) {
			continue
		}
		d := own[0]
		own = own[1:]
		// The biases of two convolutions whose results are added have one gradient node.
		// A node is bound to one buffer, so each further parameter gets a copy.
		for bound[d] {
			if d, err = op.Apply(kernels.Affine{Len: d.Shape().TotalSize(), Mul: 1}, d.Shape(), d); err != nil {
				return nil, fmt.Errorf("model: %w", err)
			}
		}
		bound[d], g.Grads[i] = true, d
	}
	return grads[:len(others)], nil
}

// trains reports whether the loss has a gradient for a parameter.
func (g *Graph) trains(p Param) bool {
	return !p.Frozen && !p.Buffer && p.Discriminator == g.discriminates
}

// backpropagate returns the gradients of the loss.
func (g *Graph) backpropagate(wrt G.Nodes) (G.Nodes, error) {
	if len(g.from) > 0 {
		return op.Backpropagate(g.from, g.seeds, wrt)
	}
	return G.Grad(g.Loss, wrt...)
}

// begin is an empty graph for a batch.
func (t *Tokenizer) begin(s Shape) (*builder, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	b := newBuilder(t, s)
	b.condition()
	return b, nil
}

// finish is the graph that was built, with the loss of these terms.
func (b *builder) finish(terms ...Term) (*Graph, error) { return b.sum(b.perBatch(terms)...) }

// perBatch multiplies the terms of one of several batches of a step by inputs, see
// ScaleInput.
func (b *builder) perBatch(terms []Term) []Term {
	if b.scaled {
		for i, t := range terms {
			terms[i].Node = b.apply(kernels.FrameGate{F: 1, P: 1, C: 1}, []int{}, t.Node, b.input(ScaleInput(t.Name)))
		}
	}
	return terms
}

// sum is the graph that was built, whose loss is the weighted sum of these terms.
func (b *builder) sum(terms ...Term) (*Graph, error) {
	g := b.graph
	g.Params, g.Terms, g.Loss = b.params, terms, b.total(terms)
	return g, b.err
}

// Encoder is the graph from video, and cond if there is one, to codes.
func (t *Tokenizer) Encoder(s Shape) (*Graph, error) {
	b, err := t.begin(s)
	if err != nil {
		return nil, err
	}
	b.pieces = t.pieces
	b.graph.features = b.encode(b.input("video", s.N, s.T, s.H, s.W, t.Config.Channels))
	q := b.round(b.graph.features)
	b.output("codes", q.codes)
	b.output("latents", q.latents)
	return b.finish()
}

// Decoder is the graph from codes, and cond if there is one, to recon.
func (t *Tokenizer) Decoder(s Shape) (*Graph, error) {
	b, err := t.begin(s)
	if err != nil {
		return nil, err
	}
	b.pieces = t.pieces
	c := t.CodeShape(s)
	b.graph.features = b.lookup(b.input("codes", c[:]...))
	b.output("recon", b.decode(b.graph.features))
	return b.finish()
}
