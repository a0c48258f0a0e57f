// Package model turns a configuration into a gorgonia graph.
//
// The network, for frames of H×W pixels, patch p, patch_time q, S layers compress_space and
// Q layers compress_time, F = q·2^Q (all shapes channels-last):
//
//	video    [N, T, H, W, channels]             values in [0,1]
//	  minus background; with first_frame F-1 background frames in front
//	  space and time to depth p, q              [N, T/q, H/p, W/p, channels·p²·q]
//	  with patch_transform: scaled cosine coefficients of the same number; lapped: of
//	  values that were filtered across the borders of patches
//	  conv_in                                   [N, T/q, H/p, W/p, init_dim]
//	  encoder_layers                            most keep the shape;
//	     compress_space: conv 1×3×3, stride 2   [.., H/2, W/2, dim]
//	     compress_time:  conv 3×1×1, stride 2   [N, T/2, .., dim]
//	  layer norm over channels
//	  quantizers.project_in                     [N, T/F, H/(p·2^S), W/(p·2^S), dims]
//	  LFQ or FSQ  ── codes                      [N, T/F, H/(p·2^S), W/(p·2^S), codebooks]
//	  quantizers.project_out
//	  decoder_layers, the mirror images in reverse order
//	     of compress_*: conv 1×1×1, SiLU, depth to space or time
//	  conv_out, inverse of the transform, depth to space and time
//	                                            [N, T, H, W, channels]
//
// Everything is causal in time, but for patch_transform lapped and the option antialias of compress_time. No
// layer depends on absolute positions: a tokenizer is valid for clips and frames of any size.
//
// The network is that of magvit2-pytorch, which compat: lucidrains reproduces to
// float32 accuracy. Without it, on purpose:
//
//   - the layer norm before the quantizer, which the reference declares but never runs, is run;
//   - squeeze-excite's gates start at 1/2, not closed at 4.5e-5 (squeeze_excite);
//   - the bias of squeeze-excite's to_k, which a softmax cancels, is left out;
//   - compress_time pads kernel - stride = 1 frame in front, not 2: a code depends on exactly the frames that it reconstructs;
//   - the entropies of LFQ have no floor of 1e-5 inside the logarithm;
//   - cond_attend_*, which the reference cannot run, have norms whose gains come from the condition;
//   - with separate_first_frame a clip of one frame uses the first frame's convolutions alone; the reference fails.
//
// As in the reference, pad_mode does not apply to residual units, and becomes zero
// padding where a kernel needs as many frames as the clip has, or more.
//
// Parameters have that package's names and initial distributions: uniform within 1/√fan-in, upsampling convolutions within √(6/fan-in) with
// equal sub-pixels and zero bias, gains 1, memory of attention normal.
// With initial_weights: codec or codec-fitted the network begins as a transform codec instead, see codecInit.
package model

import (
	"fmt"
	"math"

	"magvit/kernels/philox"
)

// Param is a parameter of a network, or a buffer: state that no gradient changes but an
// Update at the end of each step. Checkpoints hold both.
type Param struct {
	Name          string  // that of the reference
	Shape         []int   // convolutions: [O,KT,KH,KW,C]
	Reference     []int   // the reference's shape; convolutions: [O,C], and of the kernel what the reference has
	Decay         bool    // weight decay applies: the reference's shape has two or more axes
	Buffer        bool    // a buffer
	Frozen        bool    // it has no gradient and no weight decay, see Freeze
	Discriminator bool    // of the discriminator, which has a loss of its own
	init          initial // distribution of its initial values
}

// initial draws uniform values within bound around mean, or normal ones with
// deviation std; repeat consecutive rows (first-axis entries) are equal.
type initial struct {
	mean, bound, std float64
	repeat           int                 // 0: 1
	values           func(dst []float32) // changes values that start at mean; nil: nothing
}

// Len is the number of values.
func (p Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Tokenizer lists the parameters of a configuration and makes graphs for batches of any
// valid shape.
type Tokenizer struct {
	Config Config
	Params []Param // in the order of the network

	// Perceptual is the network of model.loss.perceptual, which graphs of a training step need. Its weights are no
	// parameters: no checkpoint holds them.
	Perceptual FrozenNet

	// Amplitudes are the roots of the mean squares of the channels of Patches in the training clips, which initial values
	// of initial_weights codec-fitted depend on; nil: those of natural film.
	Amplitudes []float64

	index  map[string]int
	update []Update
	pieces Pieces
}

// New checks the configuration and lists the parameters.
func New(c Config) (*Tokenizer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Classifies() {
		return nil, fmt.Errorf("model.classify.network: %s: a classifier, not a tokenizer: it makes no codes", c.Classify.Network)
	}
	if c.IsPrior() {
		return nil, fmt.Errorf("model.prior.kind: %s: a prior over codes, not a tokenizer", c.Prior.Kind)
	}
	t := &Tokenizer{Config: c, index: map[string]int{}}
	s := t.SmallestBatch()
	b := newBuilder(t, s)
	b.declare = true
	b.condition()
	b.decode(b.quantize(b.encode(b.input("video", s.N, s.T, s.H, s.W, c.Channels))).values)
	if c.Compat == VidTok {
		b.logScale()
	}
	if c.HasDiscriminator() {
		b.discriminating = true
		size := c.DiscriminatorSize()
		b.discriminate(b.input("frames", 1, 1, size, size, c.Channels), 1)
		if c.Loss.Adversarial.LeCam > 0 {
			b.lecamAverages()
		}
	}
	return t, b.err
}

// SmallestBatch is the shape of a small clip whose graphs have all parameters: it has more
// than a first frame, and pixels enough for any pad_mode.
func (t *Tokenizer) SmallestBatch() Shape {
	const kernels = 15
	c := t.Config
	f := c.spaceFactor()
	side := (kernels*c.Patch + f - 1) / f * f
	if c.published() {
		side = 2 * f
	}
	return Shape{N: 1, T: t.Padded(2), H: side, W: side}
}

// Init draws the initial values of parameter i into dst.
func (t *Tokenizer) Init(seed uint64, i int, dst []float32) {
	p := t.Params[i]
	r := philox.New(seed, "init "+p.Name, 0, 0)
	row := p.Len() / p.Shape[0]
	for o := 0; o < p.Shape[0]; o++ {
		for k := range row {
			if o%max(p.init.repeat, 1) != 0 {
				dst[o*row+k] = dst[(o-1)*row+k]
				continue
			}
			v := p.init.mean
			if p.init.bound > 0 {
				v += r.Uniform(-p.init.bound, p.init.bound)
			}
			if p.init.std > 0 {
				v += p.init.std * r.Normal()
			}
			dst[o*row+k] = float32(v)
		}
	}
	if p.init.values != nil {
		p.init.values(dst)
	}
}

// Declared is Params, as Network has it.
func (t *Tokenizer) Declared() []Param { return t.Params }

// Updates are those of the buffers.
func (t *Tokenizer) Updates() []Update { return t.update }

// Shape is the shape of a batch: clips, frames, pixels.
type Shape struct{ N, T, H, W int }

// Padded is the smallest valid clip length of at least frames.
func (t *Tokenizer) Padded(frames int) int {
	f := t.Config.timeFactor()
	if t.Config.FirstFrame {
		return 1 + (max(frames, 1)-1+f-1)/f*f
	}
	return (max(frames, 1) + f - 1) / f * f
}

// nearest is the multiple of f above 0 that is nearest to n.
func nearest(n, f int) int { return max((n+f/2)/f, 1) * f }

// Check reports whether a batch shape is valid, and what would be.
func (t *Tokenizer) Check(s Shape) error {
	f := t.Config.spaceFactor()
	switch {
	case s.N < 1 || s.T < 1 || s.H < 1 || s.W < 1:
		return fmt.Errorf("model: a batch of %d clips of %d frames of %d×%d pixels: want at least one of each", s.N, s.T, s.H, s.W)
	case t.Padded(s.T) != s.T:
		return fmt.Errorf("model: %d frames: this tokenizer takes %d or %d (a multiple of %d%s)", s.T, t.Padded(s.T)-t.Config.timeFactor(), t.Padded(s.T),
			t.Config.timeFactor(), map[bool]string{true: ", and one more"}[t.Config.FirstFrame])
	case s.H%f != 0 || s.W%f != 0:
		return fmt.Errorf("model: frames of %d×%d pixels (height × width): this tokenizer takes multiples of %d, such as %d×%d", s.H, s.W, f, nearest(s.H, f), nearest(s.W, f))
	case t.Config.Compat == OpenMagvit2 && t.Config.Published.clipNorms() && t.CodeShape(s)[1]*t.CodeShape(s)[2]*t.CodeShape(s)[3] == 1:
		return fmt.Errorf("model: clips of %d frames of %d×%d pixels have a single code, whose statistics are not defined: want frames of at least %d×%d, or more frames", s.T, s.H, s.W, 2*f, f)
	case float64(s.N)*float64(s.T)*float64(s.H)*float64(s.W)*float64(t.Config.Channels) > math.MaxInt32:
		return fmt.Errorf("model: a batch of %d clips of %d frames of %d×%d pixels has more than 2^31 values; use a smaller batch", s.N, s.T, s.H, s.W)
	}
	return nil
}

// CodeShape is the shape of the codes of a batch: N, T', H', W', codebooks.
func (t *Tokenizer) CodeShape(s Shape) [5]int {
	f, q := t.Config.timeFactor(), t.Config.spaceFactor()
	return [5]int{s.N, (s.T + f - 1) / f, s.H / q, s.W / q, t.Config.Quantizer.Codebooks}
}

// BatchShape is the shape of the clips that codes [N,T',H',W',codebooks] decode to.
func (t *Tokenizer) BatchShape(codes [5]int) Shape {
	f, q := t.Config.timeFactor(), t.Config.spaceFactor()
	frames := codes[1] * f
	if t.Config.FirstFrame {
		frames -= f - 1
	}
	return Shape{codes[0], frames, codes[2] * q, codes[3] * q}
}

// CodebookSize is the number of codes of one codebook.
func (t *Tokenizer) CodebookSize() int {
	n := 1
	for _, l := range t.CodebookLevels() {
		n *= l
	}
	return n
}

// CodebookLevels is the number of values of each digit of a code, the first one varying
// fastest: FSQ's levels, or 2 for each bit.
func (t *Tokenizer) CodebookLevels() []int {
	q, err := t.Config.Quantizer.of()
	if err != nil {
		return nil // New refuses such a configuration
	}
	return q.levels()
}

// LatentDims is the number of latent values of a position, those of all codebooks.
func (t *Tokenizer) LatentDims() int {
	q, err := t.Config.Quantizer.of()
	if err != nil {
		return 0 // New refuses such a configuration
	}
	return q.dims()
}

// FirstChannelLowest reports whether the first of a code's latent channels is its lowest
// digit, as with FSQ and with the LFQ of open-magvit2; otherwise LFQ's and BSQ's first
// channel is the highest bit.
func (t *Tokenizer) FirstChannelLowest() bool {
	kind := t.Config.Quantizer.Kind
	return kind != "lfq" && kind != "bsq" || t.Config.Compat == OpenMagvit2
}

// Codebook is the index of the buffer of a learned codebook, of shape [codebooks,codebook
// size,dim]; ok is false for quantizers without one.
func (t *Tokenizer) Codebook() (index int, ok bool) {
	index, ok = t.index[codebookBuffer]
	return index, ok
}

// NumParams is the number of trained values, without those of the discriminator.
func (t *Tokenizer) NumParams() (n int) {
	for _, p := range t.Params {
		if !p.Buffer && !p.Discriminator {
			n += p.Len()
		}
	}
	return n
}

// DiscriminatorParams is the number of the discriminator's trained values.
func (t *Tokenizer) DiscriminatorParams() (n int) {
	for _, p := range t.Params {
		if p.Discriminator && !p.Buffer {
			n += p.Len()
		}
	}
	return n
}
