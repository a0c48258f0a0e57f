package kernels_test

import (
	"math"
	"slices"
	"testing"

	"magvit/kernels"
)

// Two updates of one parameter, worked in float64 by another program.
func TestAdamWTrace(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	s := kernels.AdamW{Len: 1}
	for name, update := range map[string]func(args ...[]float32){
		"definition": s.Define,
		"cpu":        onCPU(t, be, s),
	} {
		p, m, v, ema := []float32{1}, []float32{0}, []float32{0}, []float32{1}
		hyper := []float32{.1, .1, .01, 1e-8, .01, .1, .01, 0, .25, 1}
		update(p, m, v, ema, []float32{.5}, []float32{.25}, hyper)
		near(t, name+", update 1", []float32{p[0], m[0], v[0], ema[0]}, []float32{.8990000, .05, .0025, .97475})
		hyper[kernels.HyperCorrect1], hyper[kernels.HyperCorrect2] = .19, .0199
		update(p, m, v, ema, []float32{-.25}, []float32{.0625}, hyper)
		near(t, name+", update 2", []float32{p[0], m[0], v[0], ema[0]}, []float32{.8714311, .02, .0031, .9489203})
	}
}

// Scale, then clip: norm 2·.5 = 1 becomes .25, the gradient 2·.5 becomes .25.
func TestAdamWScalesAndClips(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	s := kernels.AdamW{Len: 1}
	for name, update := range map[string]func(args ...[]float32){"definition": s.Define, "cpu": onCPU(t, be, s)} {
		m := []float32{0}
		update([]float32{1}, m, []float32{0}, []float32{1}, []float32{2}, []float32{4}, []float32{.1, .1, .01, 1e-8, 0, .1, .01, .25, .1, .5})
		near(t, name+", clipped", m, []float32{.02499998})
		m[0] = 0
		update([]float32{1}, m, []float32{0}, []float32{1}, []float32{2}, []float32{4}, []float32{.1, .1, .01, 1e-8, 0, .1, .01, 3, .1, .5})
		near(t, name+", within the norm", m, []float32{.1})
	}
}

func TestAdamWSkipsAGradientThatIsNotFinite(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	s := kernels.AdamW{Len: 2}
	for name, update := range map[string]func(args ...[]float32){"definition": s.Define, "cpu": onCPU(t, be, s)} {
		for _, norm2 := range []float64{math.NaN(), math.Inf(1)} {
			state := [][]float32{{1, 2}, {3, 4}, {5, 6}, {7, 8}}
			update(append(slices.Clone(state), []float32{float32(norm2), 1}, []float32{float32(norm2)}, []float32{.1, .1, .01, 1e-8, .01, .1, .01, 1, .1, 1})...)
			if got := slices.Concat(state...); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6, 7, 8}) {
				t.Errorf("%s: norm² %v changed the state to %v", name, norm2, got)
			}
		}
	}
}

func onCPU(t *testing.T, be kernels.Backend, s kernels.Spec) func(args ...[]float32) {
	t.Helper()
	k, err := be.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...[]float32) {
		var bufs []kernels.Buffer
		for _, a := range args {
			bufs = append(bufs, kernels.Host(a))
		}
		k.Run(bufs...)
	}
}

func TestAdamWValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.AdamW{}, "Len is 0"},
		refusal{kernels.AdamW{Len: 1, EMAEvery: -1}, "EMAEvery is -1"},
	)
}
