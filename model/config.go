package model

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/kernels"
)

// Config describes a tokenizer: the network, its quantizer and its losses.
type Config struct {
	ImageSize      int       `yaml:"image_size"`      // side of the square frames it is meant for, pixels; others work if they divide likewise
	Channels       int       `yaml:"channels"`        // of a frame: 1 or 3
	Patch          int       `yaml:"patch"`           // space to depth by this factor before the first convolution, and back after the last
	Background     float64   `yaml:"background"`      // the value that zero padding stands for: subtracted from the input, first bias of the output
	InitDim        int       `yaml:"init_dim"`        // channels after the first convolution
	MaxDim         int       `yaml:"max_dim"`         // upper bound of channels; 0: none
	Layers         []Layer   `yaml:"layers"`          // of the encoder; the decoder has their mirror images in reverse order
	InputKernel    Kernel    `yaml:"input_kernel"`    // first convolution: time, height, width
	OutputKernel   Kernel    `yaml:"output_kernel"`   // last convolution
	ResidualKernel Kernel    `yaml:"residual_kernel"` // residual units without a kernel of their own
	SqueezeExcite  string    `yaml:"squeeze_excite"`  // in residual units: none, open (gates start at 1/2) or closed (4.5e-5, as the reference)
	FirstFrame     bool      `yaml:"first_frame"`     // clips start with a frame of its own: T = 1 + F·k instead of F·k
	LatentNorm     string    `yaml:"latent_norm"`     // before the quantizer: layer or none
	Quantizer      Quantizer `yaml:"quantizer"`
	Loss           Loss      `yaml:"loss"`
}

// Quantizer turns latents into codes.
type Quantizer struct {
	Kind             string  `yaml:"kind"`              // fsq or lfq
	Levels           []int   `yaml:"levels,flow"`       // fsq: values of each dimension, 3 or more
	CodebookSize     int     `yaml:"codebook_size"`     // lfq: a power of two, up to 2^18
	Codebooks        int     `yaml:"codebooks"`         // codes of one position
	EntropyWeight    float64 `yaml:"entropy_weight"`    // lfq: weight of per-sample entropy - gamma · batch entropy
	DiversityGamma   float64 `yaml:"diversity_gamma"`   // lfq
	CommitmentWeight float64 `yaml:"commitment_weight"` // lfq
	InvTemperature   float64 `yaml:"inv_temperature"`   // lfq: of the soft assignment behind the entropies
	SoftClamp        bool    `yaml:"soft_clamp"`        // lfq: latents through 10·tanh(z/10)
}

// Loss is how far a reconstruction is from its clip. How much more the foreground
// counts is the data's affair: it comes as a weight of each pixel.
type Loss struct {
	Kind      string  `yaml:"kind"`      // mse or l1
	Overshoot float64 `yaml:"overshoot"` // share that an error beyond a saturated target (0 or 1) counts: decoders clamp
}

// Layer is one entry of Config.Layers, in YAML a name, [name, number] or a mapping.
type Layer struct {
	Name   string `yaml:"name"`
	Dim    int    `yaml:"dim,omitempty"`         // compress_*: channels after it; 0: twice as many
	N      int    `yaml:"n,omitempty"`           // consecutive_residual: units in a row
	Kernel Kernel `yaml:"kernel,omitempty,flow"` // residual kinds: instead of residual_kernel
}

// Kernel is a convolution's size: time, height, width. In YAML, one number stands
// for three equal ones.
type Kernel [3]int

const (
	Residual            = "residual"
	ConsecutiveResidual = "consecutive_residual"
	CompressSpace       = "compress_space"
	CompressTime        = "compress_time"
)

var layerNames = []string{Residual, ConsecutiveResidual, CompressSpace, CompressTime}

// Defaults is the configuration that a file's keys are laid over.
func Defaults() Config {
	return Config{
		ImageSize: 64, Channels: 3, Patch: 1, InitDim: 64,
		InputKernel: Kernel{7, 7, 7}, OutputKernel: Kernel{3, 3, 3}, ResidualKernel: Kernel{3, 3, 3},
		SqueezeExcite: "open", LatentNorm: "layer",
		Quantizer: Quantizer{Kind: "fsq", Codebooks: 1, EntropyWeight: .1, DiversityGamma: 2.5, CommitmentWeight: .25, InvTemperature: 100, SoftClamp: true},
		Loss:      Loss{Kind: "mse", Overshoot: 1},
	}
}

func (k *Kernel) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		var v int
		if err := n.Decode(&v); err != nil {
			return err
		}
		*k = Kernel{v, v, v}
		return nil
	}
	var v []int
	if err := n.Decode(&v); err != nil {
		return err
	}
	if len(v) != 3 {
		return fmt.Errorf("line %d: a kernel of %d numbers; want one, or three: time, height, width", n.Line, len(v))
	}
	copy(k[:], v)
	return nil
}

func (k Kernel) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range k {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v)})
	}
	return n, nil
}

// IsZero reports whether the kernel is left to residual_kernel.
func (k Kernel) IsZero() bool { return k == Kernel{} }

func (l *Layer) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Decode(&l.Name)
	case yaml.SequenceNode:
		if len(n.Content) != 2 {
			return fmt.Errorf("line %d: a layer of %d entries; want [name, number]", n.Line, len(n.Content))
		}
		if err := n.Content[0].Decode(&l.Name); err != nil {
			return err
		}
		if l.Name == ConsecutiveResidual {
			return n.Content[1].Decode(&l.N)
		}
		return n.Content[1].Decode(&l.Dim)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		to := map[string]any{"name": &l.Name, "dim": &l.Dim, "n": &l.N, "kernel": &l.Kernel}[n.Content[i].Value]
		if to == nil {
			return fmt.Errorf("line %d: field %s not found in a layer; known: name, dim, n, kernel", n.Content[i].Line, n.Content[i].Value)
		}
		if err := n.Content[i+1].Decode(to); err != nil {
			return err
		}
	}
	return nil
}

func (l Layer) MarshalYAML() (any, error) {
	type plain Layer
	switch {
	case !l.Kernel.IsZero():
		return plain(l), nil
	case l.N != 0:
		return []any{l.Name, l.N}, nil
	case l.Dim != 0:
		return []any{l.Name, l.Dim}, nil
	}
	return l.Name, nil
}

// Validate says which key is wrong, its value and what would be legal.
func (c Config) Validate() error {
	between := func(key string, v, low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("model.%s: %d: want %d to %d", key, v, low, high)
		}
		return nil
	}
	oneOf := func(key, v string, legal ...string) error {
		if !slices.Contains(legal, v) {
			return fmt.Errorf("model.%s: %q: want %s", key, v, strings.Join(legal, ", "))
		}
		return nil
	}
	kernel := func(key string, k Kernel) error {
		if k[0] < 1 || k[1] < 1 || k[2] < 1 || k[0] > 15 || k[1] > 15 || k[2] > 15 || k[1]%2 == 0 || k[2]%2 == 0 {
			return fmt.Errorf("model.%s: %v: want 1 to 15, odd in height and width", key, k)
		}
		return nil
	}
	share := func(key string, v, low, high float64) error {
		if !(v >= low && v <= high) { // also not a number
			return fmt.Errorf("model.%s: %v: want %v to %v", key, v, low, high)
		}
		return nil
	}
	q := c.Quantizer
	errs := []error{
		between("image_size", c.ImageSize, 4, 4096),
		between("channels", c.Channels, 1, 4),
		between("patch", c.Patch, 1, 64),
		share("background", c.Background, 0, 1),
		between("init_dim", c.InitDim, 1, 4096),
		between("max_dim", c.MaxDim, 0, 8192),
		kernel("input_kernel", c.InputKernel), kernel("output_kernel", c.OutputKernel), kernel("residual_kernel", c.ResidualKernel),
		oneOf("squeeze_excite", c.SqueezeExcite, "none", "open", "closed"),
		oneOf("latent_norm", c.LatentNorm, "layer", "none"),
		oneOf("quantizer.kind", q.Kind, "fsq", "lfq"),
		between("quantizer.codebooks", q.Codebooks, 1, 16),
		oneOf("loss.kind", c.Loss.Kind, "mse", "l1"),
		share("loss.overshoot", c.Loss.Overshoot, 0, 1),
	}
	if len(c.Layers) > 64 {
		errs = append(errs, fmt.Errorf("model.layers: %d layers: want at most 64", len(c.Layers)))
	}
	for i, l := range c.Layers {
		key := fmt.Sprintf("layers[%d]", i)
		errs = append(errs, oneOf(key, l.Name, layerNames...))
		compress := l.Name == CompressSpace || l.Name == CompressTime
		switch {
		case l.Dim != 0 && !compress:
			errs = append(errs, fmt.Errorf("model.%s: %s has no dim; only compress_space and compress_time change the number of channels", key, l.Name))
		case !l.Kernel.IsZero() && compress:
			errs = append(errs, fmt.Errorf("model.%s: %s has no kernel of its own", key, l.Name))
		case l.N != 0 && l.Name != ConsecutiveResidual:
			errs = append(errs, fmt.Errorf("model.%s: %s has no n; use [consecutive_residual, %d]", key, l.Name, l.N))
		}
		errs = append(errs, between(key+".dim", l.Dim, 0, 8192), between(key+".n", l.N, 0, 32))
		if !l.Kernel.IsZero() {
			errs = append(errs, kernel(key+".kernel", l.Kernel))
		}
	}
	switch q.Kind {
	case "fsq":
		if q.CodebookSize != 0 {
			errs = append(errs, fmt.Errorf("model.quantizer.codebook_size: %d: fsq has levels instead", q.CodebookSize))
		}
		errs = append(errs, between("quantizer.levels: their number", len(q.Levels), 1, 8))
		size := 1
		for i, l := range q.Levels {
			errs = append(errs, between(fmt.Sprintf("quantizer.levels[%d]", i), l, 3, 1024))
			if size *= max(l, 1); size > kernels.MaxCodes {
				errs = append(errs, fmt.Errorf("model.quantizer.levels: %v: more than %d codes", q.Levels, kernels.MaxCodes))
				break
			}
		}
	case "lfq":
		if len(q.Levels) != 0 {
			errs = append(errs, fmt.Errorf("model.quantizer.levels: %v: lfq has a codebook_size instead", q.Levels))
		}
		if q.CodebookSize < 2 || q.CodebookSize > 1<<18 || q.CodebookSize&(q.CodebookSize-1) != 0 {
			errs = append(errs, fmt.Errorf("model.quantizer.codebook_size: %d: want a power of two, 2 to %d", q.CodebookSize, 1<<18))
		}
		errs = append(errs, share("quantizer.entropy_weight", q.EntropyWeight, 0, 100), share("quantizer.diversity_gamma", q.DiversityGamma, 0, 100),
			share("quantizer.commitment_weight", q.CommitmentWeight, 0, 100), share("quantizer.inv_temperature", q.InvTemperature, math.SmallestNonzeroFloat32, 1e4))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if f := c.spaceFactor(); c.ImageSize%f != 0 {
		return fmt.Errorf("model.image_size: %d: patch %d and %d compress_space need a multiple of %d", c.ImageSize, c.Patch, c.count(CompressSpace), f)
	}
	return nil
}

func (c Config) count(name string) (n int) {
	for _, l := range c.Layers {
		if l.Name == name {
			n++
		}
	}
	return n
}

// spaceFactor is how many pixels a side one code stands for.
func (c Config) spaceFactor() int { return c.Patch << c.count(CompressSpace) }

// timeFactor is how many frames one code stands for.
func (c Config) timeFactor() int { return 1 << c.count(CompressTime) }
