package model

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// opposed is a small tokenizer with a discriminator.
func opposed(t *testing.T, kind string, change func(c *Config)) *Tokenizer {
	t.Helper()
	c := Defaults()
	c.ImageSize, c.InitDim, c.Patch, c.SqueezeExcite = 16, 6, 4, "none"
	c.Layers, c.InputKernel, c.OutputKernel = []Layer{{Name: Residual}}, Kernel{1, 3, 3}, Kernel{1, 3, 3}
	c.Quantizer.Levels = []int{8, 5}
	c.Discriminator = Discriminator{Kind: kind, Size: 8, Dim: 2, MaxDim: 6, LinearAttention: Heads{2, 2}, FeedForward: 2, Blur: true, Scales: 1}
	if change != nil {
		change(&c)
	}
	tok, err := New(c)
	check(t, err)
	return tok
}

// The discriminator's gradients, second derivatives among them, are the slopes of its loss.
func TestDiscriminatorGradients(t *testing.T) {
	for _, kind := range []string{"image", patch3D, styleGAN3D, patchGAN, patchGAN3D} {
		for i, a := range []Adversarial{{Kind: "hinge", Penalty: "both", Frames: 1}, {Kind: "logistic", Penalty: "r1", Frames: 0, LeCam: 1e4}} {
			t.Run(fmt.Sprintf("%s %s %s", kind, a.Kind, a.Penalty), func(t *testing.T) {
				tok := opposed(t, kind, func(c *Config) {
					c.Discriminator.Scales = 1 + i
					if c.Discriminator.Size = 8 * (1 + i); patchNetworks[kind].normed {
						a.Penalty, c.Discriminator.Scales, c.Discriminator.Size = "none", 1, 24
					}
					// Running averages are constants for gradients, and hardly move.
					a.Adaptive, a.PenaltyWeight, a.PenaltyEvery, a.LeCamDecay = "none", 1e4, 2, .9999
					c.Loss.Adversarial = a
				})
				g, err := tok.DiscriminatorStep(Shape{N: 2, T: 3, H: 24, W: 24}, true, false)
				check(t, err)
				be := kernels.NewCPU(1)
				offsets, n := make([]int, len(tok.Params)), 0
				for i, p := range tok.Params {
					offsets[i] = n
					n += (p.Len() + 15) / 16 * 16
				}
				params, err := be.Alloc(n)
				check(t, err)
				grads, err := be.Alloc(n)
				check(t, err)
				first := make([]float32, n)
				for i, p := range tok.Params {
					tok.Init(3, i, first[offsets[i]:][:p.Len()])
				}
				if kind != "image" { // first values give logits of almost 0
					for i := range first {
						first[i] *= 3
					}
				}
				prog, err := g.Compile(be, params, grads, offsets)
				check(t, err)
				for _, name := range []string{"real", "fake"} {
					v := make([]float32, prog.Buffer(name).Len())
					r := philox.New(5, name, 0, 0)
					for i := range v {
						v[i] = float32(r.Float64())
					}
					check(t, be.Write(prog.Buffer(name), v))
				}
				loss := func(at []float32) float64 {
					check(t, be.Write(params, at))
					check(t, prog.Run())
					var v [1]float32
					check(t, be.Read(v[:], prog.Loss()))
					return float64(v[0])
				}
				loss(first)
				d := make([]float32, n)
				check(t, be.Read(d, grads))
				for i, p := range tok.Params {
					if p.Buffer { // its statistic, no gradient
						clear(d[offsets[i]:][:p.Len()])
					}
				}
				norm := 0.
				for _, v := range d {
					norm += float64(v) * float64(v)
				}
				norm = math.Sqrt(norm)
				// The penalty jumps where a leaky ReLU's input changes its sign: the difference is
				// small, and its weight so large that the loss changes by more than its rounding.
				const h = 2e-4
				along := func(by float64) []float32 {
					at := slices.Clone(first)
					for i, v := range d {
						at[i] += float32(by * float64(v) / norm)
					}
					return at
				}
				if slope := (loss(along(h)) - loss(along(-h))) / (2 * h); !(math.Abs(slope-norm) < .02*norm) {
					t.Errorf("the loss %.5g changes by %.5g along its gradient, of length %.5g", loss(first), slope, norm)
				}
				penalized := slices.ContainsFunc(prog.Terms, func(v Value) bool { return v.Name == "gradient_penalty" })
				if regular := slices.ContainsFunc(prog.Terms, func(v Value) bool { return v.Name == "lecam" }); regular != (a.LeCam > 0) {
					t.Errorf("LeCam: %v", regular)
				}
				if penalized != (a.Penalty != "none") || norm == 0 {
					t.Errorf("penalty: %v, gradient of length %g", penalized, norm)
				}
			})
		}
	}
}

// Windows are inside the frames, whole clips in order and at one place, and both sides of
// a discriminator's step see the same ones.
func TestDiscriminatorWindows(t *testing.T) {
	for _, kind := range []string{"image", patch3D, styleGAN3D} {
		tok := opposed(t, kind, func(c *Config) { c.Loss.Adversarial.Frames = 2 })
		s := Shape{N: 3, T: 5, H: 16, W: 20}
		g, err := tok.DiscriminatorStep(s, false, false)
		check(t, err)
		draws := map[string]bool{}
		for step := range 8 {
			at := make([]float32, g.scheduled[0].node.Shape().TotalSize())
			g.scheduled[0].at(StepPosition{Seed: 1, Step: step, Batches: 1}, at)
			draws[fmt.Sprint(at)] = true
			for i := range len(at) / 3 {
				frame, y, x := at[3*i], at[3*i+1], at[3*i+2]
				if frame < 0 || frame > 4 || y < 0 || y > 8 || x < 0 || x > 12 {
					t.Errorf("%s: window %d at %v", kind, i, at[3*i:][:3])
				}
				if first := i / 5 * 15; kind != "image" && (frame != float32(i%5) || y != at[first+1] || x != at[first+2]) {
					t.Errorf("window %d of a clip at %v, the first at %v", i%5, at[3*i:][:3], at[first:][:3])
				}
				if kind == "image" && i%2 == 1 && frame == at[3*i-3] {
					t.Errorf("frame %v of a clip twice", frame)
				}
			}
		}
		if len(draws) < 6 {
			t.Errorf("%s: %d different draws in 8 steps", kind, len(draws))
		}
	}
}

func TestDiscriminatorRefusals(t *testing.T) {
	c := opposed(t, "image", nil).Config
	for want, change := range map[string]func(c *Config){
		"model.discriminator.kind: \"vgg\": want image, patch3d, patchgan":                    func(c *Config) { c.Discriminator.Kind = "vgg" },
		"model.discriminator.size: 36: want a multiple of 8":                                  func(c *Config) { c.Discriminator.Size = 36 },
		"model.discriminator.size: 8: want a multiple of 4 of at least 16 with 3 scales":      func(c *Config) { c.Discriminator.Scales = 3 },
		"model.loss.adversarial.penalty: both: want none with discriminator.kind: patchgan3d": func(c *Config) { c.Discriminator.Kind, c.Discriminator.Size = patchGAN3D, 16 },
		"model.loss.adversarial.adaptive: \"yes\"":                                            func(c *Config) { c.Loss.Adversarial.Adaptive = "yes" },
		"model.loss.adversarial.lecam_decay: 1: want 0 to":                                    func(c *Config) { c.Loss.Adversarial.LeCamDecay = 1 },
		"model.loss.adversarial.penalty_every: 0: want 1 to":                                  func(c *Config) { c.Loss.Adversarial.PenaltyEvery = 0 },
	} {
		c := c
		change(&c)
		if err := c.Validate(); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	plain := opposed(t, "image", func(c *Config) { c.Discriminator.Kind = "" })
	if _, err := plain.DiscriminatorStep(Shape{N: 1, T: 2, H: 16, W: 16}, false, false); err == nil {
		t.Error("a tokenizer without a discriminator has a step of it")
	}
	if _, err := plain.GeneratorStep(Shape{N: 1, T: 2, H: 16, W: 16}, false); err == nil {
		t.Error("a tokenizer without a discriminator has an adversarial step")
	}
}

// Discriminators of published tokenizers judge frames in [-1,1], as in their projects; others those in [0,1].
func TestFramesThatDiscriminatorsJudge(t *testing.T) {
	for compat, want := range map[string]float32{"": .25, VidTok: -.5, OpenMagvit2: -.5, Lucidrains: .25} {
		c := Defaults()
		c.Compat, c.Discriminator.Kind, c.Discriminator.Size = compat, patchGAN, 4
		b := newBuilder(&Tokenizer{Config: c, index: map[string]int{}}, Shape{1, 1, 4, 4})
		b.output("judged", b.windows("frames", b.input("frames", 1, 1, 4, 4, 3))[0])
		g, err := b.finish()
		check(t, err)
		be := cpu(t)
		p, err := g.Compile(be, nil, nil, nil)
		check(t, err)
		check(t, be.Write(p.Buffer("frames"), slices.Repeat([]float32{.25}, 48)))
		check(t, p.Run())
		if got := p.Buffer("judged").(kernels.Host)[0]; got != want {
			t.Errorf("%q: %v, want %v", compat, got, want)
		}
	}
}

// The term has no weight while the discriminator is trained alone, and then all of it or more with each step of the ramp.
func TestAdversarialRamp(t *testing.T) {
	for _, c := range []struct {
		a    Adversarial
		want [6]float64 // of steps 10 to 15
	}{
		{Adversarial{Start: 10}, [6]float64{1, 1, 1, 1, 1, 1}},
		{Adversarial{Start: 10, Ramp: 4}, [6]float64{.25, .5, .75, 1, 1, 1}},
		{Adversarial{Start: 10, Pretrain: 3}, [6]float64{0, 0, 0, 1, 1, 1}},
		{Adversarial{Start: 10, Pretrain: 2, Ramp: 2}, [6]float64{0, 0, .5, 1, 1, 1}},
	} {
		for i, want := range c.want {
			if got := c.a.ramp(10 + i); got != want {
				t.Errorf("%+v: step %d has the factor %v, want %v", c.a, 10+i, got, want)
			}
		}
	}
}

// With a perceptual loss the reference's weight is of that term, taming's of all on pixels.
func TestAdaptiveWeightWithPerceptualLoss(t *testing.T) {
	net, err := NewLPIPS(randomLPIPS(false))
	check(t, err)
	for _, rule := range []string{"reference", "taming"} {
		tok := opposed(t, "image", func(c *Config) {
			c.Loss.Adversarial.Adaptive = rule
			c.Loss.Perceptual = Perceptual{Kind: "lpips", Weights: "w.pt", Weight: .1, Frames: 1}
		})
		tok.Perceptual = net
		g, err := tok.GeneratorStep(Shape{N: 1, T: 2, H: 16, W: 16}, false)
		check(t, err)
		var names []string
		for _, term := range g.Terms {
			names = append(names, term.Name)
		}
		for _, name := range []string{"recon", "perceptual", "generator", "adaptive_weight", "adversarial_share"} {
			if !slices.Contains(names, name) {
				t.Errorf("%s: no term %s among %v", rule, name, names)
			}
		}
		for i, p := range tok.Params {
			if (g.Grads[i] != nil) == p.Discriminator {
				t.Errorf("%s: gradient of %s: %v", rule, p.Name, g.Grads[i] != nil)
			}
		}
	}
}
