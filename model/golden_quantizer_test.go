package model

import (
	"maps"

	G "gorgonia.org/gorgonia"
)

// referenceTerms are the reference's names of the loss terms that it has.
var referenceTerms = map[string]string{"recon": "recon", "sample_entropy": "per_sample_entropy", "codebook_entropy": "batch_entropy", "commitment": "commitment"}

// quantizer compares LFQ or FSQ on its own.
func (g *golden) quantizer() {
	c := Defaults()
	c.Compat = Lucidrains
	q := &c.Quantizer
	g.must("keep_num_codebooks_dim", nil)
	g.must("force_quantization_f32", true)
	g.must("projection_has_bias", true)
	g.must("orthogonal_rotation", false)
	g.config("num_codebooks", &q.Codebooks)
	first := []any{false, nil} // with three axes channels are last, else first, unless this says otherwise
	if g.Op == "LFQ" {
		first = []any{nil}
	}
	if len(g.Inputs["x"]) > 3 {
		first = append(first, true)
	}
	g.must("channel_first", first...)
	switch g.Op {
	case "LFQ":
		for name, legal := range map[string]any{"codebook_scale": 1., "frac_per_sample_entropy": 1., "has_projections": nil, "cosine_sim_project_in": false,
			"cosine_sim_project_in_scale": nil, "experimental_softplus_entropy_loss": false, "entropy_loss_offset": 5.} {
			g.must(name, legal)
		}
		q.Kind, q.CommitmentWeight, q.SoftClamp, q.InvTemperature = "lfq", 1, 0, 100
		g.config("codebook_size", &q.CodebookSize)
		g.config("entropy_loss_weight", &q.EntropyWeight)
		g.config("commitment_loss_weight", &q.CommitmentWeight)
		g.config("diversity_gamma", &q.DiversityGamma)
		g.config("soft_clamp_input_value", &q.SoftClamp)
		g.config("spherical", &q.Spherical)
	case "FSQ":
		for name, legal := range map[string]any{"scale": nil, "return_indices": true, "preserve_symmetry": false, "noise_dropout": 0., "bound_hard_clamp": false} {
			g.must(name, legal)
		}
		q.Kind = "fsq"
		g.config("levels", &q.Levels)
	default:
		g.t.Fatalf("unknown quantizer %q", g.Op)
	}
	c.InitDim = g.size("dim", quantizerOf(g.t, c).dims())
	builder := func() *builder {
		b := newBuilder(&Tokenizer{Config: c, index: map[string]int{}}, Shape{})
		b.declare = true
		return b
	}
	const cut = "quantizers."
	var table bool
	if g.option("table", &table); table {
		b, in := builder(), feed{}
		codes := g.take("in.indices")
		g.compare("out.code_vectors", g.lookup(b, in, codes, []int{1, 1, 1, len(codes.ints) / q.Codebooks, q.Codebooks}))
		return
	}

	x := g.take("in.x")
	b, in := builder(), feed{}
	node := g.input(b, in, "in.x")
	out := b.quantize(node)
	g.parameters(b, in, cut)
	values := g.run(in, out.values, out.codes)
	g.compare("out.y", x.like(values[0]))
	g.compare("out.eval", x.like(values[0]))
	g.compareCodes(values[1])
	if q.Kind == "lfq" {
		g.compare("loss.aux", g.run(in, b.total(out.terms))[0])
		for _, term := range out.terms {
			if name, ok := referenceTerms[term.Name]; ok {
				g.compare("loss."+name, g.run(in, term.Node)[0])
			}
		}
	}
	inputs := map[string]*G.Node{"x": node}
	g.gradients(b, in, "grad", cut, out.values, g.input(b, in, "cotangent.y"), inputs)

	if g.has("grad_aux.x") {
		b, in := builder(), feed{}
		node := g.input(b, in, "in.x")
		out := b.quantize(node)
		g.parameters(b, in, cut)
		one := b.input("one")
		in[one] = []float32{1}
		g.gradients(b, in, "grad_aux", cut, b.total(out.terms), one, map[string]*G.Node{"x": node})
	}

	b, in = builder(), feed{}
	b.quantize(b.input("x", clip(x.shape)...)) // declares the parameters
	shape := append(clip(x.shape)[:4:4], q.Codebooks)
	back := g.lookup(b, in, g.take("codes"), shape)
	g.compare("out.from_codes", x.like(back))
}

// lookup are the values of codes.
func (g *golden) lookup(b *builder, in feed, codes array, shape []int) []float32 {
	n := b.input("codes", shape...)
	in[n] = codes.values
	y := b.lookup(n)
	g.parameters(b, in, "quantizers.")
	return g.run(in, y)[0]
}

// reference is the case's configuration, which is a VideoTokenizer's.
func (g *golden) reference() Config {
	args := maps.Clone(g.Config)
	delete(args, "toy_perceptual_net") // not an argument of the package
	for name := range g.Config {
		g.used["config:"+name] = true
	}
	c, err := FromReference(args)
	check(g.t, err)
	c.FirstFrame = true
	g.option("video_contains_first_frame", &c.FirstFrame)
	check(g.t, c.Validate())
	return c
}

// adversarial reports whether the case has a discriminator.
func (g *golden) adversarial() bool { return g.Config["use_gan"] == true }
