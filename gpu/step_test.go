//go:build emul && linux

package gpu_test

import (
	"math"
	"slices"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/config"
)

// withFSQ is preset tiny; withLFQ has LFQ, squeeze-excite and a first frame of its own;
// withAttention has a layer of each kind that knows no condition, withCondition of each
// that does, spherical codes, blur before compression and reflecting edges.
func withFSQ(t *testing.T) (model.Config, model.Shape) {
	c, err := config.Preset("tiny")
	check(t, err)
	return c.Model, model.Shape{N: 2, T: 4, H: 32, W: 32}
}

func withLFQ(*testing.T) (model.Config, model.Shape) {
	c := model.Defaults()
	c.ImageSize, c.Patch, c.InitDim, c.FirstFrame = 16, 2, 12, true
	c.InputKernel, c.OutputKernel = model.Kernel{3, 3, 3}, model.Kernel{3, 3, 3}
	c.Layers = []model.Layer{{Name: model.Residual}, {Name: model.CompressSpace, Dim: 20}, {Name: model.CompressTime}, {Name: model.Residual}}
	c.Quantizer.Kind, c.Quantizer.Levels, c.Quantizer.CodebookSize, c.Quantizer.InvTemperature = "lfq", nil, 256, 2
	c.Loss.Kind = "l1"
	return c, model.Shape{N: 2, T: 5, H: 16, W: 16}
}

// layered is a small tokenizer with these layers, for clips of 5 frames of 16×16.
func layered(layers ...model.Layer) (model.Config, model.Shape) {
	c := model.Defaults()
	c.ImageSize, c.Patch, c.InitDim, c.FirstFrame = 16, 2, 8, true
	c.InputKernel, c.OutputKernel = model.Kernel{3, 3, 3}, model.Kernel{3, 3, 3}
	c.Attention, c.LinearAttention = model.Heads{Heads: 2, Dim: 6}, model.Heads{Heads: 2, Dim: 5}
	c.Layers = layers
	return c, model.Shape{N: 2, T: 5, H: 16, W: 16}
}

func withAttention(*testing.T) (model.Config, model.Shape) {
	c, s := layered(model.Layer{Name: model.AttendSpace}, model.Layer{Name: model.CompressSpace, Dim: 12}, model.Layer{Name: model.LinearAttendSpace},
		model.Layer{Name: model.CompressTime}, model.Layer{Name: model.AttendTime}, model.Layer{Name: model.GateLoopTime})
	c.Quantizer.Levels = []int{8, 5, 5}
	return c, s
}

func withCondition(*testing.T) (model.Config, model.Shape) {
	c, s := layered(model.Layer{Name: model.CondResidual}, model.Layer{Name: model.CompressSpace, Dim: 12, Antialias: true}, model.Layer{Name: model.CondLinearAttendSpace},
		model.Layer{Name: model.CompressTime}, model.Layer{Name: model.CondAttendSpace}, model.Layer{Name: model.CondAttendTime})
	c.DimCond, c.PadMode = 6, "reflect"
	c.Quantizer.Kind, c.Quantizer.Levels, c.Quantizer.CodebookSize, c.Quantizer.Spherical = "lfq", nil, 64, true
	return c, s
}

// withPatches has patches of frames and pixels that overlap, transformed by constant matrices.
func withPatches(*testing.T) (model.Config, model.Shape) {
	c := model.Defaults()
	c.ImageSize, c.InitDim, c.Patch, c.PatchTime, c.PatchTransform, c.Background = 16, 24, 4, 4, "lapped", .4
	c.InputKernel, c.OutputKernel = model.Kernel{1, 1, 1}, model.Kernel{1, 1, 1}
	c.Layers = []model.Layer{{Name: model.Residual}}
	c.Quantizer.Levels, c.Quantizer.Codebooks = []int{8, 5}, 2
	return c, model.Shape{N: 2, T: 8, H: 16, W: 16}
}

// outcome is what three training steps leave: of the first one the loss, its terms,
// codes and gradients, then the parameters and their average.
type outcome struct {
	loss               float32
	terms, codes       []float32
	grads, params, ema []float32
}

// train makes three steps of AdamW on a backend.
func train(t *testing.T, be kernels.Backend, c model.Config, s model.Shape) (tok *model.Tokenizer, offsets []int, first []float32, o outcome) {
	t.Helper()
	tok, err := model.New(c)
	check(t, err)
	first = make([]float32, tok.NumParams())
	at := 0
	for i, p := range tok.Params {
		tok.Init(1, i, first[at:at+p.Len()])
		offsets = append(offsets, at)
		at += p.Len()
	}
	arena := func(values []float32) kernels.Buffer {
		b, err := be.Alloc(len(first))
		check(t, err)
		check(t, be.Write(b, values))
		return b
	}
	params, ema, m, v, grads := arena(first), arena(first), arena(nil), arena(nil), arena(nil)
	g, err := tok.Training(s)
	check(t, err)
	p, err := g.Compile(be, params, grads, offsets)
	check(t, err)
	square, err := be.Prepare(kernels.SumSquares{Len: len(first)})
	check(t, err)
	adam, err := be.Prepare(kernels.AdamW{Len: len(first)})
	check(t, err)
	norm2, err := be.Alloc(1)
	check(t, err)
	hyper, err := be.Alloc(kernels.HyperLen)
	check(t, err)
	read := func(b kernels.Buffer) []float32 {
		values := make([]float32, b.Len())
		check(t, be.Read(values, b))
		return values
	}
	r := philox.New(2, "clips", 0, 0)
	for step := range 3 {
		video, weight := make([]float32, p.Buffer("video").Len()), make([]float32, p.Buffer("weight").Len())
		for i := range video {
			video[i] = float32(r.Float64())
		}
		for i := range weight {
			weight[i] = float32(1 + i%3)
		}
		if p.Buffer("cond") != nil {
			cond := make([]float32, p.Buffer("cond").Len())
			for i := range cond {
				cond[i] = float32(r.Normal())
			}
			check(t, be.Write(p.Buffer("cond"), cond))
		}
		check(t, be.Write(p.Buffer("video"), video))
		check(t, be.Write(p.Buffer("weight"), weight))
		check(t, p.Run())
		if step == 0 {
			o.loss, o.codes, o.grads = read(p.Loss())[0], read(p.Buffer("codes")), read(grads)
			for _, term := range p.Terms {
				o.terms = append(o.terms, read(term.Buffer)...)
			}
		}
		k := float64(step + 1)
		check(t, be.Write(hyper, []float32{1e-3, .1, .01, 1e-8, 1e-2, float32(1 - math.Pow(.9, k)), float32(1 - math.Pow(.99, k)), 1, .1, 1}))
		square.Run(norm2, grads)
		adam.Run(params, m, v, ema, grads, norm2, hyper)
	}
	check(t, be.Sync())
	o.params, o.ema = read(params), read(ema)
	return tok, offsets, first, o
}

// Whole training steps on the emulated device against the CPU backend. Both compute
// in float32, so they differ by roundings alone.
func TestTrainingStep(t *testing.T) {
	for _, c := range []struct {
		name   string
		config func(*testing.T) (model.Config, model.Shape)
	}{{"fsq", withFSQ}, {"lfq and squeeze-excite", withLFQ}, {"attention", withAttention}, {"condition", withCondition}, {"patches", withPatches}} {
		t.Run(c.name, func(t *testing.T) {
			cpu, dev := kernels.NewCPU(1), gpu.Emulated(emul.Open(emul.Shuffled), kernels.F32)
			defer cpu.Close()
			defer dev.Close()
			cfg, shape := c.config(t)
			tok, offsets, first, want := train(t, cpu, cfg, shape)
			_, _, _, got := train(t, dev, cfg, shape)
			if !slices.Equal(got.codes, want.codes) {
				t.Fatal("codes differ") // of these clips no latent is on the border of two codes
			}
			near := func(what string, got, want []float32, floor, tol float64) {
				t.Helper()
				e := 0.
				for i := range want {
					e += math.Pow(float64(got[i])-float64(want[i]), 2)
				}
				if size := max(norm2(want), floor); !(e <= tol*size) {
					t.Errorf("%s differs by NMSE %.3g, want at most %.3g", what, e/size, tol)
				}
			}
			// 1e-6 of them; the loss is a difference of its terms.
			near("the loss's terms", got.terms, want.terms, 0, 1e-12)
			near("the loss", []float32{got.loss}, []float32{want.loss}, norm2(want.terms), 1e-12)
			floor := 1e-6 * norm2(want.grads) // small gradients have roundings of 3e-8 of all
			for i, p := range tok.Params {
				from, to := offsets[i], offsets[i]+p.Len()
				near("the gradient of "+p.Name, got.grads[from:to], want.grads[from:to], floor, 1e-9) // 3e-5 of it, ten layers of sums deep
			}
			// AdamW divides a gradient by its size: what is noise becomes a step.
			near("the change of the parameters", minus(got.params, first), minus(want.params, first), 0, 1e-5)
			near("the change of the average", minus(got.ema, first), minus(want.ema, first), 0, 1e-5)
		})
	}
}

// Every kernel of a training step of the presets exists.
func TestPresetsHaveTheirKernels(t *testing.T) {
	for _, name := range config.Presets() {
		t.Run(name, func(t *testing.T) { hasItsKernels(t, name) })
	}
}

func hasItsKernels(t *testing.T, preset string) {
	c, err := config.Preset(preset)
	check(t, err)
	shape := model.Shape{N: 1, T: 8, H: 64, W: 64}
	c.Model.Discriminator.Size = min(c.Model.DiscriminatorSize(), shape.H)
	c.Model.Classify.Unit = 1 // a run takes it from its clips
	if c.Model.IsPrior() {
		shape.H, shape.W = 8, 8
		c.Model = c.Model.ForCodes([]int{8, 8, 8}, []int{8, 5, 5, 5}, 4, "")
	}
	net, err := model.Build(c.Model.ForClips(4, 8, model.ForecastImage))
	check(t, err)
	shape.T = net.Padded(8)
	if c.Model.Published.Images {
		shape.T = 1
	}
	g, err := net.Training(shape)
	check(t, err)
	graphs := []*model.Graph{g}
	if tok, ok := net.(*model.Tokenizer); ok && c.Model.HasDiscriminator() {
		generator, err := tok.GeneratorStep(shape, true)
		check(t, err)
		discriminator, err := tok.DiscriminatorStep(shape, true, true)
		check(t, err)
		graphs = append(graphs, generator, discriminator)
	}
	dev := gpu.Emulated(emul.Open(emul.Forward), kernels.F32)
	defer dev.Close()
	var offsets []int
	at := 0
	for _, p := range net.Declared() {
		offsets = append(offsets, at)
		at += p.Len()
	}
	params, err := dev.Alloc(2 * at)
	check(t, err)
	for _, g := range graphs {
		if _, err := g.Compile(dev, params, params.Slice(at, 2*at), offsets); err != nil {
			t.Error(err)
		}
	}
}

func norm2(x []float32) (sum float64) {
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return sum
}

func minus(a, b []float32) []float32 {
	d := make([]float32, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return d
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
