package trainer

import (
	"errors"
	"math"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
)

func TestSchedule(t *testing.T) {
	cosine := config.Train{LR: .01, Warmup: 4, Schedule: "cosine", Final: .1}
	constant := config.Train{LR: .01, Warmup: 4, Schedule: "constant"}
	for _, c := range []struct {
		train    config.Train
		step     int
		progress float64
		want     float64
	}{
		{constant, 0, 0, .0025}, {constant, 1, .1, .005}, {constant, 2, .2, .0075}, {constant, 3, .3, .01}, {constant, 100, 1, .01},
		{cosine, 1, 0, .005}, {cosine, 10, 0, .01}, {cosine, 10, .5, .0055}, {cosine, 10, 1, .001}, {cosine, 10, 7, .001},
		{cosine, 10, 1. / 3, .00775}, // .1 + .9·(1+cos 60°)/2 = .775
		{config.Train{LR: .01, Schedule: "constant"}, 0, 0, .01},
	} {
		if got := learningRate(c.train, Position{Step: c.step, Progress: c.progress}); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%+v: rate(%d, %g) = %g, want %g", c.train, c.step, c.progress, got, c.want)
		}
	}
}

// The average's rates are ema-pytorch's: copies at 0 and up to update_after, then
// every update_every steps 1 minus a decay of 1-(1+n)^-2/3, at most decay.
func TestEMARate(t *testing.T) {
	e := config.EMA{Decay: .9, UpdateAfter: 10, UpdateEvery: 5}
	for step, want := range map[int]float64{0: 1, 1: 0, 4: 0, 5: 1, 10: 1, 11: 0, 15: .3028534321386899, 20: .20218000823357415, 60: .1, 61: 0} {
		if got := emaRate(e, step); math.Abs(got-want) > 1e-15 {
			t.Errorf("rate after %d steps: %.17g, want %.17g", step, got, want)
		}
	}
	if got := emaRate(config.EMA{UpdateEvery: 1}, 0); got != 0 {
		t.Errorf("no average, yet rate %g", got)
	}
}

// One step on one decayed and one other value, by hand. The gradient is the mean
// of two batches, (3, 4), so its norm is 5; clipping to 1 leaves (.6, .8). With
// betas (.5, .75) the moments become half the gradient and a quarter of its
// square; the first update's correction makes the step lr times its sign:
// p - lr·sign, after decay p·(1 - lr·wd).
func TestOptimizerStep(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	tok := &model.Tokenizer{Params: []model.Param{{Name: "bias", Shape: []int{1}}, {Name: "weight", Shape: []int{1, 1}, Decay: true}}}
	for _, c := range []struct{ clip, g, gBias float64 }{{1, .6, .8}, {100, 3, 4}, {0, 3, 4}} {
		st, err := checkpoint.NewState(be, tok)
		if err != nil {
			t.Fatal(err)
		}
		if st.Offsets[1] != 0 || st.Offsets[0] != 16 || st.Decayed != 16 || st.Len != 32 {
			t.Fatalf("table %+v: want the decayed parameter first, each at a multiple of 16", st.Layout)
		}
		cfg := config.Train{LR: .125, Betas: [2]float64{.5, .75}, Eps: 1e-12, WeightDecay: 2, Schedule: "constant", ClipNorm: c.clip, Accumulate: 2,
			EMA: config.EMA{Decay: .5, UpdateEvery: 1}}
		v, err := newOptimizer(cfg, st, all(max(1, cfg.Accumulate)))
		if err != nil {
			t.Fatal(err)
		}
		write := func(b kernels.Buffer, weight, bias float32) {
			if err := errors.Join(be.Write(b.Slice(0, 1), []float32{weight}), be.Write(b.Slice(16, 17), []float32{bias})); err != nil {
				t.Fatal(err)
			}
		}
		write(st.Params, 8, 8)
		for part, g := range [][2]float32{{2, 6}, {4, 2}} {
			write(st.Grads, g[0], g[1])
			if part == 0 {
				v.accumulate(make(kernels.Host, model.MaxScalars), push{})
			}
		}
		if norm := finishOptimizerStep(t, v, Position{}, make(kernels.Host, model.MaxScalars), push{1, 1}); norm != 5 {
			t.Fatalf("norm %v, want 5", norm)
		}
		for _, w := range []struct {
			name         string
			of           kernels.Buffer
			weight, bias float64
		}{
			{"params", st.Params, 8*.75 - .125, 8 - .125}, {"ema", st.EMA, 8*.75 - .125, 8 - .125},
			{"m", st.M, c.g / 2, c.gBias / 2}, {"v", st.V, c.g * c.g / 4, c.gBias * c.gBias / 4},
		} {
			arena, err := st.Read(w.of)
			if err != nil {
				t.Fatal(err)
			}
			// float32 rounds to 6e-8; the clipping factor has 1e-6 in its divisor.
			if math.Abs(float64(arena[0])-w.weight) > 1e-6 || math.Abs(float64(arena[16])-w.bias) > 1e-6 {
				t.Errorf("clip %g: %s %v and %v, want %v and %v", c.clip, w.name, arena[0], arena[16], w.weight, w.bias)
			}
			for i, x := range arena {
				if i != 0 && i != 16 && x != 0 {
					t.Errorf("%s: %v between the parameters", w.name, x)
				}
			}
		}
	}
}

// optimizerStep is a step of one batch, on the CPU. It returns the norm.
func optimizerStep(t *testing.T, v *optimizer, m Position, batch kernels.Buffer) float64 {
	t.Helper()
	return finishOptimizerStep(t, v, m, batch, push{})
}

// finishOptimizerStep is the last batch of a step, and the update.
func finishOptimizerStep(t *testing.T, v *optimizer, m Position, batch kernels.Buffer, p push) float64 {
	t.Helper()
	if err := v.schedule(m); err != nil {
		t.Fatal(err)
	}
	v.accumulate(batch, p)
	v.update()
	norm, _, err := v.read()
	if err != nil {
		t.Fatal(err)
	}
	return norm
}

// A loss that is not finite keeps a step from being applied, and so does a gradient,
// whichever of the batches has it; the step after it is applied.
func TestOptimizerRefusesWhatIsNotFinite(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		name       string
		loss, grad [2]float32
		applied    bool
	}{
		{"finite", [2]float32{1, 3}, [2]float32{1, 2}, true},
		{"the last loss", [2]float32{1, nan}, [2]float32{1, 2}, false},
		{"the first loss", [2]float32{inf, 1}, [2]float32{1, 2}, false},
		{"losses that cancel", [2]float32{inf, -inf}, [2]float32{1, 2}, false},
		{"the first gradient", [2]float32{1, 1}, [2]float32{nan, 2}, false},
		{"the last gradient", [2]float32{1, 1}, [2]float32{1, -inf}, false},
		{"a norm beyond float32", [2]float32{1, 1}, [2]float32{1, 3e38}, false},
	} {
		st, err := checkpoint.NewState(be, &model.Tokenizer{Params: []model.Param{{Name: "weight", Shape: []int{1, 1}, Decay: true}}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := newOptimizer(config.Train{LR: .1, Betas: [2]float64{.9, .99}, Eps: 1e-8, Accumulate: 2, EMA: config.EMA{Decay: .5, UpdateEvery: 1}}, st, all(2))
		if err != nil {
			t.Fatal(err)
		}
		step := func(loss, grad [2]float32) (norm float64, means [line]float64) {
			scalars := make(kernels.Host, model.MaxScalars)
			for part := range 2 {
				scalars[0], scalars[1] = loss[part], 10*loss[part]
				st.Grads.(kernels.Host)[0] = grad[part]
				if part == 0 {
					v.accumulate(scalars, push{})
				}
			}
			finishOptimizerStep(t, v, Position{}, scalars, push{1, 1})
			norm, means, err := v.read()
			if err != nil {
				t.Fatal(err)
			}
			return norm, means
		}
		arenas := []kernels.Buffer{st.Params, st.M, st.V, st.EMA}
		norm, means := step(c.loss, c.grad)
		if finite(norm) != c.applied {
			t.Errorf("%s: norm %v, applied is to be %v", c.name, norm, c.applied)
		}
		if c.applied && (means[0] != 2 || means[1] != 20 || norm != 1.5) {
			t.Errorf("%s: loss %v, its term %v, norm %v; want 2, 20, 1.5", c.name, means[0], means[1], norm)
		}
		for i, a := range arenas {
			if changed := a.(kernels.Host)[0] != 0; changed != c.applied {
				t.Errorf("%s: arena %d is %v", c.name, i, a.(kernels.Host)[0])
			}
		}
		if norm, _ := step([2]float32{1, 1}, [2]float32{1, 1}); norm != 1 {
			t.Errorf("%s: norm of the step after it %v, want 1", c.name, norm)
		}
	}
}
