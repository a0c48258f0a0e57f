package model

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
)

// Graph is a tokenizer's computation for one batch shape. Nodes that the
// computation does not have are nil.
type Graph struct {
	Shape   Shape
	Params  G.Nodes // by index of Tokenizer.Params; nil where this graph has no use for one
	Video   *G.Node // [N,T,H,W,channels], input; in training also the target
	Weight  *G.Node // [N,T,H,W], input: what each pixel's error counts
	Codes   *G.Node // [N,T',H',W',codebooks], whole numbers
	Latents *G.Node // [N,T',H',W',dims], what the quantizer rounds
	Recon   *G.Node // [N,T,H,W,channels], not clamped
	Loss    *G.Node // scalar
	Terms   []Term  // parts of the loss, unweighted
	Grads   G.Nodes // of Loss, by index of Tokenizer.Params
}

// Term is a part of the loss.
type Term struct {
	Name string
	Node *G.Node
}

// dimAfter is the number of channels after each layer of the encoder.
func (c Config) dimsAfter() []int {
	dim, dims := c.InitDim, []int(nil)
	for _, l := range c.Layers {
		if l.Name == CompressSpace || l.Name == CompressTime {
			if l.Dim != 0 {
				dim = l.Dim
			} else {
				dim *= 2
			}
			if c.MaxDim != 0 {
				dim = min(dim, c.MaxDim)
			}
		}
		dims = append(dims, dim)
	}
	return dims
}

// encode turns video [N,T,H,W,channels] into what the quantizer gets, before its projection.
func (b *builder) encode(x *G.Node) *G.Node {
	c := b.t.Config
	n, t, h, w, ch := b.dims(x)
	if c.Background != 0 {
		x = b.apply(kernels.Affine{Len: n * t * h * w * ch, Mul: 1, Add: float32(-c.Background)}, x.Shape(), x)
	}
	if p := c.timeFactor() - 1; c.FirstFrame && p > 0 {
		x = b.apply(kernels.PadFront{N: n, T: t, Inner: h * w * ch, P: p}, []int{n, t + p, h, w, ch}, x)
		t += p
	}
	if p := c.Patch; p > 1 {
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h / p, W: w / p, C: ch, FT: 1, FH: p, FW: p, Down: true}, []int{n, t, h / p, w / p, ch * p * p}, x)
	}
	x = b.causal("conv_in.conv", x, c.InitDim, c.InputKernel, form{})
	dims := c.dimsAfter()
	for i := range c.Layers {
		x = b.encodeLayer(i, x, dims[i])
	}
	if c.LatentNorm == "layer" {
		x = b.layerNorm("encoder_layers.norm", x)
	}
	return x
}

func (b *builder) layerNorm(name string, x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	return b.apply(kernels.LayerNorm{Rows: n * t * h * w, C: c, Eps: 1e-5}, []int{n, t, h, w, c}, x,
		b.param(name+".weight", initial{mean: 1, repeat: 1}, c), b.param(name+".bias", initial{repeat: 1}, c))
}

// decode turns the quantizer's values, before its projection, into video.
func (b *builder) decode(x *G.Node) *G.Node {
	c := b.t.Config
	dims := c.dimsAfter()
	for i := len(c.Layers) - 1; i >= 0; i-- {
		before := c.InitDim
		if i > 0 {
			before = dims[i-1]
		}
		x = b.decodeLayer(i, x, before)
	}
	p := c.Patch
	x = b.causal("conv_out.conv", x, c.Channels*p*p, c.OutputKernel, form{bias: c.Background, fixedBias: c.Background != 0})
	n, t, h, w, _ := b.dims(x)
	if p > 1 {
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: c.Channels, FT: 1, FH: p, FW: p}, []int{n, t, h * p, w * p, c.Channels}, x)
	}
	if f := c.timeFactor() - 1; c.FirstFrame && f > 0 {
		x = b.apply(kernels.CropFront{N: n, T: t - f, Inner: h * w * p * p * c.Channels, P: f}, []int{n, t - f, h * p, w * p, c.Channels}, x)
	}
	return x
}

// Training is the graph of a training step: Video and Weight in; Loss, Terms,
// Recon, Codes and Grads out.
func (t *Tokenizer) Training(s Shape) (*Graph, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	b := newBuilder(t, s)
	ch := t.Config.Channels
	g := &Graph{Shape: s, Video: b.input("video", s.N, s.T, s.H, s.W, ch), Weight: b.input("weight", s.N, s.T, s.H, s.W)}
	q := b.quantize(b.encode(g.Video))
	g.Codes, g.Latents = q.codes, q.latents
	g.Recon = b.decode(q.values)
	kind := kernels.MSE
	if t.Config.Loss.Kind == "l1" {
		kind = kernels.L1
	}
	g.Loss = b.apply(kernels.ReconLoss{Pixels: s.N * s.T * s.H * s.W, C: ch, Kind: kind, Overshoot: float32(t.Config.Loss.Overshoot)},
		[]int{}, g.Recon, g.Video, g.Weight)
	g.Terms = append([]Term{{"recon", g.Loss}}, q.terms...)
	if q.aux != nil {
		g.Loss = b.add(g.Loss, q.aux)
	}
	if b.err != nil {
		return nil, b.err
	}
	g.Params = b.params
	var err error
	g.Grads, err = G.Grad(g.Loss, g.Params...)
	return g, err
}

// Encoder is the graph from Video to Codes.
func (t *Tokenizer) Encoder(s Shape) (*Graph, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	b := newBuilder(t, s)
	g := &Graph{Shape: s, Video: b.input("video", s.N, s.T, s.H, s.W, t.Config.Channels)}
	q := b.quantize(b.encode(g.Video))
	g.Codes, g.Latents, g.Params = q.codes, q.latents, b.params
	return g, b.err
}

// Decoder is the graph from Codes to Recon.
func (t *Tokenizer) Decoder(s Shape) (*Graph, error) {
	if err := t.Check(s); err != nil {
		return nil, err
	}
	b := newBuilder(t, s)
	c := t.CodeShape(s)
	g := &Graph{Shape: s, Codes: b.input("codes", c[:]...)}
	g.Recon = b.decode(b.lookup(g.Codes))
	g.Params = b.params
	return g, b.err
}

// Program is a graph compiled for a backend.
type Program struct {
	Plan                              *machine.Plan
	Shape                             Shape
	Video, Weight, Codes, Recon, Loss kernels.Buffer // nil where the graph has no such node
	Latents                           kernels.Buffer
	Terms                             []Value
}

// Value is a named scalar on the backend.
type Value struct {
	Name   string
	Buffer kernels.Buffer
}

// Compile plans the graph. Parameter i lies at params[offsets[i]:], and its
// gradient, in a training graph, at the same offset of grads.
func (g *Graph) Compile(be kernels.Backend, params, grads kernels.Buffer, offsets []int) (*Program, error) {
	bound := map[*G.Node]kernels.Buffer{}
	var outputs G.Nodes
	for i, n := range g.Params {
		if n == nil {
			continue
		}
		size := n.Shape().TotalSize()
		bound[n] = params.Slice(offsets[i], offsets[i]+size)
		if g.Grads != nil {
			bound[g.Grads[i]] = grads.Slice(offsets[i], offsets[i]+size)
			outputs = append(outputs, g.Grads[i])
		}
	}
	for _, n := range []*G.Node{g.Codes, g.Latents, g.Recon, g.Loss} {
		if n != nil {
			outputs = append(outputs, n)
		}
	}
	for _, t := range g.Terms {
		outputs = append(outputs, t.Node)
	}
	plan, err := machine.Compile(be, outputs, bound)
	if err != nil {
		return nil, err
	}
	at := func(n *G.Node) kernels.Buffer {
		if n == nil {
			return nil
		}
		return plan.Buffer(n)
	}
	p := &Program{Plan: plan, Shape: g.Shape, Video: at(g.Video), Weight: at(g.Weight), Codes: at(g.Codes), Recon: at(g.Recon), Loss: at(g.Loss), Latents: at(g.Latents)}
	for _, t := range g.Terms {
		p.Terms = append(p.Terms, Value{t.Name, plan.Buffer(t.Node)})
	}
	return p, nil
}

// Run computes the program's results from its inputs.
func (p *Program) Run() error { return p.Plan.Run() }
