package model

import (
	"math"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/op"
)

// discriminator compares logits, losses of both sides and the gradient penalty, whose
// gradients are second derivatives.
func (g *golden) discriminator() {
	g.must("attn_heads", nil, 8.) // arguments that the package accepts and does not use
	g.must("attn_dim_head", nil, 32.)
	g.used["config:image_size"] = true // the frames say it
	channels := g.size("channels", 3)
	c := Defaults()
	c.Compat, c.Discriminator = Lucidrains, g.discriminatorConfig(g.Config)
	b := newBuilder(&Tokenizer{Config: c, index: map[string]int{}}, Shape{})
	b.declare = true
	in, inputs := feed{}, map[string]*G.Node{}
	inputs["real"], inputs["fake"] = g.input(b, in, "in.real"), g.input(b, in, "in.fake")
	if got := inputs["real"].Shape()[4]; got != channels {
		g.t.Fatalf("frames of %d channels, want %d", got, channels)
	}
	real, fake := b.discriminateAt("discr", inputs["real"], 1), b.discriminateAt("discr", inputs["fake"], 1)
	g.parameters(b, in, "discr.")
	hinge := b.add(b.logitMean(G.Nodes{real}, kernels.HingeReal), b.logitMean(G.Nodes{fake}, kernels.HingeFake))
	generator := b.scale(b.logitMean(G.Nodes{fake}, kernels.LogitValue), -1)
	m := real.Shape()[0]
	ones, one := b.input("ones", real.Shape()...), b.input("one")
	in[ones], in[one] = slices.Repeat([]float32{1}, m), []float32{1}
	slopes, err := op.Backpropagate(G.Nodes{real, fake}, G.Nodes{ones, ones}, G.Nodes{inputs["real"], inputs["fake"]})
	check(g.t, err)
	square := func(x *G.Node) *G.Node {
		return b.apply(kernels.SumSquares{Len: x.Shape().TotalSize()}, []int{}, x)
	}
	penalty := b.scale(b.add(square(slopes[0]), square(slopes[1])), 1/float64(m))
	check(g.t, b.err)
	values := g.run(in, real, fake, hinge, generator, penalty)
	for i, name := range []string{"out.logits_real", "out.logits_fake", "loss.hinge", "loss.generator", "loss.gradient_penalty"} {
		g.compare(name, values[i])
	}
	seed := b.input("cotangent.y", real.Shape()...)
	in[seed] = g.take("cotangent.y").values
	g.gradients(b, in, "grad", "discr.", real, seed, inputs)
	g.gradients(b, in, "grad_hinge", "discr.", hinge, one, inputs)
	g.gradients(b, in, "grad_generator", "discr.", generator, one, inputs)
	// No bias of the head changes the penalty: zero times the other loss makes them all reachable.
	g.gradients(b, in, "grad_penalty", "discr.", b.add(penalty, b.scale(hinge, 0)), one, inputs)
}

// discriminatorConfig is the configuration of the package's Discriminator made with these
// arguments.
func (g *golden) discriminatorConfig(args map[string]any) Discriminator {
	d := Defaults().Discriminator
	d.Kind, d.MaxDim = "image", 0
	to := map[string]any{"dim": &d.Dim, "max_dim": &d.MaxDim, "antialiased_downsample": &d.Blur, "ff_mult": &d.FeedForward,
		"linear_attn_heads": &d.LinearAttention.Heads, "linear_attn_dim_head": &d.LinearAttention.Dim}
	for name, dst := range to {
		if v, ok := args[name]; ok {
			check(g.t, assign(dst, v))
			g.used["config:"+name] = true
		}
	}
	if d.MaxDim == 0 {
		d.MaxDim = math.MaxInt32
	}
	return d
}

// adversarialConfig adds the case's discriminator and its loss to a configuration.
func (g *golden) adversarialConfig(c Config) Config {
	if g.Config["use_gan"] != true {
		return c
	}
	c.Discriminator = g.discriminatorConfig(g.Config["discr_kwargs"].(map[string]any))
	c.Loss.Adversarial = Adversarial{Kind: "hinge", Adaptive: "reference", Frames: 1, Penalty: "both", PenaltyEvery: 1}
	c.Loss.Adversarial.Weight = g.number("adversarial_loss_weight", 1)
	c.Loss.Adversarial.PenaltyWeight = g.number("grad_penalty_loss_weight", 10)
	return c
}

// positions are the positions of whole frames with these numbers.
func positions(frames []int64) (at []float32) {
	for _, f := range frames {
		at = append(at, float32(f), 0, 0)
	}
	return at
}

// feedSteps feeds what a graph has besides named inputs: constants, frames and ramp.
func (g *golden) feedSteps(in feed, graph *Graph, frames string) {
	for _, c := range graph.constants {
		in[c.node] = c.values
	}
	for _, s := range graph.scheduled {
		if strings.HasSuffix(s.node.Name(), " frames") {
			in[s.node] = positions(g.take(frames).ints)
		} else {
			in[s.node] = []float32{1}
		}
	}
}

// generatorGraph is the graph of the tokenizer's step, with the stand-in perceptual
// network where the case has one; ofTarget is the gradient that the video has as target
// of the perceptual loss, nil without.
func (g *golden) generatorGraph(tok *Tokenizer, s Shape, in feed) (graph *Graph, ofTarget *G.Node) {
	b, err := tok.begin(s)
	check(g.t, err)
	r := b.reconstruct()
	var toy bool
	g.config("toy_perceptual_net", &toy)
	if toy {
		at, target := b.input("perceptual frames", s.N, 1, 3), b.input("target", r.recon.Shape()...)
		in[at], in[target] = positions(g.take("in.frames_perceptual").ints), g.take("in.video").channelsLast()
		weights := [4]*G.Node{}
		for i, name := range []string{"vgg.0.weight", "vgg.0.bias", "vgg.3.weight", "vgg.3.bias"} {
			a := g.take("param." + name)
			switch len(a.shape) {
			case 2: // the linear layer reads 4 channels of a square
				side := int(math.Sqrt(float64(a.shape[1] / 4)))
				a.shape = []int{a.shape[0], 4, side, side}
			}
			shape := []int{a.shape[0]}
			if len(a.shape) == 4 {
				shape = []int{a.shape[0], 1, a.shape[2], a.shape[3], a.shape[1]}
			}
			weights[i] = b.input(name, shape...)
			in[weights[i]] = a.channelsLast()
		}
		features := func(x *G.Node) *G.Node {
			_, t, h, w, c := b.dims(x)
			x = b.apply(kernels.Windows{N: s.N, T: t, H: h, W: w, C: c, K: 1, SH: h, SW: w}, []int{s.N, 1, h, w, c}, x, at)
			first := kernels.Conv{N: s.N, T: 1, H: h, W: w, C: c, O: 4, KT: 1, KH: 3, KW: 3, ST: 1, SH: 2, SW: 2, DT: 1, PH: 1, PW: 1}
			_, ho, wo := first.Out()
			x = b.act(kernels.Tanh, b.apply(first, []int{s.N, 1, ho, wo, 4}, x, weights[0], weights[1]))
			last := kernels.Conv{N: s.N, T: 1, H: ho, W: wo, C: 4, O: 6, KT: 1, KH: ho, KW: wo, ST: 1, SH: 1, SW: 1, DT: 1}
			return b.apply(last, []int{s.N, 1, 1, 1, 6}, x, weights[2], weights[3])
		}
		difference := b.add(features(target), b.scale(features(r.recon), -1))
		square := b.apply(kernels.SumSquares{Len: s.N * 6}, []int{}, difference)
		term := Term{Name: "perceptual", Node: b.scale(square, 1/float64(s.N*6)), Weight: g.number("perceptual_loss_weight", .1)}
		r.pixels = append(r.pixels, term)
		ofTarget = b.backpropagate(b.total([]Term{term}), b.one(), target)
	}
	graph, err = b.adversarial(r)
	check(g.t, err)
	return graph, ofTarget
}

// discriminatorStep compares the discriminator's step on a reconstruction.
func (g *golden) discriminatorStep(tok *Tokenizer, s Shape, params [][]float32, recon []float32) {
	graph, err := tok.DiscriminatorStep(s, true, false)
	check(g.t, err)
	in := g.feed(graph, tok, params)
	in[graph.Inputs["real"]], in[graph.Inputs["fake"]] = g.take("in.video").channelsLast(), recon
	g.feedSteps(in, graph, "in.frames_discriminator")
	wanted, names := G.Nodes{graph.Loss}, []string{"loss_discr.total"}
	for _, term := range graph.Terms {
		if name, ok := map[string]string{"discriminator": "hinge", "gradient_penalty": "gradient_penalty"}[term.Name]; ok {
			wanted, names = append(wanted, term.Node), append(names, "loss_discr."+name)
		}
	}
	var of []Param
	for i, d := range graph.Grads {
		if d != nil {
			wanted, of = append(wanted, d), append(of, tok.Params[i])
		}
	}
	values := g.run(in, wanted...)
	for i, name := range names {
		g.compare(name, values[i])
	}
	for i, p := range of {
		got := make([]float32, p.Len())
		p.ToReference(got, values[len(names)+i])
		g.compare("grad_discr."+p.Name, got)
	}
}
