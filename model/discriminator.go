package model

import (
	"errors"
	"fmt"
	"math"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model/op"
)

// Discriminator configures the network that an adversarial loss trains against the
// tokenizer.
type Discriminator struct {
	Kind            string  `yaml:"kind"`             // image: magvit2-pytorch's, of single frames; of all frames of a clip patch3d: four causal 3-D convolutions with strides, a logit for each patch, patchgan3d: the same with batch norm as Open-MAGVIT2 has it, stylegan3d: residual blocks with blur pooling as in MAGVIT, a logit for a clip; patchgan: VidTok's and taming-transformers' with batch norm, of single frames, a logit for each patch; "": none, and no adversarial loss
	Size            int     `yaml:"size"`             // side of the frames that it judges, pixels; of larger ones a random window; 0: image_size
	Scales          int     `yaml:"scales"`           // discriminators, each of frames half the size of those before; losses are means over them
	Dim             int     `yaml:"dim"`              // image: its first width is 4·dim, of the others dim; each block or layer doubles it; 0: 64 of patchgan and patchgan3d, else the width of the latents
	MaxDim          int     `yaml:"max_dim"`          // upper bound on its widths
	Blur            bool    `yaml:"blur"`             // image: blurs before it halves frames
	LinearAttention Heads   `yaml:"linear_attention"` // image: size of its linear attention
	FeedForward     float64 `yaml:"feed_forward"`     // image: widening factor of its feed-forward layers
}

// Adversarial configures the loss of tokenizer and discriminator against each other.
type Adversarial struct {
	Kind          string  `yaml:"kind"`           // hinge; or logistic, the non-saturating loss
	Weight        float64 `yaml:"weight"`         // weight of the tokenizer's term
	Adaptive      string  `yaml:"adaptive"`       // further factor from the gradients at the last convolution: taming (those of all terms on pixels by that of this one), reference (magvit2-pytorch's: of the perceptual term; 1 without) or none
	Frames        int     `yaml:"frames"`         // image, patchgan: random frames of each clip that the discriminator judges; 0: all
	Start         int     `yaml:"start"`          // steps before the discriminator is trained
	Pretrain      int     `yaml:"pretrain"`       // steps after start in which the discriminator is trained and the tokenizer's term has no weight
	Ramp          int     `yaml:"ramp"`           // steps after these over which weight rises linearly; 0: none
	Penalty       string  `yaml:"penalty"`        // squared gradient of the logits: both (of real and reconstructed frames, magvit2-pytorch's), r1 (half of that of real ones, times penalty_every) or none
	PenaltyWeight float64 `yaml:"penalty_weight"` // weight of the penalty
	PenaltyEvery  int     `yaml:"penalty_every"`  // steps between penalties
	LeCam         float64 `yaml:"lecam"`          // weight of LeCam regularization of the discriminator: squares of how far logits are beyond the running average of the other kind; 0: none
	LeCamDecay    float64 `yaml:"lecam_decay"`    // decay of these averages, for each step of the discriminator; they begin at 0
}

// DiscriminatorPrefix begins the names of the discriminator's parameters.
const DiscriminatorPrefix = "discr."

// Kinds of discriminators besides image.
const (
	patch3D    = "patch3d"
	patchGAN   = "patchgan"
	patchGAN3D = "patchgan3d"
	styleGAN3D = "stylegan3d"
)

// judgesClips reports whether the discriminator judges whole clips, not frames.
func (d Discriminator) judgesClips() bool { return d.Kind != "image" && d.Kind != patchGAN }

// HasDiscriminator reports whether the loss is adversarial.
func (c Config) HasDiscriminator() bool { return c.Discriminator.Kind != "" }

// WithoutDiscriminator is the configuration of the tokenizer alone, as it is used.
func (c Config) WithoutDiscriminator() Config {
	d := Defaults()
	c.Discriminator, c.Loss.Adversarial = d.Discriminator, d.Loss.Adversarial
	return c
}

// DiscriminatorSize is the side of the frames that the discriminator judges.
func (c Config) DiscriminatorSize() int {
	if c.Discriminator.Size > 0 {
		return c.Discriminator.Size
	}
	return c.ImageSize
}

// halvings is the number of blocks that halve a frame of h×w pixels.
func halvings(h, w int) int { return int(math.Log2(float64(min(h, w))) - 2) }

// validateDiscriminator checks the keys of discriminator and loss.adversarial.
func (c Config) validateDiscriminator() error {
	d, a := c.Discriminator, c.Loss.Adversarial
	if !c.HasDiscriminator() {
		return nil
	}
	const most = 1 << 30
	errs := []error{
		oneOf("discriminator.kind", d.Kind, "image", patch3D, patchGAN, patchGAN3D, styleGAN3D), between("discriminator.scales", d.Scales, 1, 6), between("discriminator.size", d.Size, 0, 4096),
		between("discriminator.dim", d.Dim, 0, 4096), between("discriminator.max_dim", d.MaxDim, 1, 8192),
		between("discriminator.linear_attention.heads", d.LinearAttention.Heads, 1, 256), between("discriminator.linear_attention.dim", d.LinearAttention.Dim, 1, 64),
		inRange("discriminator.feed_forward", d.FeedForward, .01, 64),
		oneOf("loss.adversarial.kind", a.Kind, "hinge", "logistic"), inRange("loss.adversarial.weight", a.Weight, 0, 1e6),
		oneOf("loss.adversarial.adaptive", a.Adaptive, "none", "taming", "reference"), between("loss.adversarial.frames", a.Frames, 0, 1<<16),
		between("loss.adversarial.start", a.Start, 0, most), between("loss.adversarial.pretrain", a.Pretrain, 0, most), between("loss.adversarial.ramp", a.Ramp, 0, most),
		oneOf("loss.adversarial.penalty", a.Penalty, "both", "r1", "none"), inRange("loss.adversarial.penalty_weight", a.PenaltyWeight, 0, 1e6),
		between("loss.adversarial.penalty_every", a.PenaltyEvery, 1, most),
		inRange("loss.adversarial.lecam", a.LeCam, 0, 1e6), inRange("loss.adversarial.lecam_decay", a.LeCamDecay, 0, .999999),
	}
	if c.Classifies() {
		errs = append(errs, fmt.Errorf("model.discriminator.kind: %s: a classifier has no adversarial loss", d.Kind))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if patchNetworks[d.Kind].normed && a.Penalty != "none" {
		return fmt.Errorf("model.loss.adversarial.penalty: %s: want none with discriminator.kind: %s, whose batch norm makes each logit a function of all frames of the batch: "+
			"the gradient of a frame's own logit is not defined; patch3d, image and stylegan3d can have a penalty", a.Penalty, d.Kind)
	}
	size := c.DiscriminatorSize()
	least, multiple := 4, 1
	if d.Kind == patchGAN { // its last two convolutions take a pixel of an eighth each
		least = 24
	}
	for i := range d.Scales {
		if size>>i < least || i > 0 && size%(1<<i) != 0 {
			return fmt.Errorf("model.discriminator.size: %d: want a multiple of %d of at least %d with %d scales of kind %s", size, 1<<(d.Scales-1), least<<(d.Scales-1), d.Scales, d.Kind)
		}
		if d.Kind == "image" || d.Kind == styleGAN3D {
			multiple = max(multiple, 1<<(halvings(size>>i, size>>i)+i))
		}
	}
	if size%multiple != 0 {
		return fmt.Errorf("model.discriminator.size: %d: want a multiple of %d, as it is halved %d times", size, multiple, halvings(size, size))
	}
	return nil
}

// windows cuts what the discriminator judges out of clips: frames [M,1,size,size,C], or
// clips [N,T,size,size,C]; purpose names the draw.
func (b *builder) windows(purpose string, clips ...*G.Node) (parts []*G.Node) {
	n, t, h, w, c := b.dims(clips[0])
	k, size := b.t.Config.Loss.Adversarial.Frames, b.t.Config.DiscriminatorSize()
	whole := b.t.Config.Discriminator.judgesClips()
	if k == 0 || k > t || whole {
		k = t
	}
	at := b.scheduled(purpose, func(p StepPosition, dst []float32) {
		for clip := range n {
			r := philox.New(p.Seed, purpose, uint64(p.Step), uint64(p.Batch*n+clip))
			for i, frame := range r.Perm(t)[:k] {
				place := dst[(clip*k+i)*3:]
				place[0], place[1], place[2] = float32(frame), float32(r.IntN(max(h-size, 0)+1)), float32(r.IntN(max(w-size, 0)+1))
				if whole { // frames in order, at one place
					place[0] = float32(i)
					copy(place[1:3], dst[clip*k*3+1:])
				}
			}
		}
	}, n, k, 3)
	for _, x := range clips {
		s := kernels.Windows{N: n, T: t, H: h, W: w, C: c, K: k, SH: size, SW: size}
		shape := []int{n * k, 1, size, size, c}
		if whole {
			shape = []int{n, k, size, size, c}
		}
		x = b.apply(s, shape, x, at)
		if b.t.Config.published() { // whose discriminators judge frames in [-1,1]
			x = b.signed(x)
		}
		parts = append(parts, x)
	}
	return parts
}

// logitMean is the mean of a function of logits, a scalar: the mean over scales of each
// scale's mean.
func (b *builder) logitMean(logits []*G.Node, of kernels.LogitFunc) *G.Node {
	return b.overScales(logits, func(x *G.Node, n int) *G.Node { return b.apply(kernels.LogitMean{Len: n, Of: of}, []int{}, x) })
}

// overScales is the mean of a scalar function of each scale's logits and their number.
func (b *builder) overScales(logits []*G.Node, of func(x *G.Node, n int) *G.Node) (sum *G.Node) {
	for _, x := range logits {
		if b.err != nil {
			return nil
		}
		y := of(x, x.Shape().TotalSize())
		if sum == nil {
			sum = y
		} else {
			sum = b.add(sum, y)
		}
	}
	return b.scale(sum, 1/float64(len(logits)))
}

// DiscriminatorStep is the graph of the discriminator's part of a step: clips real and
// their reconstructions fake [N,T,H,W,channels] in; loss, terms and gradients of the
// discriminator's parameters out. penalty adds the gradient penalty, which doubles its
// work; scaled makes it one of several batches of a step, see Network.
func (t *Tokenizer) DiscriminatorStep(s Shape, penalty, scaled bool) (*Graph, error) {
	if !t.Config.HasDiscriminator() {
		return nil, errors.New("model.discriminator.kind: \"\": this tokenizer has no discriminator")
	}
	b, err := t.begin(s)
	if err != nil {
		return nil, err
	}
	b.scaled, b.graph.discriminates = scaled, true
	ch, a := t.Config.Channels, t.Config.Loss.Adversarial
	frames := b.windows("discriminator frames", b.input("real", s.N, s.T, s.H, s.W, ch), b.input("fake", s.N, s.T, s.H, s.W, ch))
	if b.err != nil {
		return nil, b.err
	}
	shape, values := frames[0].Shape().Clone(), frames[0].Shape().TotalSize()
	m := shape[0]
	shape[0] *= 2
	both := b.apply(kernels.ConcatTime{N: 1, TA: m, TB: m, Inner: values / m}, shape, frames...)
	logits := b.discriminate(both, 2)
	if b.err != nil {
		return nil, b.err
	}
	part := func(x *G.Node, from int) *G.Node {
		inner := x.Shape().TotalSize() / (2 * m)
		return b.apply(kernels.SliceTime{N: 1, T: 2 * m, Inner: inner, From: from, To: from + m}, []int{m, inner}, x)
	}
	var real, fake, ones []*G.Node
	for _, x := range logits {
		real, fake = append(real, part(x, 0)), append(fake, part(x, m))
		ones = append(ones, b.constant("ones", slices.Repeat([]float32{1}, x.Shape().TotalSize()), x.Shape()...))
	}
	ofReal, ofFake := kernels.HingeReal, kernels.HingeFake
	if a.Kind == "logistic" {
		ofReal, ofFake = kernels.LogisticReal, kernels.LogisticFake
	}
	realMean, fakeMean := b.logitMean(real, kernels.LogitValue), b.logitMean(fake, kernels.LogitValue)
	terms := []Term{
		{Name: "discriminator", Node: b.add(b.logitMean(real, ofReal), b.logitMean(fake, ofFake)), Weight: 1},
		{Name: "real_logit", Node: realMean, Derived: true},
		{Name: "fake_logit", Node: fakeMean, Derived: true},
		{Name: "real_accuracy", Node: b.logitMean(real, kernels.IsPositive), Derived: true},
		{Name: "fake_accuracy", Node: b.logitMean(fake, kernels.IsNegative), Derived: true},
	}
	if a.LeCam > 0 {
		terms = append(terms, b.lecam(real, fake, realMean, fakeMean)...)
	}
	if penalty && a.Penalty != "none" && b.err == nil {
		of, weight := b.backpropagateAll(logits, ones, both), a.PenaltyWeight
		if a.Penalty == "r1" {
			of, weight = part(of, 0), weight/2*float64(a.PenaltyEvery)
		}
		square := b.apply(kernels.SumSquares{Len: of.Shape().TotalSize()}, []int{}, of)
		terms = append(terms, Term{Name: "gradient_penalty", Node: b.scale(square, 1/float64(m)), Weight: weight})
	}
	g, err := b.finish(terms...)
	if err != nil {
		return nil, err
	}
	g.from, g.seeds = G.Nodes{g.Loss}, G.Nodes{b.one()}
	_, err = g.differentiate(t.Params)
	return g, err
}

// one is the gradient of a loss with respect to itself.
func (b *builder) one() *G.Node { return b.constant("one", []float32{1}) }

// backpropagate is the gradient of seed·y with respect to x.
func (b *builder) backpropagate(y, seed, x *G.Node) *G.Node {
	return b.backpropagateAll(G.Nodes{y}, G.Nodes{seed}, x)
}

// backpropagateAll is the gradient of the sum of seeds·y with respect to x.
func (b *builder) backpropagateAll(y, seeds G.Nodes, x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	grads, err := op.Backpropagate(y, seeds, G.Nodes{x})
	switch {
	case err != nil:
		b.err = fmt.Errorf("model: %w", err)
	case grads[0] == nil:
		b.err = fmt.Errorf("model: %v does not depend on %v", y, x)
	default:
		return grads[0]
	}
	return nil
}

// GeneratorStep is the graph of the tokenizer's part of an adversarial step: that of
// Training with the term generator, of which the discriminator's parameters are constants.
func (t *Tokenizer) GeneratorStep(s Shape, scaled bool) (*Graph, error) {
	if !t.Config.HasDiscriminator() {
		return nil, errors.New("model.discriminator.kind: \"\": this tokenizer has no discriminator")
	}
	b, err := t.begin(s)
	if err != nil {
		return nil, err
	}
	b.scaled = scaled
	g, err := b.adversarial(b.reconstruct())
	if err != nil {
		return nil, err
	}
	_, err = g.differentiate(t.Params)
	return g, err
}

// ramp is the factor of the tokenizer's term in a step, from Start on.
func (a Adversarial) ramp(step int) float64 {
	since := float64(step) - float64(a.Start) - float64(a.Pretrain)
	if since < 0 {
		return 0
	}
	return min(1, (since+1)/float64(max(a.Ramp, 1)))
}

// adversarial is the graph of a reconstruction's losses with the generator's term, and with
// adversarial_share: how large this term's gradient at the last convolution is, weighted,
// compared with that of all others on pixels.
//
// Why the gradient of the reconstruction is put together by hand: the discriminator's
// backward pass then serves the weight, the share and the loss.
func (b *builder) adversarial(r reconstruction) (*Graph, error) {
	a := b.t.Config.Loss.Adversarial
	logits := b.discriminate(b.windows("generator frames", r.recon)[0], 1)
	of, sign := kernels.LogitValue, -1.
	if a.Kind == "logistic" {
		of, sign = kernels.LogisticReal, 1
	}
	ramp := b.scheduled("adversarial ramp", func(p StepPosition, dst []float32) { dst[0] = float32(a.ramp(p.Step)) })
	pixels, latents := b.perBatch(r.pixels), b.perBatch(r.latents)
	generator := b.perBatch([]Term{{Name: "generator", Node: b.scale(b.logitMean(logits, of), sign), Weight: a.Weight, Scale: ramp}})
	one := b.one()
	slope := func(terms []Term) *G.Node { return b.backpropagate(b.total(terms), one, r.recon) }
	ofPixels, ofGenerator := slope(pixels), slope([]Term{{Node: generator[0].Node, Weight: 1}})
	atPixels, atGenerator := b.atLastConvolution(r.recon, ofPixels), b.atLastConvolution(r.recon, ofGenerator)
	if b.err != nil {
		return nil, b.err
	}
	ratio := kernels.GradientRatio{Len: atPixels.Shape().TotalSize()}
	var weight *G.Node
	switch a.Adaptive {
	case "taming":
		ratio.Eps, ratio.Max = 1e-4, 1e4
		weight = b.apply(ratio, []int{}, atPixels, atGenerator)
	case "reference":
		for _, t := range pixels {
			if t.Name == "perceptual" {
				above := slope([]Term{{Node: t.Node, Weight: 1}})
				ratio.Floor, ratio.Max = 1e-3, 1e3
				weight = b.apply(ratio, []int{}, b.atLastConvolution(r.recon, above), atGenerator)
			}
		}
	}
	var derived []Term
	if weight != nil {
		generator[0].Scale = b.apply(kernels.FrameGate{F: 1, P: 1, C: 1}, []int{}, ramp, weight)
		derived = append(derived, Term{Name: "adaptive_weight", Node: weight, Derived: true})
	}
	ratio.Eps, ratio.Floor, ratio.Max = 0, 1e-12, 1e6
	share := b.scale(b.apply(ratio, []int{}, atGenerator, atPixels), a.Weight)
	share = b.apply(kernels.FrameGate{F: 1, P: 1, C: 1}, []int{}, share, generator[0].Scale)
	derived = append(derived, Term{Name: "adversarial_share", Node: share, Derived: true})
	g, err := b.sum(append(append(append(pixels, generator...), derived...), latents...)...)
	if err != nil {
		return nil, err
	}
	n := ofGenerator.Shape().TotalSize()
	scaled := b.apply(kernels.FrameGate{F: 1, P: n, C: 1}, ofGenerator.Shape(), b.scale(ofGenerator, a.Weight), generator[0].Scale)
	g.from, g.seeds = G.Nodes{r.recon}, G.Nodes{b.add(ofPixels, scaled)}
	if aux := b.total(latents); aux != nil {
		g.from, g.seeds = append(g.from, aux), append(g.seeds, one)
	}
	return g, b.err
}

// atLastConvolution is the gradient of the weights of the last convolution, from that of
// the reconstruction; in networks whose last convolution has another name the latter.
func (b *builder) atLastConvolution(recon, d *G.Node) *G.Node {
	if i, ok := b.t.index["conv_out.conv.weight"]; ok && b.params[i] != nil {
		return b.backpropagate(recon, d, b.params[i])
	}
	return d
}
