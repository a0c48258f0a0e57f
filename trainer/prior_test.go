package trainer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/philox"
	"magvit/model"
	"magvit/trainer/codes"
	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/task"
)

// codesSet is clips of 3×1×2 codes of 12 in two classes: in a clip of class 1 the codes are
// 4 more, and the two places swap their codes in each frame.
func codesSet(t *testing.T, clips int) *codes.Source {
	t.Helper()
	h := codes.Header{Grid: [3]int{3, 1, 2}, Codebooks: 1, Codebook: 12, Levels: []int{4, 3}, Tokenizer: "sum"}
	b := codes.Block{}
	for i := range clips {
		b.Names, b.Labels = append(b.Names, fmt.Sprintf("clip %d", i)), append(b.Labels, int64(i%2))
		r := philox.New(5, "codes", uint64(i), 0)
		var first [2]int
		for p := range first {
			first[p] = r.IntN(4)
		}
		for f := range 3 {
			for p := range first {
				b.Codes = append(b.Codes, int32(first[(p+f*(i%2))%2]+4*(i%2)))
			}
		}
	}
	b.Frames, b.FPS, b.FrameRange = make([]int32, clips), make([]float32, clips), make([][2]int32, clips)
	path := filepath.Join(t.TempDir(), "codes.npz")
	if err := codes.WriteNPZ(path, h, b, nil); err != nil {
		t.Fatal(err)
	}
	s, err := codes.OpenSource(t.Context(), []string{path})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// priorRun is the options of a run of a tiny prior.
func priorRun(t *testing.T, kind string, clips, steps int) Options {
	t.Helper()
	cfg, err := config.Preset("prior-demo")
	if err != nil {
		t.Fatal(err)
	}
	p := &cfg.Model.Prior
	p.Kind, p.Width, p.Blocks, p.Heads, p.Digits = kind, 16, 2, 2, []int{4, 3}
	cfg.Train.Steps, cfg.Train.Minutes, cfg.Train.LogEvery, cfg.Train.EvalEvery, cfg.Train.SaveEvery, cfg.Train.Warmup = steps, 0, 1, 0, 0, 5
	be := kernels.NewCPU(1)
	t.Cleanup(func() { be.Close() })
	return Options{Config: cfg, Source: codesSet(t, clips), Out: filepath.Join(t.TempDir(), "run"), Resume: "auto", Backend: be}
}

// Both kinds learn codes that follow from the class and the frame before, which the models
// without a network know in part: they see no class.
func TestPriorsLearn(t *testing.T) {
	for _, kind := range []string{model.Masked, model.Autoregressive} {
		o := priorRun(t, kind, 600, 400)
		o.Config.Train.Batch, o.Config.Train.LR, o.Config.Model.Prior.LabelSmoothing = 16, 1e-2, 0
		r := run(t, t.Context(), o).Likelihood
		t.Logf("%s: %+v", kind, r)
		// 2 bits for a code of the first frame, as the class is known, and none for the others: 0.67.
		if r == nil || r.Clips != 40 || r.Tokens != 6 || r.Kind != kind || !(r.Bits < r.FrameBefore) || !(r.Bits < r.Unigram-1) || r.Bound != (kind == model.Masked) {
			t.Errorf("%s: %+v", kind, r)
		}
		// Codes of class 1 are none of class 0: each class but the own one is wrong.
		if c := r.Classes; c == nil || c.Clips != 40 || c.Accuracy < .9 || !(c.Low < c.Accuracy) || c.Chance != .5 || !(c.Other > r.Bits+1) || !(c.Without > r.Bits) {
			t.Errorf("%s: classes by likelihood %+v", kind, c)
		}
		if _, err := os.Stat(filepath.Join(o.Out, metrics.PriorFile)); err != nil {
			t.Error(err)
		}
		page, err := os.ReadFile(filepath.Join(o.Out, "report.html"))
		if err != nil || !strings.Contains(string(page), "The prior predicts 40 held-out clips") || !strings.Contains(string(page), "Bits for each code") {
			t.Errorf("the report does not show the prior (%v)", err)
		}
	}
}

// A prior's run in one piece and one interrupted twice have the same bits.
func TestPriorResumes(t *testing.T) {
	straight := priorRun(t, model.Masked, 20, 6)
	straight.Config.Train.SaveEvery, straight.Config.Train.EvalEvery, straight.Config.Train.Accumulate = 2, 3, 2
	run(t, t.Context(), straight)
	parts := straight
	parts.Out = filepath.Join(t.TempDir(), "parts")
	for _, stop := range []int{3, 4} {
		ctx, cancel := context.WithCancel(t.Context())
		o := parts
		o.OnStep = func(step int) {
			if step == stop {
				cancel()
			}
		}
		if r, err := Run(ctx, o); err == nil || r.Step != stop {
			t.Fatalf("interrupted at step %d: stopped at step %d with error %v", stop, r.Step, err)
		}
		cancel()
	}
	if r := run(t, t.Context(), parts); r.Likelihood == nil {
		t.Error("no evaluation at the end")
	}
	for _, file := range []string{"model.safetensors", "optimizer.safetensors"} {
		a, errA := os.ReadFile(filepath.Join(straight.Out, "checkpoints", "step-000006", file))
		b, errB := os.ReadFile(filepath.Join(parts.Out, "checkpoints", "step-000006", file))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs between a run in one piece and a resumed one (%v, %v)", file, errA, errB)
		}
	}
	if a, b := timeless(t, straight.Out), timeless(t, parts.Out); a != b {
		t.Errorf("metrics differ:\n%s\n%s", a, b)
	}
}

// What codes do not have is refused with the key.
func TestPriorRefusals(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"data.flip=true", "data.flip: set with model.prior.kind"},
		{"model.prior.digits=[4, 4]", "model.prior.digits: [4 4]: they make 16 codes"},
		{"model.prior.classes=1", "model.prior.classes: 1"},
		{"model.prior.tokenizer=other", "model.prior.tokenizer: other"},
		{"model.prior.grid=[3, 2, 2]", "this prior takes [3 2 2]"},
		{"train.shuffle_labels=true", "train.shuffle_labels: false"},
		{"train.tokenizer=runs/demo", "the data are codes already"},
		{"model.prior.clip=[1, 2]", "model.prior.clip: [1 2]"},
	} {
		o := priorRun(t, model.Masked, 10, 1)
		if err := o.Config.Set(c.set); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.set, err, c.want)
		}
	}
	o := priorRun(t, model.Masked, 10, 1)
	run(t, t.Context(), o)
	if _, err := task.OpenCodec(o.Backend, o.Out); err == nil || !strings.Contains(err.Error(), "a prior over codes") {
		t.Errorf("a prior as a tokenizer: %v", err)
	}
}
