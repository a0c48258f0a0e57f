package model

import (
	"maps"
	"math"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"
)

// tokenizer compares a whole network: features, codes, the video decoded from them,
// losses and every gradient.
func (g *golden) tokenizer() {
	if g.Op != "VideoTokenizer" {
		g.t.Fatalf("unknown tokenizer %q", g.Op)
	}
	tok, err := New(g.adversarialConfig(g.reference()))
	check(g.t, err)
	var statistics bool
	if g.option("init_statistics", &statistics); statistics {
		g.statistics(tok)
		return
	}
	params := g.state(tok, "param.")
	s := g.shape(tok, "in.video")
	g.inference(tok, params, s)
	if !g.has("out.recon_train") { // frames that are not square: the package's forward refuses them
		return
	}

	var graph *Graph
	var ofTarget *G.Node
	in := feed{}
	if g.adversarial() {
		graph, ofTarget = g.generatorGraph(tok, s, in)
		g.feedSteps(in, graph, "in.frames_generator")
	} else {
		graph, err = tok.forward(s, false)
		check(g.t, err)
	}
	maps.Copy(in, g.feed(graph, tok, params))
	wanted := G.Nodes{graph.Outputs["recon"], graph.Loss}
	for _, term := range graph.Terms {
		wanted = append(wanted, term.Node)
	}
	values := g.run(in, wanted...)
	g.compare("out.recon_train", g.take("out.recon_train").like(values[0]))
	aux := 0. // the quantizer's part of the loss, before its aux_weight
	others := map[string]float32{"perceptual": 0, "generator": 0, "adaptive_weight": 1}
	for i, term := range graph.Terms {
		if name, ok := referenceTerms[term.Name]; ok {
			g.compare("loss."+name, values[2+i])
		}
		if _, other := others[term.Name]; other {
			others[term.Name] = values[2+i][0]
		} else if term.Name != "recon" && !term.Derived {
			aux += term.Weight / tok.Config.Quantizer.AuxWeight * float64(values[2+i][0])
		}
	}
	g.compare("loss.aux", []float32{float32(aux)})
	g.compare("loss.total", values[1])
	g.compare("loss.perceptual", []float32{others["perceptual"]})
	g.compare("loss.generator", []float32{others["generator"]})
	if g.adversarial() {
		g.compare("loss.adaptive_weight", []float32{others["adaptive_weight"]})
		g.discriminatorStep(tok, s, params, values[0])
	}
	g.used["loss.adaptive_weight"] = true // without a generator's loss it has no meaning

	inputs := G.Nodes{graph.Inputs["video"]}
	if graph.Inputs["cond"] != nil {
		inputs = append(inputs, graph.Inputs["cond"])
	}
	ofInputs, err := graph.differentiate(tok.Params, inputs...)
	check(g.t, err)
	for _, c := range graph.constants { // differentiating adds some
		in[c.node] = c.values
	}
	wanted = slices.Clone(ofInputs)
	if ofTarget != nil {
		wanted = append(wanted, ofTarget)
	}
	first := len(wanted)
	for _, n := range graph.Grads {
		if n != nil {
			wanted = append(wanted, n)
		}
	}
	grads := g.run(in, wanted...)
	own := grads[first:]
	for i, p := range tok.Params {
		key := "grad." + p.Name
		got := make([]float32, p.Len())
		if graph.Grads[i] != nil {
			p.ToReference(got, own[0])
			own = own[1:]
		}
		if !g.has(key) && !slices.ContainsFunc(got, func(v float32) bool { return v != 0 }) {
			continue // the objective does not reach it
		}
		g.compare(key, got)
	}
	// The video is the target of the mean squared error too.
	video, target := grads[0], g.take("in.video").channelsLast()
	for i, x := range target {
		video[i] += 2 * (x - values[0][i]) / float32(len(target))
		if ofTarget != nil {
			video[i] += grads[len(ofInputs)][i]
		}
	}
	g.compare("grad.video", g.take("grad.video").like(video))
	if graph.Inputs["cond"] != nil {
		g.compare("grad.cond", grads[1])
	}
}

// state reads all parameters of a tokenizer, in its order, from tensors with a
// prefix; there must be no others but those of the discriminator.
func (g *golden) state(tok *Tokenizer, prefix string) [][]float32 {
	g.t.Helper()
	params := make([][]float32, len(tok.Params))
	for i, p := range tok.Params {
		a := g.take(prefix + p.Name)
		if !slices.Equal(a.shape, p.Reference) {
			g.t.Fatalf("%s%s is %v, the model has %v", prefix, p.Name, a.shape, p.Reference)
		}
		params[i] = make([]float32, p.Len())
		p.FromReference(params[i], a.values)
		back := make([]float32, p.Len())
		if p.ToReference(back, params[i]); !slices.Equal(back, a.values) {
			g.t.Errorf("%s: its order there and back is another one", p.Name)
		}
	}
	for _, name := range g.names(prefix) {
		mask := g.take(prefix + name)
		_, known := tok.index[name]
		switch {
		case known || strings.HasPrefix(name, "discr.") || strings.HasPrefix(name, "vgg."):
		case name == "quantizers.mask":
			for i, v := range mask.ints {
				if v != 1<<(len(mask.ints)-1-i) {
					g.t.Errorf("quantizers.mask[%d] is %d", i, v)
				}
			}
		default:
			g.t.Errorf("the model has no parameter %s", name)
		}
	}
	return params
}

// shape is the batch that videos [N,C,T,H,W], or images without T, make.
func (g *golden) shape(tok *Tokenizer, name string) Shape {
	s := clip(g.take(name).shape)
	return Shape{s[0], s[1], s[2], s[3]}
}

// feed is what a graph needs.
func (g *golden) feed(graph *Graph, tok *Tokenizer, params [][]float32) feed {
	in := feed{}
	for i, n := range graph.Params {
		if n != nil {
			in[n] = params[i]
		}
	}
	if graph.Inputs["video"] != nil {
		in[graph.Inputs["video"]] = g.take("in.video").channelsLast()
	}
	if graph.Inputs["weight"] != nil {
		in[graph.Inputs["weight"]] = slices.Repeat([]float32{1}, graph.Inputs["weight"].Shape().TotalSize())
	}
	if graph.Inputs["cond"] != nil {
		in[graph.Inputs["cond"]] = g.take("in.cond").values
	}
	return in
}

// inference compares what goes through the integer codes.
func (g *golden) inference(tok *Tokenizer, params [][]float32, s Shape) {
	enc, err := tok.Encoder(s)
	check(g.t, err)
	values := g.run(g.feed(enc, tok, params), enc.features, enc.Outputs["codes"])
	if g.has("out.encoded") {
		g.compare("out.encoded", g.take("out.encoded").like(values[0]))
	}
	g.compareCodes(values[1])

	dec, err := tok.Decoder(s)
	check(g.t, err)
	in := g.feed(dec, tok, params)
	in[dec.Inputs["codes"]] = g.take("codes").values
	values = g.run(in, dec.features, dec.Outputs["recon"])
	if g.has("out.quantized") {
		g.compare("out.quantized", g.take("out.quantized").like(values[0]))
	}
	g.compare("out.recon_eval", g.take("out.recon_eval").like(values[1]))
}

// statistics compares the distributions of first values with those of one draw of
// the package. Means and deviations of n values differ by about their deviation
// over √n; 6 times the sum of both draws' is too far. Distributions here are
// symmetric or constant.
func (g *golden) statistics(tok *Tokenizer) {
	for i, p := range tok.Params {
		stat, shape := g.take("stat."+p.Name), g.take("shape."+p.Name)
		var dims []int
		for _, d := range shape.ints {
			dims = append(dims, int(d))
		}
		if !slices.Equal(dims, p.Reference) {
			g.t.Errorf("%s is %v, want %v", p.Name, p.Reference, dims)
			continue
		}
		v := make([]float32, p.Len())
		tok.Init(1, i, v)
		var mean, square float64
		low, high := math.Inf(1), math.Inf(-1)
		for _, x := range v {
			x := float64(x)
			mean, square, low, high = mean+x/float64(len(v)), square+x*x/float64(len(v)), min(low, x), max(high, x)
		}
		std := math.Sqrt(max(square-mean*mean, 0))
		independent := float64(len(v) / max(p.init.repeat, 1)) // values that are not copies
		wantMean, wantStd := float64(stat.values[0]), float64(stat.values[1])
		if independent == 1 { // one value says nothing about a distribution
			g.tensors, g.values = g.tensors+1, g.values+1
			if bound := p.init.bound; math.Abs(mean) > bound || math.Abs(wantMean) > bound {
				g.t.Errorf("%s starts at %.4g, the package at %.4g: want within %.4g", p.Name, mean, wantMean, bound)
			}
			continue
		}
		far := 6*math.Sqrt2*max(std, wantStd)/math.Sqrt(independent) + 1e-6
		g.tensors, g.values = g.tensors+1, g.values+5
		if float64(stat.values[4]) != float64(len(v)) || math.Abs(mean-wantMean) > far || math.Abs(std-wantStd) > far {
			g.t.Errorf("%s starts with mean %.4g, deviation %.4g of %d values; want %.4g and %.4g of %g, within %.2g", p.Name, mean, std, len(v), wantMean, wantStd, stat.values[4], far)
		}
		if p.init.std == 0 && (math.Abs(low-mean) > math.Abs(float64(stat.values[2])-wantMean)+2*far || math.Abs(high-mean) > math.Abs(float64(stat.values[3])-wantMean)+2*far) {
			g.t.Errorf("%s starts between %.4g and %.4g, want %.4g and %.4g", p.Name, low, high, stat.values[2], stat.values[3])
		}
	}
	for _, name := range append(g.names("stat."), g.names("shape.")...) {
		if _, known := tok.index[name]; known || strings.HasPrefix(name, "discr.") || name == "quantizers.mask" {
			g.used["stat."+name], g.used["shape."+name] = true, true
		}
	}
}

// checkpoint compares what a saved tokenizer or trainer must be read as: here its
// parameters by name, which the .pt file of the same name holds too; package torchfile reads
// that one. The network that they make is then run.
func (g *golden) checkpoint() {
	if g.Op != "VideoTokenizer.save" && g.Op != "VideoTokenizerTrainer.save" {
		g.t.Fatalf("unknown checkpoint %q", g.Op)
	}
	for name := range g.Options {
		switch name {
		case "lr", "steps", "warmup_steps", "ema": // how the file was made
			g.used["option:"+name] = true
		}
	}
	tok, err := New(g.reference())
	check(g.t, err)
	params := g.state(tok, "state.")
	var names []string
	for _, i := range tok.OptimizerOrder() {
		names = append(names, tok.Params[i].Name)
	}
	if !slices.Equal(names, g.Order) {
		g.t.Errorf("order of the optimizer:\n%q\nwant\n%q", names, g.Order)
	}
	g.tensors++
	if g.has("out.step") {
		for _, name := range []string{"initted", "step"} {
			g.used["ema."+name] = true
		}
		g.state(tok, "ema.")
		for _, part := range []string{"opt.exp_avg.", "opt.exp_avg_sq.", "opt.step."} {
			for _, name := range g.names(part) {
				a := g.take(part + name)
				i, ok := tok.index[name]
				if !ok || part != "opt.step." && !slices.Equal(a.shape, tok.Params[i].Reference) {
					g.t.Errorf("%s%s %v is of no parameter", part, name, a.shape)
				}
			}
		}
		g.used["out.step"], g.used["out.ema_step"] = true, true // numbers in the .pt file
	}
	g.inference(tok, params, g.shape(tok, "in.video"))
}
