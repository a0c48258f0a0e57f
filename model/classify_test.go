package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// tinyClassifier has a few hundred parameters and every part.
func tinyClassifier(network string) Config {
	c := Defaults()
	c.ImageSize, c.Patch, c.InitDim, c.Background = 16, 4, 4, 1
	c.InputKernel, c.ResidualKernel, c.LatentNorm, c.SqueezeExcite = Kernel{3, 3, 3}, Kernel{3, 3, 3}, "none", "none"
	c.Layers = []Layer{{Name: Residual}, {Name: CompressSpace, Dim: 6}, {Name: Residual}}
	c.Classify = Classify{Network: network, Forecast: ForecastImage, ForecastWeight: .5, HeadDim: 5, PoolHeads: 2, HeadLayers: 2, Alpha: 2, Beta: 2, Input: InputPixels, ForecastLoss: "mse"}
	return c.ForClips(3, 8, ForecastNone)
}

// variants are classifiers of each network: on features alone, on the path too, and on codes
// of two frames of 8×8 pixels.
func variants() map[string]Config {
	all := map[string]Config{}
	for _, network := range []string{"i3d", "slowfast"} {
		c := tinyClassifier(network)
		all[network] = c
		c.Classify.Path, c.Classify.Unit = Path{Rotations: 3, Mirror: true, Weight: 2}, 4
		all[network+", path"] = c
		c.Classify.Codes = CodeGrid{Digits: []int{3, 2}, Codebooks: 1, Frames: 2, Side: 8}
		c.Classify.Input = map[string]string{"i3d": InputCodes, "slowfast": InputFused}[network]
		all[network+", "+c.Classify.Input] = c
	}
	return all
}

// trial is a training graph on the CPU with values of its own for all it takes.
type trial struct {
	m       *Classifier
	p       *Program
	params  kernels.Host
	grads   kernels.Host
	offsets []int
}

func newTrial(t *testing.T, c Config, s Shape) *trial {
	t.Helper()
	m, err := NewClassifier(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &trial{m: m, params: make(kernels.Host, m.NumParams()), grads: make(kernels.Host, m.NumParams())}
	at := 0
	for i, p := range m.Declared() {
		m.Init(1, i, r.params[at:][:p.Len()])
		if strings.HasPrefix(strings.TrimPrefix(p.Name, "codes."), "head.") { // some start at zero, which hides what is before them
			draw(r.params[at:][:p.Len()], p.Name, .3)
		}
		r.offsets = append(r.offsets, at)
		at += p.Len()
	}
	g, err := m.Training(s)
	if err != nil {
		t.Fatal(err)
	}
	be := kernels.NewCPU(1)
	t.Cleanup(func() { be.Close() })
	if r.p, err = g.Compile(be, r.params, r.grads, r.offsets); err != nil {
		t.Fatal(err)
	}
	if video := r.p.Buffer("video"); video != nil {
		draw(video.(kernels.Host), "video", .5)
	}
	if codes := r.p.Buffer("codes"); codes != nil {
		ids, random := codes.(kernels.Host), philox.New(5, "codes", 0, 0)
		for i := range ids {
			ids[i] = float32(random.IntN(c.Classify.Codes.vocabulary()))
		}
	}
	if positions := r.p.Buffer("positions"); positions != nil {
		draw(positions.(kernels.Host), "positions", 1)
		for i := range positions.(kernels.Host) { // far from the located ones: the distance has no slope at 0
			positions.(kernels.Host)[i] += 3
		}
		for i := range r.p.Buffer("located").(kernels.Host)[1:] {
			r.p.Buffer("located").(kernels.Host)[i+1] = 1
		}
	}
	draw(r.p.Buffer("target").(kernels.Host), "target", 1)
	copy(r.p.Buffer("labels").(kernels.Host), []float32{2, -1, 0})
	for i := range r.p.Buffer("counts").(kernels.Host)[1:] { // the first one does not count
		r.p.Buffer("counts").(kernels.Host)[i+1] = 1
	}
	return r
}

func draw(dst []float32, purpose string, size float64) {
	r := philox.New(5, purpose, 0, 0)
	for i := range dst {
		dst[i] = float32(r.Uniform(-size, size))
	}
}

func (r *trial) run(t *testing.T) float64 {
	t.Helper()
	if err := r.p.Run(); err != nil {
		t.Fatal(err)
	}
	return float64(r.p.Loss().(kernels.Host)[0])
}

// The loss is the cross-entropy of the rows with a label and half the mean squared
// error of the positions that count, computed here from logits and forecasts.
func TestClassifierLoss(t *testing.T) {
	r := newTrial(t, tinyClassifier("i3d"), Shape{N: 3, T: 8, H: 16, W: 16})
	got := r.run(t)
	logits, forecast, target := r.p.Buffer("logits").(kernels.Host), r.p.Buffer("forecast").(kernels.Host), r.p.Buffer("target").(kernels.Host)
	want := 0.
	for _, row := range [][2]int{{0, 2}, {2, 0}} {
		z := 0.
		for c := range 3 {
			z += math.Exp(float64(logits[row[0]*3+c]))
		}
		want += (math.Log(z) - float64(logits[row[0]*3+row[1]])) / 2
	}
	mse := 0.
	for i := 2; i < len(target); i++ {
		mse += math.Pow(float64(forecast[i]-target[i]), 2) / float64(len(target)-2)
	}
	if want += .5 * mse; math.Abs(got-want) > 1e-5*want {
		t.Errorf("loss %v, want %v", got, want)
	}
	if len(r.p.Terms) != 2 || math.Abs(float64(r.p.Terms[1].Buffer.(kernels.Host)[0])-mse) > 1e-5*mse {
		t.Errorf("terms %v, want the forecast's mean squared error %v second", r.p.Terms, mse)
	}
}

// Every parameter's gradient, at one of its values, is a difference of the loss.
func TestClassifierGradients(t *testing.T) {
	for network, c := range variants() {
		if network == "slowfast, path" {
			continue // slowfast, fused has its parts
		}
		r := newTrial(t, c, Shape{N: 3, T: 8, H: 16, W: 16})
		r.run(t)
		grads := slices.Clone(r.grads)
		still := 0
		for i, p := range r.m.Declared() {
			at := r.offsets[i] + p.Len()/2
			const h = 1. / 128
			v := r.params[at]
			r.params[at] = v + h
			up := r.run(t)
			r.params[at] = v - h
			down := r.run(t)
			r.params[at] = v
			// The loss is a float32 near 2: its difference carries 2e-7/h, plus h² of curvature.
			got, want := float64(grads[at]), (up-down)/(2*h)
			if math.Abs(got-want) > 1e-4+1e-2*math.Abs(want) {
				t.Errorf("%s, %s: gradient %g, difference quotient %g", network, p.Name, got, want)
			}
			if got == 0 {
				still++
			}
		}
		if n := len(r.m.Declared()); still > n/10 {
			t.Errorf("%s: %d of %d gradients are 0: nothing was tested", network, still, n)
		}
	}
}

// A forecast is a function of the frames before the horizon, exactly; the classes are
// told from all of them.
func TestForecastDependsOnNoFrameOfTheHorizon(t *testing.T) {
	for network, c := range variants() {
		if c.Classify.OnCodes() {
			continue // of a causal tokenizer: package task checks that it is
		}
		r := newTrial(t, c, Shape{N: 3, T: 8, H: 16, W: 16})
		r.run(t)
		video, forecast, logits := r.p.Buffer("video").(kernels.Host), slices.Clone(r.p.Buffer("forecast").(kernels.Host)), slices.Clone(r.p.Buffer("logits").(kernels.Host))
		seen, frame := r.m.Seen(8), 16*16*3
		if seen != 6 {
			t.Fatalf("%s: %d frames seen, want 6", network, seen)
		}
		change := func(f int) {
			for n := range 3 {
				for i := range frame {
					video[(n*8+f)*frame+i] *= -1
				}
			}
		}
		change(6)
		change(7)
		r.run(t)
		if !slices.Equal(forecast, r.p.Buffer("forecast").(kernels.Host)) {
			t.Errorf("%s: the forecast sees frames of the horizon", network)
		}
		if slices.Equal(logits, r.p.Buffer("logits").(kernels.Host)) {
			t.Errorf("%s: the classes do not depend on the last frames", network)
		}
		change(5)
		r.run(t)
		if slices.Equal(forecast, r.p.Buffer("forecast").(kernels.Host)) {
			t.Errorf("%s: the forecast does not see the last frame before the horizon", network)
		}
	}
}

func TestClassifierErrors(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Classify.Network = "i4d" }, `model.classify.network: "i4d": want i3d, slowfast`},
		{func(c *Config) { c.Classify.Forecast = "sound" }, "model.classify.forecast"},
		{func(c *Config) { c.Classify.ForecastLoss = "l3" }, `model.classify.forecast_loss: "l3": want mse, l1`},
		{func(c *Config) { c.Classify.HeadDim = 0 }, "model.classify.head_dim: 0: want 1"},
		{func(c *Config) { c.Classify.Alpha = 0 }, "model.classify.alpha"},
		{func(c *Config) { c.Classify.ForecastWeight = math.NaN() }, "model.classify.forecast_weight: NaN"},
		{func(c *Config) { c.FirstFrame = true }, "model.first_frame"},
		{func(c *Config) { c.Classify.Path.Rotations = 1 }, "model.classify.path.rotations: 1: want 2"},
		{func(c *Config) { c.Classify.Path.Rotations = 4 }, "model.classify.unit: 0"},
		{func(c *Config) { c.Classify.Path.Weight = -1 }, "model.classify.path.weight: -1"},
		{func(c *Config) { c.Classify.Input = "sound" }, `model.classify.input: "sound": want pixels, codes, fused`},
		{func(c *Config) { c.Classify.Input = InputCodes }, "set train.tokenizer"},
		{func(c *Config) { c.Classify.Input, c.Classify.Codes.FirstFrame = InputFused, true }, "codes the first frame alone"},
		{func(c *Config) {
			c.Classify.Network, c.Classify.Input, c.Classify.Codes.FirstFrame = "slowfast", InputCodes, true
		}, "legal: i3d"},
		{func(c *Config) { c.Quantizer.Levels = []int{8} }, "model.quantizer.levels"},
		{func(c *Config) { c.Layers[1] = Layer{Name: CompressTime, Antialias: true} }, "model.layers[1].antialias"},
		{func(c *Config) { c.Classify.Network = "slowfast"; c.Layers[1].Name = CompressTime }, "model.layers[1]: compress_time"},
		{func(c *Config) { c.Classify.Forecast = ForecastAuto }, "must be decided"},
		{func(c *Config) { c.Classify.Classes, c.Classify.Forecast = 1, ForecastNone }, "nothing to learn"},
		{func(c *Config) { c.Classify.Network = "" }, "want 1 to 8"}, // a tokenizer without levels
	} {
		cfg := tinyClassifier("i3d")
		c.change(&cfg)
		if _, err := NewClassifier(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if _, err := New(tinyClassifier("i3d")); err == nil || !strings.Contains(err.Error(), "makes no codes") {
		t.Errorf("a classifier as a tokenizer: error %v", err)
	}
	m, err := NewClassifier(tinyClassifier("slowfast"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    Shape
		want string
	}{
		{Shape{0, 8, 16, 16}, "at least one"}, {Shape{1, 7, 16, 16}, "multiples of 2"}, {Shape{1, 8, 16, 12}, "multiples of 8"}, {Shape{1, 2, 16, 16}, "horizon"},
	} {
		if _, err := m.Training(c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want one with %q", c.s, err, c.want)
		}
	}
}
