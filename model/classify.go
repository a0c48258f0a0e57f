package model

import (
	"errors"
	"fmt"
	"math"
)

// Classify turns a Config into that of a Classifier: a network on pixels, as a baseline
// for classifiers on codes. It uses the encoder's keys: patch, background, init_dim,
// layers, kernels and latent_norm.
type Classify struct {
	Network        string  `yaml:"network"`         // i3d or slowfast: a classifier instead of a tokenizer; "": a tokenizer
	Classes        int     `yaml:"classes"`         // number of classes; 0: that of the clips
	Forecast       string  `yaml:"forecast"`        // positions to forecast: image (points_2d), space (trajectory_3d), none, or auto: space, else image, else none, by what the clips have
	Horizon        int     `yaml:"horizon"`         // frames at the end of a clip whose positions are forecast from the frames before; 0: a quarter of the clip
	Unit           float64 `yaml:"unit"`            // scale of forecast targets, in pixels or units of trajectory_3d; 0: standard deviation of the training clips' positions
	ForecastWeight float64 `yaml:"forecast_weight"` // weight of the forecast's error; that of the cross-entropy is 1
	ForecastLoss   string  `yaml:"forecast_loss"`   // mse: mean squared error, or l1: mean absolute error, which large errors weigh less in
	HeadDim        int     `yaml:"head_dim"`        // channels of a frame's features
	PoolHeads      int     `yaml:"pool_heads"`      // attention heads that pool a frame
	HeadLayers     int     `yaml:"head_layers"`     // residual units over time, with dilation 1, 2, 4, ...
	Alpha          int     `yaml:"alpha"`           // slowfast: temporal stride of the slow path
	Beta           int     `yaml:"beta"`            // slowfast: ratio of the channels of the slow path to those of the fast path
	Path           Path    `yaml:"path"`            // heads on the path of the moving object
	Input          string  `yaml:"input"`           // what the network gets: pixels, codes (of train.tokenizer), or fused: a network on each, whose logits and forecasts are added

	Codes CodeGrid `yaml:"codes"` // codes that the network gets, by the tokenizer
}

// What a Classifier forecasts.
const (
	ForecastImage = "image" // position in the image, two numbers a frame
	ForecastSpace = "space" // position in space, three numbers a frame
	ForecastNone  = "none"
	ForecastAuto  = "auto" // not decided yet
)

// Classifies reports whether the configuration is that of a Classifier.
func (c Config) Classifies() bool { return c.Classify.Network != "" }

// ForClips fills the keys that default to a property of the clips: number of classes
// (0: no labels), number of frames, and the positions that can be forecast.
func (c Config) ForClips(classes, frames int, forecast string) Config {
	k := &c.Classify
	if k.Classes == 0 {
		k.Classes = classes
	}
	if k.Forecast == ForecastAuto {
		k.Forecast = forecast
	}
	if k.Horizon == 0 {
		k.Horizon = max(frames/4, 1)
	}
	return c
}

// positionDims is the number of coordinates of a forecast position.
func (k Classify) positionDims() int {
	return map[string]int{ForecastImage: 2, ForecastSpace: 3}[k.Forecast]
}

// validateClassify checks the keys of a Classifier.
func (c Config) validateClassify() error {
	k := c.Classify
	if !c.Classifies() {
		return nil
	}
	errs := []error{
		between("classify.classes", k.Classes, 0, 1<<16), between("classify.horizon", k.Horizon, 0, 1<<16),
		between("classify.head_dim", k.HeadDim, 1, 4096), between("classify.pool_heads", k.PoolHeads, 1, 64),
		between("classify.head_layers", k.HeadLayers, 0, 8), between("classify.alpha", k.Alpha, 1, 64), between("classify.beta", k.Beta, 1, 64),
		inRange("classify.unit", k.Unit, 0, 1e9), inRange("classify.forecast_weight", k.ForecastWeight, 0, 1e6),
	}
	errs = append(errs, k.Path.validate()...)
	errs = append(errs, k.validateCodes()...)
	for _, d := range []struct {
		key string
		bad bool
		why string
	}{
		{"compat", c.Compat != "", "that is a tokenizer's"},
		{"dim_cond", c.DimCond != 0, "a classifier has no condition"},
		{"first_frame", c.FirstFrame, "a classifier has no first frame of its own"},
		{"quantizer.levels", len(c.Quantizer.Levels) > 0, "a classifier has no quantizer"},
		{"quantizer.codebook_size", c.Quantizer.CodebookSize != 0, "a classifier has no quantizer"},
	} {
		if d.bad {
			errs = append(errs, fmt.Errorf("model.%s: set with model.classify.network %s: %s", d.key, k.Network, d.why))
		}
	}
	for i, l := range c.Layers {
		if l.Name == CompressTime && l.Antialias {
			errs = append(errs, fmt.Errorf("model.layers[%d].antialias: true: features would depend on the frames to be forecast", i))
		}
		if l.Name == CompressTime && k.Network == "slowfast" {
			errs = append(errs, fmt.Errorf("model.layers[%d]: compress_time: the paths of slowfast keep their frame rates; alpha is their ratio", i))
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Network is a trainable network: a Tokenizer, a Classifier or a Transformer.
type Network interface {
	Declared() []Param // the parameters in the order of the network
	NumParams() int    // the number of their values
	// Init draws the initial values of parameter i into dst.
	Init(seed uint64, i int, dst []float32)
	// Padded is the smallest valid clip length of at least frames.
	Padded(frames int) int
	// Updates are the changes of the buffers at the end of a step.
	Updates() []Update
	// Check reports whether a batch shape is valid, and what would be.
	Check(Shape) error
	// Training is the graph of a training step.
	Training(Shape) (*Graph, error)
	// TrainingPart is the graph of one of several batches of a step: an input of each
	// term, named by ScaleInput, multiplies it, so that batches of different counts
	// add up to the mean over all of them.
	TrainingPart(Shape) (*Graph, error)
}

var _ = []Network{&Tokenizer{}, &Classifier{}, &Transformer{}}

// Build is the network of a configuration: New, NewClassifier or NewTransformer.
func Build(c Config) (Network, error) {
	if c.IsPrior() {
		return NewTransformer(c)
	}
	if c.Classifies() {
		return NewClassifier(c)
	}
	return New(c)
}

// Classifier predicts the class of a clip and forecasts positions of its moving object.
// It is a tokenizer's encoder with heads:
//
//	video                     [N, T, H, W, channels]
//	  i3d       the encoder of a Tokenizer, with kernels in time (inflated)
//	  slowfast  two encoders: slow on every alpha-th frame, fast on all frames with
//	            1/beta of the channels; after the first convolution, after each
//	            compress_space and at the end, a lateral convolution over time adds
//	            the fast path to the slow one
//	  + coordinates of the pixels, through a linear layer; each frame pooled with
//	    pool_heads attention heads
//	features                  [N, T', head_dim]
//	  residual units over time
//	  attention pooling over time ── logits           [N, classes]
//	  last feature before the horizon ── forecast     [N, horizon, 2 or 3]
//
// Everything is causal in time: one pass serves both heads, and the forecast depends on
// the frames before the horizon only. Positions are relative to the last one seen, in
// units of model.classify.unit.
//
// Sources: Carreira and Zisserman 2017 (I3D), Feichtenhofer et al. 2019 (SlowFast, with
// lateral connections by summation), Liu et al. 2018 (coordinates as channels). On
// purpose: causal, no batch norm, and not pretrained.
type Classifier struct {
	Config Config
	list   *Tokenizer // the parameters, and the configuration for the encoder's layers
}

// NewClassifier checks the configuration and lists the parameters. Keys that default to
// properties of the clips must have been filled (ForClips).
func NewClassifier(c Config) (*Classifier, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	k := c.Classify
	switch {
	case !c.Classifies():
		return nil, errors.New(`model.classify.network: "": the configuration is that of a tokenizer`)
	case k.Forecast == ForecastAuto || k.Horizon == 0:
		return nil, errors.New("model.classify: forecast and horizon must be decided before the network is made")
	case k.Path.Rotations > 0 && k.Forecast == ForecastImage && k.Unit == 0:
		return nil, errors.New("model.classify.unit: 0: the scale of forecasts must be decided before the network is made")
	case k.OnCodes() && !k.Codes.decided():
		return nil, fmt.Errorf("model.classify.input: %s: the tokenizer whose codes it gets must be known before the network is made; set train.tokenizer", k.Input)
	case k.Classes < 2 && k.Forecast == ForecastNone:
		return nil, fmt.Errorf("model.classify: clips of %d classes and no positions to forecast: nothing to learn", k.Classes)
	}
	m := &Classifier{c, &Tokenizer{Config: c, index: map[string]int{}}}
	side := 4 * m.side()
	s := Shape{N: 1, T: m.Padded(k.Horizon + m.factor() + 1), H: side, W: side}
	b := newBuilder(m.list, s)
	b.declare = true
	m.forward(b)
	return m, b.err
}

func (m *Classifier) Declared() []Param                      { return m.list.Params }
func (m *Classifier) Updates() []Update                      { return m.list.Updates() }
func (m *Classifier) NumParams() int                         { return m.list.NumParams() }
func (m *Classifier) Init(seed uint64, i int, dst []float32) { m.list.Init(seed, i, dst) }

// alpha is the temporal stride of the slow path, of frames or of frames of codes.
func (k Classify) alpha(codes bool) int {
	if codes {
		return max(k.Alpha/k.Codes.Frames, 1)
	}
	return k.Alpha
}

// factor is the number of frames per feature.
func (m *Classifier) factor() int {
	k, f := m.Config.Classify, 1
	slow := func(codes bool) int {
		if k.Network == "slowfast" {
			return k.alpha(codes)
		}
		return 1
	}
	if k.onPixels() {
		if f = slow(false); k.Network == "i3d" {
			f = m.Config.timeFactor()
		}
	}
	if k.OnCodes() {
		f = lcm(f, slow(true)*k.Codes.Frames)
	}
	return f
}

// side is the number that height and width are multiples of.
func (m *Classifier) side() int {
	k, f := m.Config.Classify, 1
	if k.onPixels() {
		f = m.Config.spaceFactor()
	}
	if k.OnCodes() {
		f = lcm(f, k.Codes.Side)
	}
	return f
}

func lcm(a, b int) int {
	n := a
	for n%b != 0 {
		n += a
	}
	return n
}

// alone is the number of frames in front of a clip's multiples of factor: 1 where the
// tokenizer codes the first frame alone, else 0.
func (m *Classifier) alone() int {
	if k := m.Config.Classify; k.OnCodes() && k.Codes.FirstFrame {
		return 1
	}
	return 0
}

func (m *Classifier) Padded(frames int) int {
	f, a := m.factor(), m.alone()
	return (max(frames-a, 1-a)+f-1)/f*f + a
}

// Seen is the number of frames, of a clip of this many, that a forecast depends on.
func (m *Classifier) Seen(frames int) int {
	f, a := m.factor(), m.alone()
	return (frames-a-m.Config.Classify.Horizon)/f*f + a
}

func (m *Classifier) Check(s Shape) error {
	f, k := m.side(), m.Config.Classify
	switch {
	case s.N < 1 || s.T < 1 || s.H < 1 || s.W < 1:
		return fmt.Errorf("model: a batch of %d clips of %d frames of %d×%d pixels: want at least one of each", s.N, s.T, s.H, s.W)
	case m.Padded(s.T) != s.T:
		return fmt.Errorf("model: %d frames: this network takes multiples of %d", s.T, m.factor())
	case k.Forecast != ForecastNone && m.Seen(s.T) < m.factor():
		return fmt.Errorf("model: %d frames with a horizon of %d (model.classify.horizon): want at least %d more frames than the horizon", s.T, k.Horizon, m.factor())
	case s.H%f != 0 || s.W%f != 0:
		return fmt.Errorf("model: frames of %d×%d pixels (height × width): this network takes multiples of %d", s.H, s.W, f)
	case float64(s.N)*float64(s.T)*float64(s.H)*float64(s.W)*float64(m.Config.Channels) > math.MaxInt32:
		return fmt.Errorf("model: a batch of %d clips of %d frames of %d×%d pixels has more than 2^31 values; use a smaller batch", s.N, s.T, s.H, s.W)
	}
	return nil
}
