package model

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Values of Compat for the networks of published tokenizers.
const (
	OpenMagvit2 = "open-magvit2" // Luo et al. 2024: LFQ, group norms, adaptive group norms in the decoder
	VidTok      = "vidtok"       // Tang et al. 2024: causal FSQ, factorised residual blocks, one attention
	Cosmos      = "cosmos"       // NVIDIA 2024, Cosmos Tokenizer DV: FSQ, Haar wavelets, convolutions of space and of time in turn
)

// Published is the size of such a network. Channels of level i are init_dim·multipliers[i].
type Published struct {
	Multipliers []int  `yaml:"multipliers,flow,omitempty"` // open-magvit2, vidtok, cosmos: channels of each level, as multiples of init_dim
	Blocks      int    `yaml:"blocks,omitempty"`           // open-magvit2, vidtok, cosmos: residual blocks of a level
	Images      bool   `yaml:"images,omitempty"`           // open-magvit2: the network for images, without time
	Version     string `yaml:"version,omitempty"`          // vidtok: "1.0", or "1.1" with copies of the first frame for zeros and linear upsampling in time
	TimeDown    []int  `yaml:"time_down,flow,omitempty"`   // vidtok: levels after which the encoder halves time
	TimeUp      []int  `yaml:"time_up,flow,omitempty"`     // vidtok: levels after which the decoder doubles time
	Norm        string `yaml:"norm,omitempty"`             // vidtok: layer (over channels), or group (32 groups, of each frame); open-magvit2: group or "" (32 groups, of a clip), layer or none, with which a code depends on near positions alone
	TimeKernel  int    `yaml:"time_kernel,omitempty"`      // open-magvit2: frames of the convolutions that keep time, 1 or 3; 0: 3
	SpaceFactor int    `yaml:"space_factor,omitempty"`     // cosmos: pixels of a code, along height and width: patch times a power of two
	TimeFactor  int    `yaml:"time_factor,omitempty"`      // cosmos: frames of a code: patch times a power of two, which is no larger than that of space_factor
	Latents     int    `yaml:"latents,omitempty"`          // cosmos: channels after the encoder, which a convolution brings to those of the quantizer
}

// published reports whether the network is that of a published tokenizer.
func (c Config) published() bool {
	return c.Compat == OpenMagvit2 || c.Compat == VidTok || c.Compat == Cosmos
}

// publishedSpaceFactor and publishedTimeFactor are pixels and frames per code.
func (c Config) publishedSpaceFactor() int {
	if c.Compat == Cosmos {
		return c.Published.SpaceFactor
	}
	return c.Patch << (len(c.Published.Multipliers) - 1)
}

func (c Config) publishedTimeFactor() int {
	p := c.Published
	switch c.Compat {
	case VidTok:
		return 1 << len(p.TimeDown)
	case Cosmos:
		return p.TimeFactor
	}
	f := 1
	for i := range p.Multipliers[:len(p.Multipliers)-1] {
		f *= p.stride(i)
	}
	return f
}

// stride is Open-MAGVIT2's stride in time after level i: a level of the first width keeps time.
func (p Published) stride(level int) int {
	if p.Images || p.Multipliers[level] == 1 {
		return 1
	}
	return 2
}

// clipNorms reports whether Open-MAGVIT2's norms have the statistics of clips.
func (p Published) clipNorms() bool { return p.Norm == "" || p.Norm == "group" }

// width is the number of channels of a level; of level -1 that of the first convolution.
func (c Config) width(level int) int {
	if level < 0 {
		return c.InitDim
	}
	return c.InitDim * c.Published.Multipliers[level]
}

const publishedGroups = 32 // of group norms

// validatePublished checks the keys of published networks.
func (c Config) validatePublished() []error {
	p := c.Published
	if !c.published() {
		if len(p.Multipliers) > 0 || p.Blocks != 0 || p.Images || p.Version != "" || len(p.TimeDown)+len(p.TimeUp) > 0 || p.Norm != "" || p.TimeKernel != 0 || p.cosmosKeys() {
			return []error{fmt.Errorf("model.published: only with compat %s, %s or %s", OpenMagvit2, VidTok, Cosmos)}
		}
		return nil
	}
	errs := []error{
		between("published.multipliers: their number", len(p.Multipliers), 1, 8),
		between("published.blocks", p.Blocks, 1, 32),
	}
	for i, m := range p.Multipliers {
		errs = append(errs, between(fmt.Sprintf("published.multipliers[%d]", i), m, 1, 64))
	}
	for _, d := range []struct {
		key       string
		got, want any
	}{
		{"channels", c.Channels, 3}, {"patch_time", c.PatchTime, 1}, {"layers: their number", len(c.Layers), 0}, {"latent_norm", c.LatentNorm, "none"},
		{"quantizer.codebooks", c.Quantizer.Codebooks, 1}, {"first_frame", c.FirstFrame, !p.Images}, {"separate_first_frame", c.SeparateFirstFrame, false},
	} {
		if d.got != d.want {
			errs = append(errs, fmt.Errorf("model.%s: %v: want %v with compat %s", d.key, d.got, d.want, c.Compat))
		}
	}
	if c.Compat == Cosmos {
		return append(errs, c.validateCosmos()...)
	}
	if p.cosmosKeys() {
		errs = append(errs, fmt.Errorf("model.published: space_factor, time_factor and latents are keys of compat %s", Cosmos))
	}
	if c.Compat == OpenMagvit2 {
		errs = append(errs, oneOf("quantizer.kind", c.Quantizer.Kind, "lfq", "fsq"))
		if p.clipNorms() && c.InitDim%publishedGroups != 0 {
			errs = append(errs, fmt.Errorf("model.init_dim: %d: want a multiple of %d, the groups of a norm", c.InitDim, publishedGroups))
		}
		if p.Version != "" || len(p.TimeDown)+len(p.TimeUp) > 0 {
			errs = append(errs, fmt.Errorf("model.published: version, time_down and time_up are keys of compat %s", VidTok))
		}
		if p.Norm != "" {
			errs = append(errs, oneOf("published.norm", p.Norm, "layer", "group", "none"))
		}
		if p.TimeKernel != 0 && p.TimeKernel != 1 && p.TimeKernel != 3 || p.Images && p.TimeKernel != 0 {
			errs = append(errs, fmt.Errorf("model.published.time_kernel: %d: want 1 or 3, 0 for 3, and 0 with images", p.TimeKernel))
		}
		return errs
	}
	errs = append(errs, oneOf("quantizer.kind", c.Quantizer.Kind, "fsq"), oneOf("published.version", p.Version, "1.0", "1.1"), oneOf("published.norm", p.Norm, "layer", "group"))
	if p.TimeKernel != 0 {
		errs = append(errs, fmt.Errorf("model.published.time_kernel: %d: a key of compat %s", p.TimeKernel, OpenMagvit2))
	}
	if p.Images {
		errs = append(errs, fmt.Errorf("model.published.images: true: want false with compat %s", VidTok))
	}
	if p.Norm == "group" && c.InitDim%publishedGroups != 0 {
		errs = append(errs, fmt.Errorf("model.init_dim: %d: want a multiple of %d, the groups of a norm", c.InitDim, publishedGroups))
	}
	if len(p.TimeDown) != len(p.TimeUp) {
		errs = append(errs, fmt.Errorf("model.published.time_up: %v: want as many levels as time_down has, %d", p.TimeUp, len(p.TimeDown)))
	}
	for _, l := range []struct {
		key       string
		levels    []int
		low, high int
	}{{"time_down", p.TimeDown, 0, len(p.Multipliers) - 2}, {"time_up", p.TimeUp, 1, len(p.Multipliers) - 1}} {
		sorted := slices.Sorted(slices.Values(l.levels))
		if len(slices.Compact(sorted)) != len(l.levels) {
			errs = append(errs, fmt.Errorf("model.published.%s: %v: a level occurs twice", l.key, l.levels))
		}
		for _, v := range l.levels {
			errs = append(errs, between("published."+l.key, v, l.low, l.high))
		}
	}
	return errs
}

// publishedLoss is the reconstruction's part of the loss of a published network, of
// frames in [-1,1]: the mean error, of VidTok its sum over a frame under a learned scale.
// pixels is the mean error of frames in [0,1].
func (b *builder) publishedLoss(pixels *G.Node, s Shape) []Term {
	scale := 2.
	if b.t.Config.Loss.Kind == "mse" {
		scale = 4
	}
	if b.t.Config.Compat != VidTok {
		return []Term{{Name: "recon", Node: b.scale(pixels, scale), Weight: 1}}
	}
	values := s.H * s.W * b.t.Config.Channels
	recon := b.scale(pixels, scale*float64(values))
	return []Term{
		{Name: "recon", Node: recon, Derived: true},
		{Name: "nll", Node: b.apply(kernels.LearnedScale{K: float32(values)}, []int{}, recon, b.logScale()), Weight: 1},
	}
}

// logScale is the learned logarithm of VidTok's reconstruction scale.
func (b *builder) logScale() *G.Node {
	return b.paramAs("loss.logvar", initial{}, []int{1}, []int{})
}

// signed maps values in [0,1] to [-1,1], or with a background to twice the difference from
// it; unsigned maps them back.
func (b *builder) signed(x *G.Node) *G.Node   { return b.affine(x, 2, -2*b.t.Config.middle()) }
func (b *builder) unsigned(x *G.Node) *G.Node { return b.affine(x, .5, b.t.Config.middle()) }

// middle is the pixel value that is 0 inside of a published network.
func (c Config) middle() float32 {
	if c.Background != 0 {
		return float32(c.Background)
	}
	return .5
}

func (b *builder) affine(x *G.Node, mul, add float32) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.Affine{Len: x.Shape().TotalSize(), Mul: mul, Add: add}, x.Shape(), x)
}

func (b *builder) swish(x *G.Node) *G.Node { return b.act(kernels.SiLU, x) }

// groupNorm normalizes 32 groups of channels, of compat cosmos one, over a clip's frames and pixels, or over
// each frame's pixels, with gains and shifts [C] or, of each clip, [N,C].
func (b *builder) groupNorm(x, gamma, beta *G.Node, ofFrames, adaptive bool) *G.Node {
	n, t, h, w, c := b.dims(x)
	s := kernels.GroupNorm{N: n, Rows: t * h * w, C: c, Groups: publishedGroups, Eps: 1e-6, Adaptive: adaptive}
	if b.t.Config.Compat == Cosmos {
		s.Groups = 1
	}
	if ofFrames {
		s.N, s.Rows = n*t, h*w
	}
	return b.apply(s, []int{n, t, h, w, c}, x, gamma, beta)
}

// gains are the parameters of a norm over c channels.
func (b *builder) gains(name string, c int) (gamma, beta *G.Node) {
	return b.param(name+".weight", initial{mean: 1}, c), b.param(name+".bias", initial{}, c)
}

// oneHead is attention of one head, of whose Spec Over and Causal are given, before its last convolution. x is normalized.
// The three convolutions of queries, keys and values, name.q, name.k and name.v with a suffix, are one, whose weights are theirs.
func (b *builder) oneHead(name, suffix string, x *G.Node, a kernels.Attention) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	in := convInitial(c)
	join := func(kind string, size int, shape, reference []int) *G.Node {
		part := func(p string) *G.Node { return b.paramAs(name+"."+p+suffix+"."+kind, in, shape, reference) }
		two := b.apply(kernels.ConcatTime{N: 1, TA: 1, TB: 1, Inner: size}, []int{2, size}, part("q"), part("k"))
		return b.apply(kernels.ConcatTime{N: 1, TA: 2, TB: 1, Inner: size}, []int{3, size}, two, part("v"))
	}
	weights := join("weight", c*c, []int{c, 1, 1, 1, c}, timeAndSpace.reference(c, c, point))
	biases := join("bias", c, []int{c}, []int{c})
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: 3 * c, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	qkv := b.apply(s, []int{n, t, h, w, 3 * c}, x, weights, biases)
	a.N, a.T, a.P, a.Heads, a.Dim = n, t, h*w, 1, c
	return b.apply(a, []int{n, t, h, w, c}, qkv)
}

// concat joins two clips in time.
func (b *builder) concat(x, y *G.Node) *G.Node {
	n, tx, h, w, c := b.dims(x)
	_, ty, _, _, _ := b.dims(y)
	return b.apply(kernels.ConcatTime{N: n, TA: tx, TB: ty, Inner: h * w * c}, []int{n, tx + ty, h, w, c}, x, y)
}

// repeatFirst puts copies of the first frame in front.
func (b *builder) repeatFirst(x *G.Node, frames int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if frames == 0 {
		return x
	}
	return b.apply(kernels.Pad{N: n, T: t, H: h, W: w, C: c, PT: frames, Mode: kernels.Replicate}, []int{n, t + frames, h, w, c}, x)
}

// resampled makes an axis twice or half as long: 1 frames, 2 rows, 3 columns. With head the first positions are
// interpolated on their own.
func (b *builder) resampled(x *G.Node, axis int, kind kernels.Interpolation, head int) *G.Node {
	if b.err != nil {
		return nil
	}
	shape := x.Shape().Clone()
	s := kernels.Resample{N: shape[:axis].TotalSize(), T: shape[axis], Inner: shape[axis+1:].TotalSize(), Kind: kind, Head: head}
	shape[axis] = s.Out()
	return b.apply(s, shape, x)
}

// resampledFrames makes rows and columns twice or half as many.
func (b *builder) resampledFrames(x *G.Node, kind kernels.Interpolation) *G.Node {
	return b.resampled(b.resampled(x, 2, kind, 0), 3, kind, 0)
}

// publishedDefaults is Defaults with what all networks of published tokenizers have in common.
func publishedDefaults(compat string, width int, p Published) Config {
	c := Defaults()
	c.Compat, c.InitDim, c.Published = compat, width, p
	c.LatentNorm, c.FirstFrame, c.ImageSize = "none", !p.Images, 16*c.publishedSpaceFactor()
	c.Loss.Kind = "l1"
	q := &c.Quantizer
	q.InvTemperature, q.EntropyWeight, q.DiversityGamma, q.CommitmentWeight, q.EntropyBoost, q.SoftClamp = 100, .1, 1, .25, 1, 0
	return c
}

// OpenMagvit2Config is the configuration of an Open-MAGVIT2 tokenizer with codes of that
// many bits.
func OpenMagvit2Config(width, bits int, p Published) Config {
	c := publishedDefaults(OpenMagvit2, width, p)
	c.Quantizer.Kind, c.Quantizer.CodebookSize = "lfq", 1<<bits
	return c
}

// VidTokConfig is the configuration of a causal VidTok tokenizer with these levels.
// The weight of the entropies falls from 0.3 to 0.1 over the first 2,000 steps.
func VidTokConfig(width int, levels []int, p Published) Config {
	c := publishedDefaults(VidTok, width, p)
	c.Quantizer.Kind, c.Quantizer.Levels = "fsq", levels
	c.Quantizer.EntropyBoost, c.Quantizer.EntropyBoostSteps = 3, 2000
	return c
}

// CosmosConfig is the configuration of a Cosmos DV tokenizer with these levels, and Haar wavelets of patch pixels and frames.
func CosmosConfig(width, patch int, levels []int, p Published) Config {
	c := publishedDefaults(Cosmos, width, p)
	c.Patch, c.Quantizer.Kind, c.Quantizer.Levels = patch, "fsq", levels
	return c
}

// VidTokTime are VidTok's usual levels of time for that many levels.
func VidTokTime(levels int) (down, up []int) { return []int{levels - 3, levels - 2}, []int{1, 2} }
