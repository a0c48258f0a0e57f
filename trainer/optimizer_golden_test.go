package trainer

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/nlpodyssey/safetensors"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/config"
	"magvit/trainer/trainertest"
)

// trace is a golden file of an optimizer: what the reference's own code did.
type trace struct {
	t       *testing.T
	tensors safetensors.SafeTensors
	Config  struct {
		LR, WD, Eps, Beta float64
		Betas             [2]float64
		Warmup            int  `json:"warmup_steps"`
		After             *int `json:"update_after_step"`
		Every             *int `json:"update_every"`
	}
	Options   struct{ Steps int }
	Tolerance map[string][]float64
}

func openTrace(t *testing.T, name string) *trace {
	t.Helper()
	raw, err := os.ReadFile("../testdata/golden/optimizer." + name + ".safetensors")
	trainertest.Check(t, err)
	r := &trace{t: t}
	r.tensors, err = safetensors.Deserialize(raw)
	trainertest.Check(t, err)
	_, meta, err := safetensors.ReadMetadata(raw)
	trainertest.Check(t, err)
	trainertest.Check(t, json.Unmarshal([]byte(meta.Metadata()["case"]), r))
	return r
}

func (r *trace) values(name string) (v []float32, shape []int) {
	r.t.Helper()
	x, ok := r.tensors.Tensor(name)
	if !ok {
		r.t.Fatalf("no tensor %s", name)
	}
	for b := x.Data(); len(b) > 0; b = b[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	for _, d := range x.Shape() {
		shape = append(shape, int(d))
	}
	return v, shape
}

// compare holds values to the file's within its limits.
func (r *trace) compare(name string, got []float32) {
	r.t.Helper()
	want, _ := r.values(name)
	if len(got) != len(want) {
		r.t.Fatalf("%s has %d values, want %d", name, len(got), len(want))
	}
	diff, size := 0., 0.
	for i, w := range want {
		d := math.Abs(float64(got[i]) - float64(w))
		if !(d <= r.Tolerance[name][0]) {
			r.t.Errorf("%s[%d] is %v, want %v within %v", name, i, got[i], w, r.Tolerance[name][0])
		}
		diff, size = diff+d*d, size+float64(w)*float64(w)
	}
	if diff > r.Tolerance[name][1]*size {
		r.t.Errorf("%s: squared error %.3g of the values', want %.3g", name, diff/size, r.Tolerance[name][1])
	}
}

// The optimizer that trains follows the reference's: AdamW with decay on two or more axes
// only, ema-pytorch's average, the linear warm-up as it is meant.
func TestOptimizerFollowsReference(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	start := func(t *testing.T, cfg config.Train, tok *model.Tokenizer) (*checkpoint.State, *optimizer) {
		st, err := checkpoint.NewState(be, tok)
		trainertest.Check(t, err)
		v, err := newOptimizer(cfg, st, all(max(1, cfg.Accumulate)))
		trainertest.Check(t, err)
		return st, v
	}
	for _, name := range []string{"adam", "adamw"} {
		t.Run(name, func(t *testing.T) {
			r := openTrace(t, name)
			c := r.Config
			cfg := config.Train{LR: c.LR, Betas: c.Betas, Eps: c.Eps, WeightDecay: c.WD, Schedule: "constant", Accumulate: 1}
			names := []string{"gamma", "matrix", "vector"}
			tok := &model.Tokenizer{}
			for _, n := range names {
				_, shape := r.values("param." + n)
				tok.Params = append(tok.Params, model.Param{Name: n, Shape: shape, Decay: len(shape) > 1})
			}
			st, v := start(t, cfg, tok)
			part := func(arena kernels.Buffer, i int) kernels.Buffer {
				return arena.Slice(st.Offsets[i], st.Offsets[i]+tok.Params[i].Len())
			}
			read := func(arena kernels.Buffer, i int) []float32 {
				x := make([]float32, tok.Params[i].Len())
				trainertest.Check(t, be.Read(x, part(arena, i)))
				return x
			}
			for i, n := range names {
				p, _ := r.values("param." + n)
				trainertest.Check(t, be.Write(part(st.Params, i), p))
			}
			traces := make([][]float32, len(names))
			for step := range r.Options.Steps {
				for i, n := range names {
					g, _ := r.values("in.grad." + n)
					trainertest.Check(t, be.Write(part(st.Grads, i), g[step*tok.Params[i].Len():][:tok.Params[i].Len()]))
				}
				optimizerStep(t, v, Position{Step: step, Updates: step}, make(kernels.Host, model.MaxScalars))
				for i := range names {
					traces[i] = append(traces[i], read(st.Params, i)...)
				}
			}
			for i, n := range names {
				r.compare("out."+n, traces[i])
				r.compare("out.exp_avg."+n, read(st.M, i))
				r.compare("out.exp_avg_sq."+n, read(st.V, i))
			}
		})
	}
	for _, name := range []string{"ema_default", "ema_every", "ema_short"} {
		t.Run(name, func(t *testing.T) {
			r := openTrace(t, name)
			ema := config.EMA{Decay: .9999, UpdateAfter: 100, UpdateEvery: 10} // ema-pytorch's
			if r.Config.Beta != 0 {
				ema = config.EMA{Decay: r.Config.Beta, UpdateAfter: *r.Config.After, UpdateEvery: *r.Config.Every}
			}
			values, shape := r.values("in.values")
			n := shape[1]
			st, v := start(t, config.Train{Betas: [2]float64{.9, .99}, Eps: 1, Schedule: "constant", Accumulate: 1, EMA: ema},
				&model.Tokenizer{Params: []model.Param{{Name: "values", Shape: []int{n}}}})
			var got []float32
			for step := range r.Options.Steps {
				trainertest.Check(t, be.Write(st.Params, values[step*n:][:n]))
				optimizerStep(t, v, Position{Step: step, Updates: step}, make(kernels.Host, model.MaxScalars))
				now := make([]float32, n)
				trainertest.Check(t, be.Read(now, st.EMA))
				got = append(got, now...)
			}
			r.compare("out.ema", got)
		})
	}
	t.Run("warmup", func(t *testing.T) {
		r := openTrace(t, "warmup")
		var got []float32
		for step := range r.Options.Steps {
			got = append(got, float32(learningRate(config.Train{LR: r.Config.LR, Warmup: r.Config.Warmup, Schedule: "constant"}, Position{Step: step})))
		}
		r.compare("out.lr", got)
		if i := slices.Index(got, float32(r.Config.LR)); i != r.Config.Warmup-1 {
			t.Errorf("the full rate is reached at step %d, want %d", i, r.Config.Warmup-1)
		}
	})
}
