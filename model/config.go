package model

import "strings"

// Config describes a tokenizer: the network, its quantizer and its losses; or, with
// classify.network, a Classifier.
type Config struct {
	Compat             string    `yaml:"compat"`               // lucidrains: the numbers of magvit2-pytorch, its known defects included; "": none
	ImageSize          int       `yaml:"image_size"`           // side of the square frames it is meant for, pixels; others work if they divide likewise
	Channels           int       `yaml:"channels"`             // of a frame: 1 or 3
	Patch              int       `yaml:"patch"`                // space to depth by this factor before the first convolution, and back after the last
	Background         float64   `yaml:"background"`           // the value that zero padding stands for: subtracted from the input, first bias of the output
	InitDim            int       `yaml:"init_dim"`             // channels after the first convolution
	MaxDim             int       `yaml:"max_dim"`              // upper bound of channels; 0: none
	DimCond            int       `yaml:"dim_cond"`             // values of a clip's condition, for the layers cond_*; 0: no condition
	CondExpansion      float64   `yaml:"cond_expansion"`       // the condition is widened so many times before the layers get it
	Layers             []Layer   `yaml:"layers"`               // of the encoder; the decoder has their mirror images in reverse order
	InputKernel        Kernel    `yaml:"input_kernel"`         // first convolution: time, height, width
	OutputKernel       Kernel    `yaml:"output_kernel"`        // last convolution
	PadMode            string    `yaml:"pad_mode"`             // around clips in these two: constant, replicate, reflect or circular; constant where the kernel is longer than the clip
	ResidualKernel     Kernel    `yaml:"residual_kernel"`      // residual units without a kernel of their own
	SqueezeExcite      string    `yaml:"squeeze_excite"`       // in residual units: none, open (gates start at 1/2) or closed (4.5e-5, as the reference)
	Attention          Heads     `yaml:"attention"`            // of attend_space and attend_time
	LinearAttention    Heads     `yaml:"linear_attention"`     // of linear_attend_space
	FirstFrame         bool      `yaml:"first_frame"`          // clips start with a frame of its own: T = 1 + F·k instead of F·k
	SeparateFirstFrame bool      `yaml:"separate_first_frame"` // with first_frame: that frame has a first and a last convolution of its own
	LatentNorm         string    `yaml:"latent_norm"`          // before the quantizer: layer or none
	Quantizer          Quantizer `yaml:"quantizer"`
	Loss               Loss      `yaml:"loss"`
	Classify           Classify  `yaml:"classify"`
}

// Heads is the size of attention.
type Heads struct {
	Heads int `yaml:"heads"` // that each attend on their own
	Dim   int `yaml:"dim"`   // channels of a head
}

// Quantizer turns latents into codes.
type Quantizer struct {
	Kind              string  `yaml:"kind"`                // fsq or lfq
	Levels            []int   `yaml:"levels,flow"`         // fsq: values of each dimension, 3 or more
	CodebookSize      int     `yaml:"codebook_size"`       // lfq: a power of two, up to 2^18
	Codebooks         int     `yaml:"codebooks"`           // codes of one position
	Spherical         bool    `yaml:"spherical"`           // lfq: latents of a code are scaled to norm 1, and so are the codes
	EntropyWeight     float64 `yaml:"entropy_weight"`      // lfq: weight of per-sample entropy - gamma · batch entropy
	EntropyBoost      float64 `yaml:"entropy_boost"`       // lfq: entropy_weight counts so many times at first, falling to once
	EntropyBoostSteps int     `yaml:"entropy_boost_steps"` // lfq: over so many steps; 0: no boost
	DiversityGamma    float64 `yaml:"diversity_gamma"`     // lfq
	CommitmentWeight  float64 `yaml:"commitment_weight"`   // lfq
	AuxWeight         float64 `yaml:"aux_weight"`          // lfq: of these terms together
	InvTemperature    float64 `yaml:"inv_temperature"`     // lfq: of the soft assignment behind the entropies
	SoftClamp         float64 `yaml:"soft_clamp"`          // lfq: latents through a·tanh(z/a) with this a; 0: as they are
}

// Loss is how far a reconstruction is from its clip. How much more the foreground
// counts is the data's affair: it comes as a weight of each pixel.
type Loss struct {
	Kind      string  `yaml:"kind"`      // mse or l1
	Overshoot float64 `yaml:"overshoot"` // share that an error beyond a saturated target (0 or 1) counts: decoders clamp
}

// Defaults is the configuration that a file's keys are laid over. For LFQ it keeps
// latents within ±1, where passing gradients straight through the sign errs
// little, and softens the assignment behind the entropies: with the reference's
// 10 and 100 (FromReference) the demo's network learns far more slowly.
func Defaults() Config {
	return Config{
		ImageSize: 64, Channels: 3, Patch: 1, InitDim: 64, CondExpansion: 4,
		InputKernel: Kernel{7, 7, 7}, OutputKernel: Kernel{3, 3, 3}, PadMode: "constant", ResidualKernel: Kernel{3, 3, 3},
		SqueezeExcite: "open", Attention: Heads{8, 32}, LinearAttention: Heads{16, 8}, LatentNorm: "layer",
		Quantizer: Quantizer{Kind: "fsq", Codebooks: 1, EntropyWeight: .01, EntropyBoost: 3, DiversityGamma: 2.5,
			AuxWeight: 1, InvTemperature: 2, SoftClamp: 1},
		Loss:     Loss{Kind: "mse", Overshoot: 1},
		Classify: Classify{Forecast: ForecastAuto, ForecastWeight: .5, HeadDim: 64, Eyes: 8, HeadLayers: 3, Alpha: 4, Beta: 4},
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

// conditional says whether a layer needs a condition.
func (c Config) conditional() bool {
	for _, l := range c.Layers {
		if strings.HasPrefix(l.Name, "cond_") {
			return true
		}
	}
	return false
}

// spaceFactor is how many pixels a side one code stands for.
func (c Config) spaceFactor() int { return c.Patch << c.count(CompressSpace) }

// timeFactor is how many frames one code stands for.
func (c Config) timeFactor() int { return 1 << c.count(CompressTime) }

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
