package trainer

import (
	"math"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
)

// The reference's example is built and planned at its own size. The parameters
// were counted by hand from its definition.
func TestPresetsOfTheReference(t *testing.T) {
	for name, want := range map[string]struct {
		codes  [5]int
		params int
	}{
		"magvit2-64":  {[5]int{1, 5, 8, 8, 1}, 117_770_995},
		"magvit2-128": {[5]int{4, 5, 16, 16, 1}, 117_770_995},
	} {
		c, err := config.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := model.New(c.Model)
		if err != nil {
			t.Fatal(err)
		}
		s := model.Shape{N: c.Train.Batch, T: c.Data.Frames, H: c.Model.ImageSize, W: c.Model.ImageSize}
		if got := tok.CodeShape(s); got != want.codes {
			t.Errorf("%s: codes %v, want %v", name, got, want.codes)
		}
		if got := tok.NumParams(); got != want.params {
			t.Errorf("%s: %d parameters, want %d", name, got, want.params)
		}
		g, err := tok.Training(s)
		if err != nil {
			t.Fatal(err)
		}
		offsets := make([]int, len(tok.Params))
		for i := range offsets[1:] {
			offsets[i+1] = offsets[i] + tok.Params[i].Len()
		}
		be := &kernels.NullBackend{}
		arena, err := be.Alloc(tok.NumParams())
		if err != nil {
			t.Fatal(err)
		}
		p, err := g.Compile(be, arena, arena, offsets)
		if err != nil {
			t.Fatal(err)
		}
		stats := p.Plan.Stats()
		t.Logf("%s: %d launches of %d kernels, %.1f GFLOP, buffers %.2f GB", name, stats.Kernels, stats.Prepared, float64(stats.FLOPs())/1e9, float64(be.Bytes)/1e9)
	}
}

// The same network with fewer channels and pixels takes a training step: the
// batch's error falls.
func TestStepOfTheReference(t *testing.T) {
	c, err := config.Preset("magvit2-64")
	if err != nil {
		t.Fatal(err)
	}
	c.Model.ImageSize, c.Model.InitDim, c.Model.MaxDim = 16, 8, 16
	c.Model.Attention, c.Model.LinearAttention = model.Heads{Heads: 2, Dim: 8}, model.Heads{Heads: 2, Dim: 4}
	c.Train.LR, c.Train.Warmup = 1e-3, 0
	be := kernels.NewCPU(2)
	defer be.Close()
	tok, err := model.New(c.Model)
	if err != nil {
		t.Fatal(err)
	}
	st, err := checkpoint.NewState(be, tok)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tok.Params {
		tok.Init(1, i, st.Part(st.Params.(kernels.Host), i))
	}
	g, err := tok.Training(model.Shape{N: 1, T: 5, H: 16, W: 16})
	if err != nil {
		t.Fatal(err)
	}
	p, err := g.Compile(be, st.Params, st.Grads, st.Offsets)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Buffer("video").Len() {
		p.Buffer("video").(kernels.Host)[i] = float32(i%11) / 11
	}
	for i := range p.Buffer("weight").Len() {
		p.Buffer("weight").(kernels.Host)[i] = 1
	}
	opt, err := newOptimizer(c.Train, st, all(c.Train.Accumulate))
	if err != nil {
		t.Fatal(err)
	}
	recon := func() float32 {
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		return p.Terms[0].Buffer.(kernels.Host)[0]
	}
	before := recon()
	if norm := optimizerStep(t, opt, Position{}, p.Scalars); !(norm > 0) {
		t.Fatalf("norm of the gradient %g", norm)
	}
	if after := recon(); !(after < before) {
		t.Errorf("a step takes the reconstruction's error from %g to %g", before, after)
	}
}

// The presets of film have at most 0.16 bits a pixel, and are codecs before their first step. The parameters were counted
// by hand: first and last convolution of 1,536 coefficients, residual units of 1×3×3 and 2×1×1, 24 latent values.
func TestPresetsOfFilm(t *testing.T) {
	for name, want := range map[string]struct {
		codes  [5]int
		params int
	}{
		"film-64":     {[5]int{1, 2, 8, 8, 8}, 2_299_032},
		"film-64-gan": {[5]int{1, 2, 8, 8, 8}, 2_299_032},
		"film-128":    {[5]int{1, 2, 16, 16, 8}, 6_442_008},
	} {
		c, err := config.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := model.New(c.Model)
		if err != nil {
			t.Fatal(err)
		}
		s := model.Shape{N: 1, T: c.Data.Frames, H: c.Model.ImageSize, W: c.Model.ImageSize}
		codes := tok.CodeShape(s)
		if codes != want.codes {
			t.Errorf("%s: codes %v, want %v", name, codes, want.codes)
		}
		if got := tok.NumParams(); got != want.params {
			t.Errorf("%s: %d parameters, want %d", name, got, want.params)
		}
		bits := float64(codes[1]*codes[2]*codes[3]*codes[4]) * math.Log2(float64(tok.CodebookSize())) / float64(s.T*s.H*s.W)
		if bits < .15 || bits > .16 {
			t.Errorf("%s: %v bits a pixel, want .15 to .16", name, bits)
		}
		if psnr := beforeTheFirstStep(t, tok, s); psnr < 30 {
			t.Errorf("%s: %.1f dB before the first step, want 30", name, psnr)
		}
	}
}

// beforeTheFirstStep is the PSNR of a smooth moving pattern with the initial weights.
func beforeTheFirstStep(t *testing.T, tok *model.Tokenizer, s model.Shape) float64 {
	t.Helper()
	be := kernels.NewCPU(2)
	defer be.Close()
	st, err := checkpoint.NewState(be, tok)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tok.Params {
		tok.Init(1, i, st.Part(st.Params.(kernels.Host), i))
	}
	g, err := tok.Encoder(s)
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := g.Compile(be, st.Params, nil, st.Offsets)
	if err != nil {
		t.Fatal(err)
	}
	if g, err = tok.Decoder(s); err != nil {
		t.Fatal(err)
	}
	decoder, err := g.Compile(be, st.Params, nil, st.Offsets)
	if err != nil {
		t.Fatal(err)
	}
	video := encoder.Buffer("video").(kernels.Host)
	for i := range video {
		c, x, y, f := i%3, i/3%s.W, i/3/s.W%s.H, i/3/s.W/s.H
		video[i] = float32(.45 + .2*math.Sin(float64(x+y)/20+float64(f)/8) + .02*math.Cos(float64(y)/15+float64(c)))
	}
	if err := encoder.Run(); err != nil {
		t.Fatal(err)
	}
	copy(decoder.Buffer("codes").(kernels.Host), encoder.Buffer("codes").(kernels.Host))
	if err := decoder.Run(); err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for i, v := range decoder.Buffer("recon").(kernels.Host) {
		sum += float64(v-video[i]) * float64(v-video[i])
	}
	return -10 * math.Log10(sum/float64(len(video)))
}
