package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Training is the graph of a training step: video, labels, target and counts, positions and
// located in, where there are heads for them; loss, terms, logits, forecast, path and
// gradients out.
func (m *Classifier) Training(s Shape) (*Graph, error) { return m.training(s, false) }

// TrainingPart is Training for one of several batches of a step, see Network.
func (m *Classifier) TrainingPart(s Shape) (*Graph, error) { return m.training(s, true) }

func (m *Classifier) training(s Shape, scaled bool) (*Graph, error) {
	if err := m.Check(s); err != nil {
		return nil, err
	}
	b, k := newBuilder(m.list, s), m.Config.Classify
	b.scaled, b.training = scaled, true
	h := m.forward(b)
	var terms []Term
	if h.logits != nil {
		labels := b.input("labels", s.N)
		terms = append(terms, Term{Name: "cross_entropy", Weight: 1,
			Node: b.apply(kernels.CrossEntropy{Rows: s.N, C: k.Classes}, []int{}, h.logits, labels)})
	}
	if h.forecast != nil {
		dims := k.positionDims()
		target, counts := b.input("target", s.N, k.Horizon, dims), b.input("counts", s.N, k.Horizon)
		kind := kernels.MSE
		if k.ForecastLoss == "l1" {
			kind = kernels.L1
		}
		terms = append(terms, Term{Name: "forecast", Weight: k.ForecastWeight,
			Node: b.apply(kernels.ReconLoss{Pixels: s.N * k.Horizon, C: dims, Kind: kind, Overshoot: 1}, []int{}, h.forecast, target, counts)})
	}
	if len(h.paths) > 0 && k.Path.Weight > 0 {
		positions, located := b.input("positions", s.N, s.T, 2), b.input("located", s.N, s.T)
		var sum *G.Node
		for _, path := range h.paths {
			l := b.apply(kernels.ReconLoss{Pixels: s.N * s.T, C: 2, Kind: kernels.L1, Overshoot: 1}, []int{}, path, positions, located)
			if sum == nil {
				sum = l
			} else {
				sum = b.add(sum, l)
			}
		}
		terms = append(terms, Term{Name: "path", Weight: k.Path.Weight, Node: sum})
	}
	g, err := b.finish(terms...)
	if err != nil {
		return nil, err
	}
	_, err = g.differentiate(m.list.Params)
	return g, err
}

// Predictor is the graph from video to logits and forecast.
func (m *Classifier) Predictor(s Shape) (*Graph, error) {
	if err := m.Check(s); err != nil {
		return nil, err
	}
	b := newBuilder(m.list, s)
	m.forward(b)
	return b.finish()
}

// heads are the results of a Classifier or of one of its networks; nil where there is no
// such head.
type heads struct {
	logits, forecast *G.Node
	paths            []*G.Node // [N,T,1,1,2] of each network
}

// forward builds the networks and adds what their heads give.
func (m *Classifier) forward(b *builder) (all heads) {
	s, c, k := b.shape, m.Config, m.Config.Classify
	if k.onPixels() {
		all = m.network(b, b.input("video", s.N, s.T, s.H, s.W, c.Channels), false)
	}
	if k.OnCodes() {
		b.prefix = "codes."
		h := m.network(b, b.embedCodes(), true)
		b.prefix = ""
		all.paths = append(all.paths, h.paths...)
		if k.onPixels() {
			h.logits, h.forecast = b.both(all.logits, h.logits), b.both(all.forecast, h.forecast)
		}
		all.logits, all.forecast = h.logits, h.forecast
	}
	if all.logits != nil {
		b.output("logits", all.logits)
	}
	if all.forecast != nil {
		b.output("forecast", all.forecast)
	}
	return all
}

// network is the heads of a network on pixels [N,T,H,W,channels] or on embedded codes
// [N,T',H',W',C].
func (m *Classifier) network(b *builder, x *G.Node, codes bool) (h heads) {
	s, k := b.shape, m.Config.Classify
	var frames *G.Node // features of the finest frame rate
	switch {
	case k.Network == "slowfast":
		x, frames = b.slowFast(x, codes)
	case codes:
		x = b.attentionPoolFrames("head", b.encodeCodes(x), k.HeadDim)
		frames = x
	default:
		x = b.attentionPoolFrames("head", b.encode(x), k.HeadDim)
		frames = x
	}
	b.graph.features = x
	for i := range k.HeadLayers {
		x = b.residual(fmt.Sprintf("head.time.%d", i), x, Kernel{3, 1, 1}, convOptions{dilation: 1 << i})
	}
	var path *G.Node
	if k.Path.Rotations > 0 {
		path = b.locate("head.path.position", frames, s.T)
		h.paths = []*G.Node{path}
		b.output(b.prefix+"path", path)
		if b.training && k.Path.Jitter > 0 {
			path = b.jittered("head.path.jitter", path)
		}
	}
	if n := k.Classes; n > 1 {
		y := b.conv("head.classes.0", b.attentionPool("head.time", x, 0, true), 2*k.HeadDim, point, convOptions{})
		if path != nil {
			y = b.add(y, b.conv("head.path.classes.0", b.pathForm("head.path.classes", path), 2*k.HeadDim, point, convOptions{}))
		}
		h.logits = b.conv("head.classes.1", b.act(kernels.ELU, y), n, point, convOptions{zero: true, fixedBias: true})
	}
	dims, seen := k.positionDims(), m.Seen(s.T)
	switch {
	case dims == 0:
	case path != nil && k.Forecast == ForecastImage:
		h.forecast = b.pathForecast("head.path.forecast", b.frames(path, 0, seen), s)
	default:
		_, t, _, _, _ := b.dims(x)
		alone := m.alone()
		last := alone + (seen-alone)*(t-alone)/(s.T-alone)
		y := b.act(kernels.ELU, b.conv("head.forecast.0", b.frames(x, last-1, last), 2*k.HeadDim, point, convOptions{}))
		h.forecast = b.conv("head.forecast.1", y, k.Horizon*dims, point, convOptions{zero: true, fixedBias: true})
	}
	return h
}

// both is x + y, nil where both are.
func (b *builder) both(x, y *G.Node) *G.Node {
	if x == nil || y == nil {
		return nil
	}
	return b.add(x, y)
}

// attentionPoolFrames pools each frame of x [N,T,H,W,C] to features [N,T,1,1,dim] with
// several attention heads over its pixels. The coordinates of the pixels are added
// before, so that features hold positions too. Parameters of head i are named eye.i.
func (b *builder) attentionPoolFrames(name string, x *G.Node, dim int) (sum *G.Node) {
	n, t, h, w, _ := b.dims(x)
	if b.err != nil {
		return nil
	}
	at := b.constant(name+".coordinates", coordinates(n*t, h, w), n, t, h, w, 2)
	x = b.add(b.conv(name+".in", x, dim, point, convOptions{}), b.conv(name+".where", at, dim, point, convOptions{}))
	for i := range b.t.Config.Classify.PoolHeads {
		head := fmt.Sprintf("%s.eye.%d", name, i)
		y := b.conv(head, b.attentionPool(head, x, poolHeadBound, false), dim, point, convOptions{})
		if i == 0 {
			sum = y
		} else {
			sum = b.add(sum, y)
		}
	}
	return sum
}

// poolHeadBound bounds the initial weights of a pooling head: features with a standard
// deviation near 1/2 then make logits that differ by a few, so that some heads attend
// to salient pixels from the start.
const poolHeadBound = 1.5

// attentionPool is the softmax-weighted mean of the pixels of each frame of x
// [N,T,H,W,C], [N,T,1,1,C]; with clip that of all pixels of a clip, [N,1,1,1,C].
func (b *builder) attentionPool(name string, x *G.Node, bound float64, clip bool) *G.Node {
	n, t, h, w, c := b.dims(x)
	f := kernels.FramePool{F: n * t, P: h * w, C: c}
	if clip {
		f, t = kernels.FramePool{F: n, P: t * h * w, C: c}, 1
	}
	return b.apply(f, []int{n, t, 1, 1, c}, x, b.param(name+".pool.weight", initial{bound: bound}, c))
}

// coordinates is y and x of the pixels of each frame [frames,H,W,2], from -1 to 1 across
// the frame.
func coordinates(frames, h, w int) []float32 {
	at := make([]float32, 0, frames*h*w*2)
	for range frames {
		for i := range h {
			for j := range w {
				at = append(at, float32(2*i+1)/float32(h)-1, float32(2*j+1)/float32(w)-1)
			}
		}
	}
	return at
}

// slowFast is the features [N,T/alpha,1,1,head_dim] of two encoders (Feichtenhofer et
// al. 2019), and those of the fast one [N,T,1,1,head_dim].
func (b *builder) slowFast(x *G.Node, codes bool) (both, frames *G.Node) {
	c := b.t.Config
	alpha, thin := c.Classify.alpha(codes), func(dim int) int { return max(dim/c.Classify.Beta, 1) }
	down := func(name string, x *G.Node, dim int, l Layer) *G.Node { return b.down(name, x, dim, true, l.Antialias) }
	if codes {
		down = func(name string, x *G.Node, dim int, _ Layer) *G.Node { return b.widen(name, x, dim) }
	} else {
		x = b.cells(x)
	}
	flat := func(k Kernel) Kernel { return Kernel{1, k[1], k[2]} }
	fast := b.act(kernels.ELU, b.causal("fast.conv_in.conv", x, thin(c.InitDim), c.InputKernel, convOptions{}))
	slow := b.act(kernels.ELU, b.conv("slow.conv_in.conv", x, c.InitDim, flat(c.InputKernel), convOptions{strideT: alpha}))
	slow = b.lateral("lateral.in", slow, fast, alpha)
	for i, dim := range c.dimsAfter() {
		l, name := c.Layers[i], fmt.Sprintf(".encoder_layers.%d", i)
		if l.compresses() {
			fast = down("fast"+name, fast, thin(dim), l)
			slow = b.lateral(fmt.Sprintf("lateral.%d", i), down("slow"+name, slow, dim, l), fast, alpha)
			continue
		}
		fast = b.layer("fast"+name, l, fast, nil)
		if l.Kernel.IsZero() && l.convolves() {
			l.Kernel = flat(c.ResidualKernel) // only the fast path has kernels over time
		}
		slow = b.layer("slow"+name, l, slow, nil)
	}
	if c.LatentNorm == "layer" {
		slow, fast = b.layerNorm("slow.norm", slow), b.layerNorm("fast.norm", fast)
	}
	d := c.Classify.HeadDim
	slow, fast = b.attentionPoolFrames("slow.head", slow, d), b.attentionPoolFrames("fast.head", fast, d)
	return b.lateral("lateral.out", slow, fast, alpha), fast
}

// cells is pixels [N,T,H,W,channels] without the background, in patches.
func (b *builder) cells(x *G.Node) *G.Node {
	c := b.t.Config
	n, t, h, w, ch := b.dims(x)
	if c.Background != 0 {
		x = b.apply(kernels.Affine{Len: n * t * h * w * ch, Mul: 1, Add: float32(-c.Background)}, []int{n, t, h, w, ch}, x)
	}
	if p := c.Patch; p > 1 {
		x = b.apply(kernels.Shuffle{N: n, T: t, H: h / p, W: w / p, C: ch, FT: 1, FH: p, FW: p, Down: true}, []int{n, t, h / p, w / p, ch * p * p}, x)
	}
	return x
}

// lateral is slow plus a convolution over time, with stride alpha, of the fast path.
// Feature t of the result depends on the frames up to alpha·t + alpha-1.
func (b *builder) lateral(name string, slow, fast *G.Node, alpha int) *G.Node {
	_, _, _, _, dim := b.dims(slow)
	return b.add(slow, b.conv(name, fast, dim, Kernel{alpha + 1, 1, 1}, convOptions{axes: timeOnly, strideT: alpha, padT: 1}))
}
