package model

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// TestGoldenPublished compares the networks of published tokenizers with values that the
// projects' own code computed: encoder, codes, decoder, losses and gradients.
// MAGVIT_GOLDEN_PUBLISHED names another folder of such files. Checkpoint files are cases of
// package published.
func TestGoldenPublished(t *testing.T) {
	dir := cmp.Or(os.Getenv("MAGVIT_GOLDEN_PUBLISHED"), "../testdata/golden_published")
	files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
	check(t, err)
	if len(files) == 0 {
		t.Fatalf("no golden files in %s", dir)
	}
	be := kernels.NewCPU(0)
	defer be.Close()
	for _, path := range files {
		if strings.Contains(filepath.Base(path), ".weights.") {
			continue // a checkpoint's tensors alone
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".safetensors"), func(t *testing.T) {
			g := readGolden(t, path)
			g.be = be
			switch {
			case g.Kind == "checkpoint":
				t.Skip("package published imports it")
			case g.Kind == "tokenizer" && (strings.HasPrefix(g.Network, "open-magvit2-") || strings.HasPrefix(g.Network, "vidtok-") || g.Network == "cosmos-dv"):
				g.published()
			case g.Kind == "quantizer" && (g.Network == "open-magvit2" || g.Network == "vidtok"):
				g.publishedQuantizer()
			default:
				t.Fatalf("network %s, kind %s: not known", g.Network, g.Kind)
			}
			for _, name := range slices.Sorted(maps.Keys(g.outliers)) {
				t.Errorf("%s: %v", name, g.outliers[name])
			}
			g.finish()
		})
	}
}

// storedParam is a parameter of a case: its name, shape, and the center and width of its
// values.
type storedParam struct {
	name          string
	shape         []int
	center, width float32
}

func (p *storedParam) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&p.name, &p.shape, &p.center, &p.width})
}

// hashed are the values that the files' formula makes.
func (p storedParam) hashed(seed uint64) []float32 {
	const golden = 0x9E3779B97F4A7C15
	h := uint64(0xcbf29ce484222325)
	for _, c := range []byte(p.name) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	s := h + seed*golden
	n := 1
	for _, d := range p.shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		z := s + uint64(i+1)*golden
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		part := float32(float32(float64(z>>40)/(1<<23)-1) * p.width)
		values[i] = p.center + part
	}
	return values
}

func TestHashedWeights(t *testing.T) {
	p := storedParam{"encoder.conv_in.conv_1.weight", []int{3}, 0, 1}
	if got := p.hashed(11); !slices.Equal(got, []float32{.4785773754, .0186188221, .2469996214}) {
		t.Errorf("%v", got)
	}
}

// publishedConfig is the configuration of the case.
func (g *golden) publishedConfig() Config {
	p := Published{}
	var width, bits, blocks, factor int
	var levels []int
	g.config("ch", &width)
	if g.Network != "cosmos-dv" { // whose multipliers are always the same
		g.config("ch_mult", &p.Multipliers)
	}
	if strings.HasPrefix(g.Network, "open-magvit2") {
		var kind string
		g.config("kind", &kind)
		g.config("z", &bits)
		g.config("blocks", &p.Blocks)
		p.Images = kind == "image"
		return OpenMagvit2Config(width, bits, p)
	}
	g.config("levels", &levels)
	g.config("num_res_blocks", &blocks)
	if g.Network == "cosmos-dv" {
		patch := 0
		g.config("patch", &patch)
		g.config("space", &p.SpaceFactor)
		g.config("time", &p.TimeFactor)
		g.config("z", &p.Latents)
		p.Blocks, p.Multipliers = blocks, []int{2, 4, 4}
		return CosmosConfig(width, patch, levels, p)
	}
	g.config("version", &p.Version)
	var norm string
	g.config("norm_type", &norm)
	p.Blocks, p.Norm = blocks, strings.TrimSuffix(norm, "norm")
	p.TimeDown, p.TimeUp = VidTokTime(len(p.Multipliers))
	g.config("tempo_ds", &p.TimeDown)
	g.config("tempo_us", &p.TimeUp)
	c := VidTokConfig(width, levels, p)
	if g.config("time_factor", &factor); factor != c.timeFactor() {
		g.t.Errorf("time factor %d, want %d", c.timeFactor(), factor)
	}
	return c
}

// parametersPublished are the case's parameters, in the tokenizer's order.
func (g *golden) parametersPublished(tok *Tokenizer) [][]float32 {
	params := make([][]float32, len(tok.Params))
	for _, p := range g.Stored {
		i, ok := tok.index[p.name]
		if !ok {
			g.t.Fatalf("the model has no parameter %s", p.name)
		}
		if !slices.Equal(tok.Params[i].Reference, p.shape) {
			g.t.Fatalf("%s is %v, the model has %v", p.name, p.shape, tok.Params[i].Reference)
		}
		values := p.hashed(g.Weights.Seed)
		if g.Weights.Kind == "stored" {
			if stored := g.take("param." + p.name).values; !slices.Equal(stored, values) {
				g.t.Errorf("%s: the formula gives other values than those stored", p.name)
			}
		}
		params[i] = make([]float32, len(values))
		tok.Params[i].FromReference(params[i], values)
	}
	for i, p := range tok.Params {
		if p.Name == "loss.logvar" && params[i] == nil {
			params[i] = []float32{float32(g.optional("logvar"))}
		}
		if params[i] == nil {
			g.t.Fatalf("the file has no %s", p.Name)
		}
	}
	return params
}

func (g *golden) optional(name string) (v float64) {
	g.option(name, &v)
	return v
}

// published compares a whole network.
func (g *golden) published() {
	tok, err := New(g.publishedConfig())
	check(g.t, err)
	params := g.parametersPublished(tok)
	name := "in.video"
	if tok.Config.Published.Images {
		name = "in.image"
	}
	video := g.take(name)
	size := clip(video.shape)
	s := Shape{size[0], size[1], size[2], size[3]}
	values := unsigned(video.channelsLast())

	b := g.unchecked(tok, s)
	b.stages = map[string]*G.Node{}
	in := b.input("video", s.N, s.T, s.H, s.W, 3)
	x := b.encode(in)
	q := b.quantize(x)
	recon := b.decode(q.values)
	check(g.t, b.err)
	wanted := G.Nodes{x, q.codes, recon}
	var loss []string
	for _, term := range q.terms {
		if reference := publishedTerms[term.Name]; g.has("loss." + reference) {
			loss, wanted = append(loss, reference), append(wanted, term.Node)
		}
	}
	mids := g.names("mid.")
	for _, mid := range mids {
		if b.stages[mid] == nil {
			g.t.Fatalf("no stage %s", mid)
		}
		wanted = append(wanted, b.stages[mid])
	}
	got := g.run(g.feedPublished(b.graph, b.params, params, in, values), wanted...)
	g.compare("out.encoded", g.take("out.encoded").like(got[0]))
	g.compareCodes(got[1])
	g.compare("out.recon", g.take("out.recon").like(signed(got[2])))
	for i, reference := range loss {
		g.compare("loss."+reference, got[3+i])
	}
	for i, mid := range mids {
		g.compare("mid."+mid, g.take("mid."+mid).like(got[3+len(loss)+i]))
	}
	if g.has("loss.aux") {
		g.compare("loss.aux", []float32{g.auxiliary(tok, q.terms, loss, got[3:])})
	}
	if tok.Config.Compat == VidTok {
		g.publishedPieces(tok, params, s, values, got[1])
	}
	if g.has("in.indices") {
		g.publishedIndices(tok, params)
	}
	if g.has("loss.recon") {
		g.publishedGradients(tok, params, s, values)
	}
}

// auxiliary is the weighted sum of the quantizer's terms.
func (g *golden) auxiliary(tok *Tokenizer, terms []Term, names []string, values [][]float32) (sum float32) {
	steps := int(g.optional("n_steps"))
	for _, term := range terms {
		if i := slices.Index(names, publishedTerms[term.Name]); i >= 0 && !term.Derived {
			w := term.Weight
			if term.Scale != nil {
				w *= tok.Config.Quantizer.boost(steps)
			}
			sum += float32(w) * values[i][0]
		}
	}
	return sum
}

// unchecked is a builder also for numbers of frames that Check refuses.
func (g *golden) unchecked(tok *Tokenizer, s Shape) *builder { return newBuilder(tok, s) }

func (g *golden) feedPublished(graph *Graph, nodes []*G.Node, params [][]float32, in *G.Node, values []float32) feed {
	f := feed{in: values}
	for i, n := range nodes {
		if n != nil {
			f[n] = params[i]
		}
	}
	for _, c := range graph.constants {
		f[c.node] = c.values
	}
	for _, s := range graph.scheduled {
		to := make([]float32, s.node.Shape().TotalSize())
		s.at(StepPosition{Step: int(g.optional("n_steps")), Batches: 1}, to)
		f[s.node] = to
	}
	return f
}

// publishedIndices decodes other codes.
func (g *golden) publishedIndices(tok *Tokenizer, params [][]float32) {
	codes, want := g.take("in.indices"), clip(g.take("out.from_indices").shape)
	s := Shape{want[0], want[1], want[2], want[3]}
	b := g.unchecked(tok, s)
	c := tok.CodeShape(s)
	in := b.input("codes", c[:]...)
	recon := b.decode(b.lookup(in))
	check(g.t, b.err)
	got := g.run(g.feedPublished(b.graph, b.params, params, in, codes.values), recon)
	g.compare("out.from_indices", g.take("out.from_indices").like(signed(got[0])))
}

// publishedPieces compares VidTok in pieces, with the package's own decoding where the case
// has it, with values computed at once.
func (g *golden) publishedPieces(tok *Tokenizer, params [][]float32, s Shape, video, codes []float32) {
	frames, look := 2*tok.Config.timeFactor(), true
	g.option("chunk", &frames)
	if g.option("look_ahead", &look); !look {
		g.t.Fatalf("decoding in pieces without look-ahead")
	}
	check(g.t, tok.SetPieces(Pieces{Frames: frames}))
	b := g.unchecked(tok, s)
	b.pieces = tok.pieces
	in := b.input("video", s.N, s.T, s.H, s.W, 3)
	x := b.encode(in)
	check(g.t, b.err)
	g.compare("out.encoded", g.all["out.encoded"].like(g.run(g.feedPublished(b.graph, b.params, params, in, video), x)[0]))
	for _, packaged := range []bool{false, true} {
		name := map[bool]string{false: "out.recon", true: "out.recon_tiled"}[packaged]
		if packaged && !g.has(name) {
			continue
		}
		b := g.unchecked(tok, s)
		b.pieces = Pieces{frames, packaged}
		c := tok.CodeShape(s)
		in := b.input("codes", c[:]...)
		recon := b.decode(b.lookup(in))
		check(g.t, b.err)
		got := g.run(g.feedPublished(b.graph, b.params, params, in, codes), recon)
		g.compare(name, g.all[name].like(signed(got[0])))
		g.used[name] = true
	}
}

// publishedGradients compares the losses of a training step and the gradients that the file has.
func (g *golden) publishedGradients(tok *Tokenizer, params [][]float32, s Shape, video []float32) {
	b := g.unchecked(tok, s)
	r := b.reconstruct()
	graph, err := b.finish(append(r.pixels, r.latents...)...)
	check(g.t, err)
	if len(g.names("grad.")) > 0 {
		_, err = graph.differentiate(tok.Params)
		check(g.t, err)
	}
	in := g.feedPublished(graph, graph.Params, params, graph.Inputs["video"], video)
	in[graph.Inputs["weight"]] = slices.Repeat([]float32{1}, s.N*s.T*s.H*s.W)
	wanted := G.Nodes{graph.Terms[0].Node, graph.Loss}
	var names []int
	for i, p := range tok.Params {
		if g.has("grad." + p.Name) {
			names, wanted = append(names, i), append(wanted, graph.Grads[i])
		}
	}
	got := g.run(in, wanted...)
	g.compare("loss.recon", got[0])
	g.compare("loss.total", got[1])
	for k, i := range names {
		values := make([]float32, tok.Params[i].Len())
		tok.Params[i].ToReference(values, got[2+k])
		g.compare("grad."+tok.Params[i].Name, values)
	}
}

// publishedQuantizer compares a quantizer alone: codes, values, terms and gradients.
func (g *golden) publishedQuantizer() {
	c := OpenMagvit2Config(32, 2, Published{Multipliers: []int{1}, Blocks: 1})
	if g.Network == "open-magvit2" {
		var bits int
		g.config("z", &bits)
		c.Quantizer.CodebookSize = 1 << bits
	} else {
		var levels []int
		g.config("levels", &levels)
		c = VidTokConfig(8, levels, Published{Multipliers: []int{1}, Blocks: 1, Version: "1.0", Norm: "layer"})
	}
	tok, err := New(c)
	check(g.t, err)
	h := g.take("in.h")
	b := g.unchecked(tok, Shape{1, 1, 1, 1})
	in := b.input("h", clip(h.shape)...)
	q := b.quantize(in)
	check(g.t, b.err)
	wanted := G.Nodes{q.codes, q.values}
	var loss []string
	for _, term := range q.terms {
		if reference := publishedTerms[term.Name]; g.has("loss." + reference) {
			loss, wanted = append(loss, reference), append(wanted, term.Node)
		}
	}
	aux := b.total(q.terms)
	grads, err := G.Grad(aux, in)
	check(g.t, err)
	wanted = append(wanted, grads[0])
	got := g.run(g.feedPublished(b.graph, nil, nil, in, h.channelsLast()), wanted...)
	g.compareCodes(got[0])
	g.compare("out.y", g.take("out.y").like(got[1]))
	for i, reference := range loss {
		g.compare("loss."+reference, got[2+i])
	}
	g.compare("loss.aux", []float32{g.auxiliary(tok, q.terms, loss, got[2:])})
	g.compare("grad_aux.h", g.take("grad_aux.h").like(got[len(got)-1]))
	g.straightThrough(tok, h)
}

// straightThrough compares the gradient of the values' product with a cotangent.
func (g *golden) straightThrough(tok *Tokenizer, h array) {
	b := g.unchecked(tok, Shape{1, 1, 1, 1})
	in, cotangent := b.input("h", clip(h.shape)...), b.input("cotangent", clip(h.shape)...)
	y := b.quantize(in).values
	check(g.t, b.err)
	grads, err := G.Backpropagate(G.Nodes{y}, G.Nodes{cotangent}, G.Nodes{in})
	check(g.t, err)
	f := feed{in: h.channelsLast(), cotangent: g.take("cotangent.y").channelsLast()}
	g.compare("grad.h", g.take("grad.h").like(g.run(f, grads[0])[0]))
}

// publishedTerms are the files' names of the quantizers' terms.
var publishedTerms = map[string]string{"sample_entropy": "per_sample_entropy", "codebook_entropy": "codebook_entropy", "commitment": "commitment"}

func signed(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(2*float64(v) - 1)
	}
	return y
}

func unsigned(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(math.FMA(.5, float64(v), .5))
	}
	return y
}
