package model

import (
	"math"
	"testing"

	"magvit/kernels"
)

// latents runs an encoder on the first values of its parameters, changed by alter.
func latents(t *testing.T, c Config, cond []float32, alter func(name string, v []float32)) []float32 {
	t.Helper()
	tok, be := create(t, c), cpu(t)
	params, offsets := parameters(tok, 3)
	for i, p := range tok.Params {
		if alter != nil {
			alter(p.Name, params[offsets[i]:offsets[i]+p.Len()])
		}
	}
	g, err := tok.Encoder(Shape{2, 4, 8, 8})
	check(t, err)
	p, err := g.Compile(be, params, nil, offsets)
	check(t, err)
	video := uniform("video", p.Buffer("video").Len()/2)
	check(t, be.Write(p.Buffer("video"), append(video, video...))) // two equal clips
	if p.Buffer("cond") != nil {
		check(t, be.Write(p.Buffer("cond"), cond))
	}
	check(t, p.Run())
	z := make([]float32, p.Buffer("latents").Len())
	check(t, be.Read(z, p.Buffer("latents")))
	return z
}

// Conditional attention starts as attention without a condition, since gains start
// at 1; then each clip's condition matters to that clip alone.
func TestConditionalAttention(t *testing.T) {
	for plain, conditional := range map[string]string{AttendSpace: CondAttendSpace, LinearAttendSpace: CondLinearAttendSpace, AttendTime: CondAttendTime} {
		t.Run(conditional, func(t *testing.T) {
			c := small()
			c.Attention, c.LinearAttention = Heads{2, 4}, Heads{2, 4}
			c.Layers = []Layer{{Name: plain}}
			want := latents(t, c, nil, nil)
			c.Layers, c.DimCond = []Layer{{Name: conditional}}, 3
			cond := []float32{1, 2, 3, -1, 0, 5}
			got := latents(t, c, cond, nil)
			for i := range want {
				if math.Abs(float64(got[i]-want[i])) > 1e-5 {
					t.Fatalf("latent %d starts at %g, without condition at %g", i, got[i], want[i])
				}
			}
			open := func(name string, v []float32) {
				if len(name) > 16 && name[len(name)-15:] == "to_gamma.weight" {
					for i := range v {
						v[i] = float32(i%7)/7 - .4
					}
				}
			}
			got = latents(t, c, cond, open)
			first, second := got[:len(got)/2], got[len(got)/2:]
			if farthest(first, second) < 1e-3 {
				t.Error("two conditions make the same latents of one clip")
			}
			cond[3] = 7
			if again := latents(t, c, cond, open); farthest(first, again[:len(first)]) != 0 || farthest(second, again[len(first):]) < 1e-3 {
				t.Error("the second clip's condition does not reach it, or reaches the first")
			}
		})
	}
}

func farthest(a, b []float32) (d float64) {
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// entropies builds LFQ alone.
func entropies(t *testing.T, c Config, z []float32) (b *builder, in feed, run func() map[string]float64) {
	t.Helper()
	c.InitDim, c.Layers = quantizerOf(t, c).dims(), nil
	b = newBuilder(&Tokenizer{Config: c, index: map[string]int{}}, Shape{})
	b.declare = true
	x := b.input("x", len(z)/c.InitDim, 1, 1, 1, c.InitDim)
	out := b.quantize(x)
	in = feed{x: z}
	total := b.total(out.terms)
	check(t, b.err)
	g := &golden{t: t, be: cpu(t)}
	return b, in, func() map[string]float64 {
		v := map[string]float64{"total": float64(g.run(in, total)[0][0])}
		for _, term := range out.terms {
			v[term.Name] = float64(g.run(in, term.Node)[0][0])
		}
		return v
	}
}

// The exact entropies and those of compat differ by the floor in the logarithm
// alone; spherical codes have another size in both.
func TestEntropiesWithAndWithoutFloor(t *testing.T) {
	for _, spherical := range []bool{false, true} {
		c := withLFQ(64)
		c.Quantizer.Spherical, c.Quantizer.CommitmentWeight, c.Quantizer.InvTemperature = spherical, 1, 2
		z := uniform("latents", 20*6)
		for i := range z {
			z[i] -= .5
		}
		_, _, run := entropies(t, c, z)
		exact := run()
		c.Compat = Lucidrains
		_, _, run = entropies(t, c, z)
		for name, want := range run() {
			if math.Abs(exact[name]-want) > 2e-3*math.Abs(want) {
				t.Errorf("spherical %v: %s is %g, with the floor %g", spherical, name, exact[name], want)
			}
		}
	}
}

// entropy_boost falls in a line to 1, and counts for the entropies alone.
func TestEntropyBoost(t *testing.T) {
	c := withLFQ(64)
	c.Quantizer.EntropyBoost, c.Quantizer.EntropyBoostSteps, c.Quantizer.InvTemperature = 3, 2000, 2
	for step, want := range map[int]float64{0: 3, 500: 2.5, 1999: 1.001, 2000: 1, 1 << 30: 1} {
		if got := c.Quantizer.boost(step); math.Abs(got-want) > 1e-12 {
			t.Errorf("step %d: %g, want %g", step, got, want)
		}
	}
	z := uniform("latents", 20*6)
	b, in, run := entropies(t, c, z)
	if len(b.graph.scheduled) != 1 {
		t.Fatalf("%d scheduled inputs, want one", len(b.graph.scheduled))
	}
	boost := b.graph.scheduled[0].node
	in[boost] = []float32{1}
	once := run()
	in[boost] = []float32{3}
	q := c.Quantizer
	want := once["total"] + 2*q.EntropyWeight*(once["sample_entropy"]-q.DiversityGamma*once["codebook_entropy"])
	if got := run()["total"]; math.Abs(got-want) > 1e-6 {
		t.Errorf("boosted loss %g, want %g (once %g)", got, want, once["total"])
	}
	tok := create(t, c)
	g, err := tok.Training(Shape{1, 4, 16, 16})
	check(t, err)
	params, offsets := parameters(tok, 1)
	p, err := g.Compile(cpu(t), params, make(kernels.Host, len(params)), offsets)
	check(t, err)
	at := p.Plan.Buffer(g.scheduled[0].node).(kernels.Host)
	if at[0] != 1 {
		t.Errorf("a program's boost starts as %v, want 1", at[0])
	}
	if check(t, p.SetStep(StepPosition{Step: 500, Batches: 1})); at[0] != 2.5 {
		t.Errorf("at step 500 a program's boost is %v, want 2.5", at[0])
	}
}
