package model

import "strings"

// Config describes a tokenizer: network, quantizer and loss; or, with
// classify.network, a Classifier; or, with prior.kind, a Transformer over codes.
type Config struct {
	Compat             string        `yaml:"compat"`               // lucidrains: the numbers of magvit2-pytorch, with its known defects; open-magvit2, vidtok, cosmos: the networks of these tokenizers, of the size in published; "": none
	ImageSize          int           `yaml:"image_size"`           // side of the square training frames, pixels; other sizes work if they are multiples of the same factor
	Channels           int           `yaml:"channels"`             // channels of a frame: 1 or 3
	Patch              int           `yaml:"patch"`                // space-to-depth factor before the first convolution, undone after the last
	PatchTime          int           `yaml:"patch_time"`           // the same of frames: their number in a patch
	PatchTransform     string        `yaml:"patch_transform"`      // of a patch's values: cosine, coefficients scaled to about the same size, which natural film learns faster in; lapped, the same of patches that overlap by half, without seams between them: a code sees patch_time/2 later frames; or none
	Background         float64       `yaml:"background"`           // pixel value that zero padding represents: subtracted from the input, initial bias of the output
	InitDim            int           `yaml:"init_dim"`             // channels after the first convolution
	MaxDim             int           `yaml:"max_dim"`              // upper bound on channels; 0: none
	DimCond            int           `yaml:"dim_cond"`             // size of a clip's condition vector, for the layers cond_*; 0: no condition
	CondExpansion      float64       `yaml:"cond_expansion"`       // widening factor of the MLP that maps the condition before the layers cond_*
	Layers             []Layer       `yaml:"layers"`               // layers of the encoder; the decoder has their mirror images in reverse order
	InputKernel        Kernel        `yaml:"input_kernel"`         // kernel of the first convolution: time, height, width
	OutputKernel       Kernel        `yaml:"output_kernel"`        // kernel of the last convolution
	PadMode            string        `yaml:"pad_mode"`             // padding of these two: constant, replicate, reflect or circular; constant where the kernel is longer than the clip
	ResidualKernel     Kernel        `yaml:"residual_kernel"`      // kernel of residual units that set none
	InitialWeights     string        `yaml:"initial_weights"`      // random; inflated: an open-magvit2 network for clips begins as one for images; codec: the network begins as a transform codec, which keeps the largest cosine coefficients of a patch in natural film; codec-fitted: in the training clips
	SqueezeExcite      string        `yaml:"squeeze_excite"`       // squeeze-excitation in residual units: none, open (gates start at 1/2) or closed (gates start at 4.5e-5, as in the reference)
	Attention          Heads         `yaml:"attention"`            // size of attend_space and attend_time
	LinearAttention    Heads         `yaml:"linear_attention"`     // size of linear_attend_space
	FirstFrame         bool          `yaml:"first_frame"`          // the first frame has a code of its own: clips have T = 1 + F·k frames instead of F·k
	SeparateFirstFrame bool          `yaml:"separate_first_frame"` // with first_frame: that frame has its own first and last convolution
	LatentNorm         string        `yaml:"latent_norm"`          // normalization before the quantizer: layer or none
	Quantizer          Quantizer     `yaml:"quantizer"`
	Loss               Loss          `yaml:"loss"`
	Discriminator      Discriminator `yaml:"discriminator"`
	Classify           Classify      `yaml:"classify"`
	Prior              Prior         `yaml:"prior"`
	Published          Published     `yaml:"published,omitempty"`
}

// Heads is the size of attention.
type Heads struct {
	Heads int `yaml:"heads"` // number of attention heads
	Dim   int `yaml:"dim"`   // channels per head
}

// Quantizer turns latents into codes.
type Quantizer struct {
	Kind              string  `yaml:"kind"`                // fsq: finite scalar; lfq: lookup-free; vq: learned codebook; bsq: binary spherical
	Levels            []int   `yaml:"levels,flow"`         // fsq: number of levels of each dimension, 3 or more
	CodebookSize      int     `yaml:"codebook_size"`       // number of codes; lfq: a power of two up to 2^18; vq: up to 2^24; bsq: a power of two up to 2^24
	Codebooks         int     `yaml:"codebooks"`           // codes per position
	Spherical         bool    `yaml:"spherical"`           // lfq, vq: latents and codes are projected to the unit sphere
	EntropyWeight     float64 `yaml:"entropy_weight"`      // lfq, bsq, fsq of compat vidtok: weight of sample entropy - diversity_gamma · codebook entropy
	EntropyBoost      float64 `yaml:"entropy_boost"`       // lfq: initial multiplier of entropy_weight, decays linearly to 1
	EntropyBoostSteps int     `yaml:"entropy_boost_steps"` // lfq: steps of that decay; 0: no boost
	DiversityGamma    float64 `yaml:"diversity_gamma"`     // lfq, bsq: factor of the codebook entropy, which is maximized
	CommitmentWeight  float64 `yaml:"commitment_weight"`   // lfq, vq, bsq: weight of the commitment loss
	AuxWeight         float64 `yaml:"aux_weight"`          // lfq, vq, bsq: factor of all these weights
	InvTemperature    float64 `yaml:"inv_temperature"`     // lfq, bsq: inverse temperature of the soft assignment that the entropies are of
	CodeDim           int     `yaml:"code_dim"`            // vq: values of a code
	Decay             float64 `yaml:"decay"`               // vq: decay per step of the averages that make the codebook
	DeadThreshold     float64 `yaml:"dead_threshold"`      // vq: a code is replaced if its share of the codes is below this part of an equal share; 0: never
	SoftClamp         float64 `yaml:"soft_clamp"`          // lfq: a of the soft clamp a·tanh(z/a) of latents; 0: no clamp
}

// Loss is the reconstruction loss. A weight for each pixel comes with the data.
type Loss struct {
	Kind      string  `yaml:"kind"`      // mse or l1
	Overshoot float64 `yaml:"overshoot"` // weight, in [0,1], of errors beyond a saturated target (0 or 1), which clamping removes

	GradientWeight float64 `yaml:"gradient_weight"` // weight of the error of image gradients (differences of neighbouring pixels), mean over scales; 0: none
	GradientScales int     `yaml:"gradient_scales"` // scales of that error, each with half the rows and columns of the one before
	SSIMWeight     float64 `yaml:"ssim_weight"`     // weight of 1 - SSIM of frames; 0: none

	Adversarial Adversarial `yaml:"adversarial"`
	Perceptual  Perceptual  `yaml:"perceptual"`
}

// Perceptual is a term of the loss by a network that is not trained.
type Perceptual struct {
	Kind    string  `yaml:"kind"`    // none; lpips: LPIPS of frames, by VGG16; vgg16: squared error of the 4,096 features of VGG16's classifier, as in magvit2-pytorch; or resnet50: squared error of ResNet-50's logits, as in MAGVIT
	Weight  float64 `yaml:"weight"`  // weight of the term
	Weights string  `yaml:"weights"` // files of that network's weights, separated by commas (see magvit doctor); a resumed run needs the same weights
	Frames  int     `yaml:"frames"`  // random frames of each clip in each step; 0: all
}

// Defaults is the configuration that a file's keys override. LFQ's latents are clamped
// to ±1, where the straight-through gradient of the sign is a good approximation, and
// its soft assignment has a high temperature: with the reference's 10 and 100
// (FromReference) the demo's network learns far more slowly.
func Defaults() Config {
	return Config{
		ImageSize: 64, Channels: 3, Patch: 1, PatchTime: 1, PatchTransform: "none", InitialWeights: "random", InitDim: 64, CondExpansion: 4,
		InputKernel: Kernel{7, 7, 7}, OutputKernel: Kernel{3, 3, 3}, PadMode: "constant", ResidualKernel: Kernel{3, 3, 3},
		SqueezeExcite: "open", Attention: Heads{8, 32}, LinearAttention: Heads{16, 8}, LatentNorm: "layer",
		Quantizer: Quantizer{Kind: "fsq", Codebooks: 1, EntropyWeight: .01, EntropyBoost: 3, DiversityGamma: 2.5,
			AuxWeight: 1, InvTemperature: 2, SoftClamp: 1, CodeDim: 8, Decay: .99, DeadThreshold: .1},
		Loss: Loss{Kind: "mse", Overshoot: 1, GradientScales: 3, Perceptual: Perceptual{Kind: "none", Weight: 1, Frames: 1},
			Adversarial: Adversarial{Kind: "hinge", Weight: .1, Adaptive: "taming", Frames: 1, Penalty: "both", PenaltyWeight: 10, PenaltyEvery: 4, LeCamDecay: .999}},
		Discriminator: Discriminator{Scales: 1, MaxDim: 512, LinearAttention: Heads{16, 8}, FeedForward: 4},
		Classify:      Classify{Forecast: ForecastAuto, ForecastWeight: .5, ForecastLoss: "mse", HeadDim: 64, PoolHeads: 8, HeadLayers: 3, Alpha: 4, Beta: 4, Path: Path{Mirror: true, Weight: 10}, Input: InputPixels},
		Prior:         Prior{Width: 128, Blocks: 4, Heads: 4, ClassDropout: .1, GivenFrames: .25, LabelSmoothing: .1},
	}
}

// Lucidrains is Compat of a tokenizer with the numbers of magvit2-pytorch.
const Lucidrains = "lucidrains"

func (c Config) lucidrains() bool { return c.Compat == Lucidrains }

func (c Config) count(name string) (n int) {
	for _, l := range c.Layers {
		if l.Name == name {
			n++
		}
	}
	return n
}

// conditional reports whether a layer needs a condition.
func (c Config) conditional() bool {
	for _, l := range c.Layers {
		if strings.HasPrefix(l.Name, "cond_") {
			return true
		}
	}
	return false
}

// spaceFactor is the number of pixels per code, along height and width.
func (c Config) spaceFactor() int {
	if c.published() {
		return c.publishedSpaceFactor()
	}
	return c.Patch << c.count(CompressSpace)
}

// transforms reports whether patches are transformed.
func (c Config) transforms() bool {
	return (c.PatchTransform == cosines || c.PatchTransform == lapped) && (c.Patch > 1 || c.PatchTime > 1)
}

// laps reports whether patches overlap.
func (c Config) laps() bool { return c.PatchTransform == lapped && c.transforms() }

// patchChannels is the number of values of a patch.
func (c Config) patchChannels() int { return c.Channels * c.Patch * c.Patch * c.PatchTime }

// timeFactor is the number of frames per code.
func (c Config) timeFactor() int {
	if c.published() {
		return c.publishedTimeFactor()
	}
	return max(c.PatchTime, 1) << c.count(CompressTime)
}

// dimsAfter is the number of channels after each layer of the encoder.
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
