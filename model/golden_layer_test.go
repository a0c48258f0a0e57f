package model

import (
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
	"magvit/model/op"
)

// clip is an array's shape as N,T,H,W,C: from four axes on its channels come
// second, below last.
func clip(shape []int) []int {
	switch len(shape) {
	case 5:
		return []int{shape[0], shape[2], shape[3], shape[4], shape[1]}
	case 4:
		return []int{shape[0], 1, shape[2], shape[3], shape[1]}
	case 3:
		return []int{shape[0], 1, 1, shape[1], shape[2]}
	}
	return []int{shape[0], 1, 1, 1, shape[1]}
}

// channelsLast are an array's values in the order of clip.
func (a array) channelsLast() []float32 {
	if len(a.shape) < 4 {
		return a.values
	}
	c := a.shape[1]
	return transpose(a.values, a.shape[0], c, len(a.values)/(a.shape[0]*c))
}

// like puts values in the order of clip into an array's own order.
func (a array) like(values []float32) []float32 {
	if len(a.shape) < 4 {
		return values
	}
	c := a.shape[1]
	return transpose(values, a.shape[0], len(values)/(a.shape[0]*c), c)
}

// transpose swaps the second and third axes of src [n,a,b].
func transpose(src []float32, n, a, b int) []float32 {
	dst := make([]float32, len(src))
	for i := range n {
		for j := range a {
			for k := range b {
				dst[(i*b+k)*a+j] = src[(i*a+j)*b+k]
			}
		}
	}
	return dst
}

// feed are values of inputs.
type feed map[*G.Node][]float32

// run computes the values of nodes.
func (g *golden) run(in feed, outputs ...*G.Node) [][]float32 {
	g.t.Helper()
	plan, err := machine.Compile(g.be, outputs, nil, machine.RecomputeNone)
	check(g.t, err)
	for n, v := range in {
		if b := plan.Buffer(n); b != nil {
			if b.Len() != len(v) {
				g.t.Fatalf("%v has %d values, %d are given", n, b.Len(), len(v))
			}
			check(g.t, g.be.Write(b, v))
		}
	}
	check(g.t, plan.Run())
	values := make([][]float32, len(outputs))
	for i, n := range outputs {
		b := plan.Buffer(n)
		values[i] = make([]float32, b.Len())
		check(g.t, g.be.Read(values[i], b))
	}
	return values
}

// input adds an array of the file to the graph.
func (g *golden) input(b *builder, in feed, name string) *G.Node {
	a := g.take(name)
	n := b.input(name, clip(a.shape)...)
	in[n] = a.channelsLast()
	return n
}

// parameters feeds the file's parameters to those of the graph, whose names begin
// with cut.
func (g *golden) parameters(b *builder, in feed, cut string) {
	g.t.Helper()
	check(g.t, b.err)
	known := map[string]bool{}
	for i, p := range b.t.Params {
		key := "param." + strings.TrimPrefix(p.Name, cut)
		known[key] = true
		a := g.take(key)
		if !slices.Equal(thick(a.shape), thick(p.Reference)) {
			g.t.Fatalf("%s is %v, the model has %v", key, a.shape, p.Reference)
		}
		if n := b.params[i]; n != nil {
			in[n] = make([]float32, p.Len())
			p.FromReference(in[n], a.values)
		}
	}
	for _, name := range g.names("param.") {
		if known["param."+name] {
			continue
		}
		a := g.take("param." + name)
		switch {
		case (name == "f" || strings.HasSuffix(name, "maybe_blur.f")) && slices.Equal(a.values, []float32{1, 2, 1}): // of Blur
		case name == "mask" || name == "quantizers.mask":
			for i, v := range a.ints {
				if v != 1<<(len(a.ints)-1-i) {
					g.t.Errorf("%s[%d] = %d is no power of two in its place", name, i, v)
				}
			}
		default:
			g.t.Errorf("the model has no parameter %s", name)
		}
	}
}

// thick leaves out axes of size 1: images have fewer of them.
func thick(shape []int) (s []int) {
	for _, d := range shape {
		if d != 1 {
			s = append(s, d)
		}
	}
	return s
}

// gradients compares the gradients of an objective, of which seed is the gradient
// with respect to y, under a name such as grad.
func (g *golden) gradients(b *builder, in feed, name, cut string, y, seed *G.Node, inputs map[string]*G.Node) {
	g.t.Helper()
	var names []string
	var wrt G.Nodes
	for _, key := range g.names(name + ".") {
		n := inputs[key]
		for i, p := range b.t.Params {
			if strings.TrimPrefix(p.Name, cut) == key {
				n = b.params[i]
			}
		}
		if n == nil { // carried, not used
			g.compare(name+"."+key, make([]float32, len(g.take(name+"."+key).values)))
			continue
		}
		names, wrt = append(names, key), append(wrt, n)
	}
	grads, err := op.Backpropagate(G.Nodes{y}, G.Nodes{seed}, wrt)
	check(g.t, err)
	for i, d := range grads {
		if d == nil {
			g.t.Fatalf("%s.%s: %v does not depend on it", name, names[i], y)
		}
	}
	for i, v := range g.run(in, grads...) {
		key := name + "." + names[i]
		if n := wrt[i]; inputs[names[i]] != nil {
			g.compare(key, g.take(key).like(v))
		} else {
			p := b.t.Params[slices.Index(b.params, n)]
			out := make([]float32, len(v))
			p.ToReference(out, v)
			g.compare(key, out)
		}
	}
}

// layer compares one operator.
func (g *golden) layer() {
	c := Defaults()
	c.Compat, c.SqueezeExcite = Lucidrains, "closed"
	cut := "m."
	switch g.Op {
	case "EncoderLayer", "DecoderLayer":
		c = g.reference()
		cut = map[string]string{"EncoderLayer": "encoder_layers.0.", "DecoderLayer": "decoder_layers.0."}[g.Op]
	}
	b := newBuilder(&Tokenizer{Config: c, index: map[string]int{}}, Shape{})
	b.declare = true
	in, inputs := feed{}, map[string]*G.Node{}
	for name := range g.Inputs {
		inputs[name] = g.input(b, in, "in."+name)
	}
	y := g.operator(b, in, inputs["x"], inputs["cond"])
	check(g.t, b.err)
	g.parameters(b, in, cut)
	g.compare("out.y", g.take("out.y").like(g.run(in, y)[0]))
	seed := g.input(b, in, "cotangent.y")
	g.gradients(b, in, "grad", cut, y, seed, inputs)
}

func (g *golden) operator(b *builder, in feed, x, cond *G.Node) *G.Node {
	_, _, _, _, c := b.dims(x)
	if g.Op == "DiscriminatorBlock" {
		g.must("input_channels", float64(c))
		down, blur := true, true // the package's defaults
		g.config("downsample", &down)
		g.config("antialiased_downsample", &blur)
		return b.discriminatorBlock("m", x, g.size("filters", 0), down, blur)
	}
	if g.Op != "CausalConv3d" && g.Op != "CausalConvTranspose3d" {
		g.must("dim", float64(c))
	}
	dim := func(name string) int { return g.size(name, c) }
	k := Kernel{}
	kernel := func(name string) Kernel {
		g.used["config:"+name] = true
		check(g.t, assign(&k, g.Config[name]))
		return k
	}
	f := convOptions{}
	pad := func() convOptions {
		mode := "constant"
		g.config("pad_mode", &mode)
		i := slices.Index(padModes, mode)
		if i < 0 {
			g.t.Fatalf("pad_mode %q is unknown", mode)
		}
		f.mode = kernels.PadMode(i)
		return f
	}
	heads := func() Heads { return Heads{g.size("heads", 8), g.size("dim_head", 32)} }
	attention := func(name string, over kernels.Layout) *G.Node {
		g.must("flash", true, false)
		g.must("dropout", 0.)
		g.dimCond(cond)
		return b.attention(name, x, cond, memories{heads(), g.size("num_memory_kv", 4)}, over, g.flag("causal"))
	}
	feedForward := func(name string) *G.Node {
		g.must("images", true, false)
		g.dimCond(cond)
		return b.feedForward(name, x, cond, g.number("mult", 4))
	}
	switch g.Op {
	case "EncoderLayer":
		return b.encodeLayer(0, x, cond, b.t.Config.dimsAfter()[0])
	case "DecoderLayer":
		return b.decodeLayer(0, x, cond, b.t.Config.InitDim)
	case "CausalConv3d":
		g.must("chan_in", float64(c))
		pad()
		f.strideT, f.dilation = g.size("stride", 1), g.size("dilation", 1)
		return b.causal("m.conv", x, dim("chan_out"), kernel("kernel_size"), f)
	case "CausalConvTranspose3d":
		g.must("chan_in", float64(c))
		return g.transposed(b, in, x, dim("chan_out"), kernel("kernel_size"), g.size("time_stride", 1))
	case "ResidualUnit":
		return b.residual("m", x, kernel("kernel_size"), pad())
	case "ResidualUnitMod":
		g.must("pad_mode", "constant")
		g.dimCond(cond)
		return b.modulated("m", x, cond, kernel("kernel_size"), f, g.flag("demod"))
	case "Conv3DMod":
		g.must("causal", true)
		g.must("pad_mode", "zeros", "constant")
		g.must("eps", 1e-8)
		space, time := g.size("spatial_kernel", 1), g.size("time_kernel", 1)
		return b.modConv("m", x, cond, dim("dim_out"), Kernel{time, space, space}, f, g.flag("demod"))
	case "SqueezeExcite":
		g.must("dim_out", nil, float64(c))
		g.number("init_bias", -10) // first values only
		return b.squeezeExcite("m", x, max(g.size("dim_hidden_min", 16), c/2))
	case "SpatialDownsample2x", "TimeDownsample2x":
		g.must("kernel_size", 3.)
		return b.down("m", x, dim("dim_out"), g.Op[0] == 'S', g.flag("antialias"))
	case "SpatialUpsample2x", "TimeUpsample2x":
		return b.up("m", x, dim("dim_out"), g.Op[0] == 'S')
	case "RMSNorm":
		g.must("channel_first", true, false)
		g.must("images", true, false)
		y := b.rmsNorm("m", x, nil, 0)
		if g.flag("bias") {
			y = g.addBias(b, in, y, b.param("m.bias", initial{}, c))
		}
		return y
	case "AdaptiveRMSNorm":
		g.must("channel_first", true, false)
		g.must("images", true, false)
		g.dimCond(cond)
		y := b.rmsNorm("m", x, cond, 0)
		if g.flag("bias") {
			y = g.addBias(b, in, y, b.dense("m.to_bias", cond, c))
		}
		return y
	case "FeedForward":
		return feedForward("m")
	case "TokenShift(FeedForward)":
		x = b.shift(x)
		return feedForward("m.fn")
	case "SpaceAttention":
		return attention("m", kernels.Space)
	case "TimeAttention":
		return attention("m", kernels.Time)
	case "TokenShift(TimeAttention)":
		x = b.shift(x)
		return attention("m.fn", kernels.Time)
	case "LinearSpaceAttention":
		g.must("dropout", 0.)
		g.dimCond(cond)
		return b.linearAttention("m", x, cond, heads())
	case "GateLoop":
		return b.add(x, b.gateLoop("m.fn.fn", x))
	case "Blur":
		var call map[string]bool
		g.option("call", &call)
		for name := range call {
			if name != "space_only" && name != "time_only" {
				g.t.Fatalf("option call.%s is unknown", name)
			}
		}
		n, t, h, w, c := b.dims(x)
		s := kernels.Blur{N: n, T: t, H: h, W: w, C: c, Time: !call["space_only"], Space: !call["time_only"]}
		return b.apply(s, x.Shape(), x)
	}
	g.t.Fatalf("unknown operator %q", g.Op)
	return nil
}

func (g *golden) dimCond(cond *G.Node) {
	if cond == nil {
		g.must("dim_cond", nil)
	} else {
		g.must("dim_cond", float64(cond.Shape()[4]))
	}
}

// addBias adds a bias, of each channel or of each clip's channels. No network here
// has one after a norm: a convolution with the identity does it.
func (g *golden) addBias(b *builder, in feed, x, bias *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	one := b.input("identity", c, c)
	in[one] = make([]float32, c*c)
	for i := range c {
		in[one][i*c+i] = 1
	}
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: c, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	if bias.Shape().TotalSize() == c {
		return b.apply(s, []int{n, t, h, w, c}, x, one, bias)
	}
	s.N = 1
	var all *G.Node
	for i := range n {
		part := b.apply(kernels.SliceTime{N: 1, T: n, Inner: t * h * w * c, From: i, To: i + 1}, []int{1, t, h, w, c}, x)
		own := b.apply(kernels.SliceTime{N: 1, T: n, Inner: c, From: i, To: i + 1}, []int{c}, bias)
		y := b.apply(s, []int{1, t, h, w, c}, part, one, own)
		if all == nil {
			all = y
			continue
		}
		all = b.apply(kernels.ConcatTime{N: 1, TA: i, TB: 1, Inner: t * h * w * c}, []int{i + 1, t, h, w, c}, all, y)
	}
	return all
}

// transposed is a transposed convolution, the adjoint of a convolution with a
// stride in time, without the frames after the last one. No network here has one.
func (g *golden) transposed(b *builder, in feed, x *G.Node, out int, k Kernel, stride int) *G.Node {
	n, t, h, w, c := b.dims(x)
	full := (t-1)*stride + k[0]
	s := kernels.Conv{N: n, T: full, H: h, W: w, C: out, O: c, KT: k[0], KH: k[1], KW: k[2], ST: stride, SH: 1, SW: 1, DT: 1, PH: k[1] / 2, PW: k[2] / 2}
	weight := b.paramAs("m.conv.weight", initial{}, []int{c, k[0], k[1], k[2], out}, timeAndSpace.reference(c, out, k))
	y := b.apply(kernels.ConvGradX{Conv: s}, []int{n, full, h, w, out}, x, weight)
	return g.addBias(b, in, b.frames(y, 0, min(full, t*stride)), b.param("m.conv.bias", initial{}, out))
}
