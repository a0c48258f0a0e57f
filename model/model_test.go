package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model/machine"
)

// small is a network with every kind of layer.
func small() Config {
	c := Defaults()
	c.ImageSize, c.Patch, c.Background, c.InitDim = 16, 2, 1, 8
	c.InputKernel, c.OutputKernel = Kernel{1, 3, 3}, Kernel{1, 3, 3}
	c.Layers = []Layer{{Name: Residual, Kernel: Kernel{1, 3, 3}}, {Name: CompressSpace, Dim: 12}, {Name: CompressTime}, {Name: ConsecutiveResidual, N: 2}}
	c.Quantizer.Levels = []int{8, 5, 5, 5}
	return c
}

func withLFQ(size int) Config {
	c := small()
	c.Quantizer.Kind, c.Quantizer.Levels, c.Quantizer.CodebookSize = "lfq", nil, size
	return c
}

// every is a network with every kind of layer there is, clips with a first frame of
// its own, and padding that is not zero.
func every() Config {
	c := withLFQ(64)
	c.InitDim, c.DimCond, c.FirstFrame, c.SeparateFirstFrame, c.PadMode = 6, 3, true, true, "reflect"
	c.Quantizer.Spherical, c.SqueezeExcite = true, "none"
	c.Attention, c.LinearAttention = Heads{2, 4}, Heads{2, 4}
	c.Layers = []Layer{{Name: Residual, Dilation: 2}, {Name: CompressSpace, Antialias: true}, {Name: CondResidual}, {Name: LinearAttendSpace},
		{Name: AttendSpace}, {Name: CompressTime}, {Name: AttendTime}, {Name: GateLoopTime}, {Name: CondAttendSpace},
		{Name: CondLinearAttendSpace}, {Name: CondAttendTime}, {Name: CompressTime, Dim: 8}, {Name: ConsecutiveResidual}}
	return c
}

// cosinePatches is a network on transformed patches.
func cosinePatches() Config {
	c := small()
	c.Patch, c.PatchTime, c.PatchTransform, c.Background = 4, 2, cosines, .4
	return c
}

// lappedPatches is a network on patches that overlap.
func lappedPatches() Config {
	c := cosinePatches()
	c.PatchTransform = lapped
	return c
}

func create(t *testing.T, c Config) *Tokenizer {
	t.Helper()
	tok, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func cpu(t *testing.T) *kernels.CPU {
	c := kernels.NewCPU(2)
	t.Cleanup(func() { c.Close() })
	return c
}

// parameters are the first values of all parameters, one after the other.
func parameters(t *Tokenizer, seed uint64) (values kernels.Host, offsets []int) {
	at := 0
	for i, p := range t.Params {
		values = append(values, make(kernels.Host, p.Len())...)
		t.Init(seed, i, values[at:])
		offsets = append(offsets, at)
		at += p.Len()
	}
	return values, offsets
}

func uniform(purpose string, n int) []float32 {
	r := philox.New(5, purpose, 0, 0)
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.Float64())
	}
	return v
}

func quantizerOf(t *testing.T, c Config) quantizer {
	t.Helper()
	q, err := c.Quantizer.of()
	check(t, err)
	return q
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestParameterCountOfTheReference(t *testing.T) {
	// PyTorch's magvit2-pytorch: image 64, width 64, two residual units, FSQ [8,5,5,5] has
	// 548,107 parameters. Ours leaves out the two biases of to_k, which a softmax
	// cancels, in each of the four units' gates: 4 in all.
	c := Defaults()
	c.Layers = []Layer{{Name: Residual}, {Name: Residual}}
	c.Quantizer.Levels = []int{8, 5, 5, 5}
	if got := create(t, c).NumParams(); got != 548107-4 {
		t.Errorf("%d parameters, want %d", got, 548107-4)
	}
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		config Config
		shape  Shape
		codes  [5]int
	}{
		{small(), Shape{2, 4, 16, 16}, [5]int{2, 2, 4, 4, 1}},
		{small(), Shape{1, 2, 8, 20}, [5]int{1, 1, 2, 5, 1}},
		{func() Config { c := small(); c.FirstFrame = true; return c }(), Shape{1, 5, 16, 16}, [5]int{1, 3, 4, 4, 1}},
		{func() Config { c := small(); c.FirstFrame = true; return c }(), Shape{1, 1, 16, 16}, [5]int{1, 1, 4, 4, 1}},
		{every(), Shape{2, 5, 16, 12}, [5]int{2, 2, 4, 3, 1}},
		{every(), Shape{2, 1, 16, 16}, [5]int{2, 1, 4, 4, 1}}, // only a first frame
		{func() Config { c := withLFQ(64); c.Quantizer.Codebooks = 2; return c }(), Shape{1, 4, 16, 12}, [5]int{1, 2, 4, 3, 2}},
		{func() Config { c := vqConfig(64); c.Quantizer.Codebooks = 2; return c }(), Shape{1, 4, 16, 12}, [5]int{1, 2, 4, 3, 2}},
		{cosinePatches(), Shape{2, 4, 16, 16}, [5]int{2, 1, 2, 2, 1}},
		{asCodec(), Shape{2, 4, 16, 16}, [5]int{2, 2, 8, 8, 12}},
		{lappedPatches(), Shape{2, 8, 16, 24}, [5]int{2, 2, 2, 3, 1}},
		{func() Config { c := lappedPatches(); c.FirstFrame = true; return c }(), Shape{2, 5, 16, 16}, [5]int{2, 2, 2, 2, 1}},
		{func() Config { c := cosinePatches(); c.FirstFrame = true; return c }(), Shape{2, 5, 16, 16}, [5]int{2, 2, 2, 2, 1}},
		{bsqConfig(1 << 24), Shape{2, 4, 16, 16}, [5]int{2, 2, 4, 4, 1}},
	} {
		tok, be := create(t, c.config), cpu(t)
		if got := tok.CodeShape(c.shape); got != c.codes {
			t.Errorf("%v: codes %v, want %v", c.shape, got, c.codes)
		}
		if got := tok.BatchShape(c.codes); got != c.shape {
			t.Errorf("codes %v are of clips %v, want %v", c.codes, got, c.shape)
		}
		params, offsets := parameters(tok, 3)
		enc, err := tok.Encoder(c.shape)
		check(t, err)
		e, err := enc.Compile(be, params, nil, offsets)
		check(t, err)
		check(t, be.Write(e.Buffer("video"), uniform("video", e.Buffer("video").Len())))
		condition := func(p *Program) {
			if p.Buffer("cond") != nil {
				check(t, be.Write(p.Buffer("cond"), uniform("cond", p.Buffer("cond").Len())))
			}
		}
		condition(e)
		check(t, e.Run())
		codes := make([]float32, e.Buffer("codes").Len())
		check(t, be.Read(codes, e.Buffer("codes")))
		for _, k := range codes {
			if k < 0 || k >= float32(tok.CodebookSize()) || k != float32(int32(k)) {
				t.Fatalf("code %v: want a whole number below %d", k, tok.CodebookSize())
			}
		}
		// What training reconstructs is what the integer codes decode to.
		dec, err := tok.Decoder(c.shape)
		check(t, err)
		d, err := dec.Compile(be, params, nil, offsets)
		check(t, err)
		check(t, be.Write(d.Buffer("codes"), codes))
		condition(d)
		check(t, d.Run())
		tr, err := tok.Training(c.shape)
		check(t, err)
		p, err := tr.Compile(be, params, make(kernels.Host, len(params)), offsets)
		check(t, err)
		check(t, be.Write(p.Buffer("video"), uniform("video", p.Buffer("video").Len())))
		check(t, be.Write(p.Buffer("weight"), uniform("weight", p.Buffer("weight").Len())))
		condition(p)
		check(t, p.Run())
		a, b := make([]float32, d.Buffer("recon").Len()), make([]float32, p.Buffer("recon").Len())
		check(t, be.Read(a, d.Buffer("recon")))
		check(t, be.Read(b, p.Buffer("recon")))
		worst := 0.
		for i := range a {
			worst = max(worst, math.Abs(float64(a[i]-b[i])))
		}
		if worst > 1e-5 { // the same sums, fused differently
			t.Errorf("%v: decoding the codes and training's reconstruction differ by %g", c.shape, worst)
		}
	}
}

// Every frame reaches the code that must reproduce it, and no code sees a later frame.
func TestCodesDependOnTheirFrames(t *testing.T) {
	two := small()
	two.Layers = append(two.Layers, Layer{Name: CompressTime}, Layer{Name: Residual})
	first := two
	first.FirstFrame = true
	for name, c := range map[string]Config{"factor 2": small(), "factor 4": two, "factor 4 with first frame": first, "every layer": every()} {
		t.Run(name, func(t *testing.T) {
			tok, be := create(t, c), cpu(t)
			f := c.timeFactor()
			s := Shape{N: 1, T: tok.Padded(3*f - 1), H: 8, W: 8}
			params, offsets := parameters(tok, 3)
			for j := range tok.CodeShape(s)[1] {
				// The gradient of latent frame j with respect to the video.
				b := newBuilder(tok, s)
				b.condition()
				video := b.input("video", s.N, s.T, s.H, s.W, 3)
				z := b.quantize(b.encode(video)).latents
				_, tl, hl, wl, ch := b.dims(z)
				target, weight := b.input("target", z.Shape()...), b.input("weight", tl*hl*wl)
				loss := b.apply(kernels.ReconLoss{Pixels: tl * hl * wl, C: ch, Kind: kernels.MSE, Overshoot: 1}, []int{}, z, target, weight)
				check(t, b.err)
				grads, err := G.Grad(loss, video)
				check(t, err)
				bound := map[*G.Node]kernels.Buffer{}
				for i, n := range b.params {
					if n != nil {
						bound[n] = params[offsets[i] : offsets[i]+n.Shape().TotalSize()]
					}
				}
				plan, err := machine.Compile(be, grads, bound, machine.RecomputeNone)
				check(t, err)
				check(t, be.Write(plan.Buffer(video), uniform("video", s.T*s.H*s.W*3)))
				if b.cond != nil {
					check(t, be.Write(plan.Buffer(b.cond), uniform("cond", b.cond.Shape().TotalSize())))
				}
				check(t, be.Write(plan.Buffer(target), uniform("target", target.Shape().TotalSize())))
				w := make([]float32, tl*hl*wl)
				for i := range hl * wl {
					w[j*hl*wl+i] = 1
				}
				check(t, be.Write(plan.Buffer(weight), w))
				check(t, plan.Run())
				g := make([]float32, s.T*s.H*s.W*3)
				check(t, be.Read(g, plan.Buffer(grads[0])))
				firstOwn, lastOwn := j*f, j*f+f-1
				if c.FirstFrame {
					firstOwn, lastOwn = j*f-f+1, j*f
				}
				for frame := range s.T {
					var sum float64
					for _, v := range g[frame*s.H*s.W*3 : (frame+1)*s.H*s.W*3] {
						sum += math.Abs(float64(v))
					}
					if frame >= firstOwn && frame <= lastOwn && sum == 0 {
						t.Errorf("frame %d does not reach code %d, which must reproduce it", frame, j)
					}
					if frame > lastOwn && sum != 0 {
						t.Errorf("code %d, of frames %d to %d, sees frame %d", j, firstOwn, lastOwn, frame)
					}
				}
			}
		})
	}
}

// A step along the gradient lowers the loss as much as the gradient says, for
// a whole network with each quantizer; the quantizer passes gradients on.
func TestGradientsOfTheWholeNetwork(t *testing.T) {
	for name, c := range map[string]Config{"fsq": small(), "lfq": withLFQ(256), "vq": vqConfig(64), "bsq": bsqConfig(1 << 12), "every layer": every(), "cosine patches": cosinePatches(), "lapped patches": lappedPatches(), "structure": structured()} {
		t.Run(name, func(t *testing.T) {
			tok, be := create(t, c), cpu(t)
			params, offsets := parameters(tok, 1)
			grads := make(kernels.Host, len(params))
			g, err := tok.Training(Shape{1, tok.Padded(4), 16, 16})
			check(t, err)
			p, err := g.Compile(be, params, grads, offsets)
			check(t, err)
			check(t, be.Write(p.Buffer("video"), uniform("video", p.Buffer("video").Len())))
			check(t, be.Write(p.Buffer("weight"), uniform("weight", p.Buffer("weight").Len())))
			if p.Buffer("cond") != nil {
				check(t, be.Write(p.Buffer("cond"), uniform("cond", p.Buffer("cond").Len())))
			}
			loss := func() float64 {
				check(t, p.Run())
				return float64(p.Loss().(kernels.Host)[0])
			}
			loss()
			got := append(kernels.Host(nil), grads...)
			for i, q := range tok.Params {
				var norm float64
				for _, v := range got[offsets[i] : offsets[i]+q.Len()] {
					norm += float64(v) * float64(v)
				}
				if !(norm > 0) && !q.Buffer && !strings.Contains(q.Name, "to_k") && !strings.Contains(q.Name, "net.0") {
					t.Errorf("%s has no gradient", q.Name)
				}
			}
			// Decoder parameters come after the rounding: their gradients are plain derivatives.
			for i, q := range tok.Params {
				if !strings.HasPrefix(q.Name, "decoder") && !strings.HasPrefix(q.Name, "conv_out") {
					continue
				}
				span := params[offsets[i] : offsets[i]+q.Len()]
				slope := got[offsets[i] : offsets[i]+q.Len()]
				var norm float64
				for _, v := range slope {
					norm += float64(v) * float64(v)
				}
				if norm < 1e-6 { // the step would be long and the loss bend
					continue
				}
				h := 4e-4 / math.Sqrt(norm) // a change of the loss of about 8e-4, far above float32 rounding
				move := func(by float64) float64 {
					for k := range span {
						span[k] += float32(by * float64(slope[k]) / math.Sqrt(norm))
					}
					return loss()
				}
				up := move(h)
				down := move(-2 * h)
				move(h)
				if want := 2 * h * math.Sqrt(norm); math.Abs(up-down-want) > .05*want {
					t.Errorf("%s: the loss changes by %.6f, its gradient says %.6f", q.Name, up-down, want)
				}
			}
		})
	}
}

func TestFirstValues(t *testing.T) {
	tok := create(t, small())
	params, offsets := parameters(tok, 9)
	again, _ := parameters(tok, 9)
	if !slices.Equal(params, again) {
		t.Error("the same seed draws other values")
	}
	for i, p := range tok.Params {
		v := params[offsets[i] : offsets[i]+p.Len()]
		switch {
		case p.Name == "conv_out.conv.bias":
			for _, x := range v {
				if x != 1 {
					t.Fatalf("%s starts at %v, want the background, 1", p.Name, x)
				}
			}
		case p.Name == "decoder_layers.2.net.0.weight": // mirror of compress_space: four equal sub-pixels
			row := p.Len() / p.Shape[0]
			for k := range row {
				if v[k] != v[row+k] || v[k] != v[3*row+k] || v[k] == v[4*row+k] {
					t.Fatalf("%s: sub-pixels do not start equal", p.Name)
				}
			}
		}
	}
}
