package trainer

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"magvit/trainer/checkpoint"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// A new run begins with the weights that evaluation uses of a run, a checkpoint or a file, under any settings.
func TestInit(t *testing.T) {
	base, _ := small(t, "train.steps=2")
	run(t, t.Context(), base)
	o, err := checkpoint.Open(base.Out)
	trainertest.Check(t, err)
	want, err := o.Weights()
	trainertest.Check(t, err)
	file := filepath.Join(t.TempDir(), "w.safetensors")
	trainertest.Check(t, o.WriteSafetensors(file))
	for _, from := range []string{base.Out, o.Dir, filepath.Join(base.Out, "checkpoints", "latest"), file} {
		n, log := small(t, "train.lr=1e-2", "train.batch=3", "train.steps=3", "train.seed=9", "train.ema.decay=0")
		n.Init = from
		tr := begun(t, n)
		got, err := tr.state.Read(tr.state.Params)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: other weights (%v)", from, err)
		}
		if _, err := tr.end(tr.train(t.Context())); err != nil {
			t.Fatal(err)
		}
		snap, err := checkpoint.Verify(filepath.Join(n.Out, "checkpoints", checkpoint.StepName(3)))
		if err != nil || snap.Step != 3 || !strings.Contains(snap.Init, "sha256") || !strings.Contains(log.String(), "beginning with the weights of") {
			t.Errorf("%s: %+v, %v\n%s", from, snap.Init, err, log)
		}
	}
}

// The command that began a run with other weights continues it too, and no other run.
func TestInitOfARunThatExists(t *testing.T) {
	base, _ := small(t, "train.steps=2")
	run(t, t.Context(), base)
	o, _ := small(t, "train.steps=4")
	o.Init = base.Out
	ctx, cancel := contextWithStop(t, &o, 2)
	defer cancel()
	if _, err := Run(ctx, o); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	o.OnStep = nil
	if r := run(t, t.Context(), o); r.Step != 4 {
		t.Errorf("at step %d", r.Step)
	}
	o.Out = base.Out
	o.Config.Train.Steps = 2
	_, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "began with other weights", "another --out")
}

func TestInitNamesWhatDoesNotFit(t *testing.T) {
	base, _ := small(t, "train.steps=1")
	run(t, t.Context(), base)
	other := []string{"model.layers=[residual, residual, [compress_time, 12], residual]", "train.steps=1"}
	o, _ := small(t, other...)
	o.Init = base.Out
	_, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "--init", "is missing", "--init-partial takes the")
	if !errors.Is(err, usage.Error) {
		t.Errorf("%v is not the user's", err)
	}
	if _, statErr := os.Stat(o.Out); !errors.Is(statErr, os.ErrNotExist) {
		t.Errorf("a refused run left %s behind", o.Out)
	}
	o, log := small(t, other...)
	o.Init, o.InitPartial = base.Out, true
	run(t, t.Context(), o)
	if !strings.Contains(log.String(), "do not fit are left out") {
		t.Errorf("no word on what was left out:\n%s", log)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no file":       {func(o *Options) { o.Init = "nowhere" }, "nowhere"},
		"PyTorch":       {func(o *Options) { o.Init = filepath.Join(t.TempDir(), "x.pt"); os.WriteFile(o.Init, nil, 0o666) }, "magvit import"},
		"partial alone": {func(o *Options) { o.InitPartial = true }, "--init-partial"},
		"both":          {func(o *Options) { o.Init, o.Resume = base.Out, base.Out }, "give one of them"},
	} {
		o, _ := small(t)
		c.change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, usage.Error) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// A checkpoint continues in another directory with other settings of the training, and the same network.
func TestResumeIntoAnotherRun(t *testing.T) {
	base, _ := small(t, "train.steps=4")
	run(t, t.Context(), base)
	o, log := small(t, "train.steps=6", "train.lr=1e-3", "train.seed=7", "data.flip=false")
	o.Resume = filepath.Join(base.Out, "checkpoints", checkpoint.StepName(4))
	if r := run(t, t.Context(), o); r.Step != 6 {
		t.Errorf("at step %d", r.Step)
	}
	for _, w := range []string{"with other settings", "train.lr: 0.001, was 0.004", "train.seed: 7, was 42"} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("the log lacks %q:\n%s", w, log)
		}
	}
	// best and latest name checkpoints of the new run, also where its first evaluation stays the best.
	for _, name := range []string{"best", "latest"} {
		text, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(o.Out, "checkpoints", strings.TrimSpace(string(text)), checkpoint.StateFile)); err != nil {
			t.Error(name, err)
		}
	}
	// In the same directory it is refused, with the ways that there are.
	o.Out, o.Resume = base.Out, "auto"
	_, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "train.lr: 0.001, was 0.004", "another --out", "--resume CHECKPOINT", "--init CHECKPOINT")
	// An average may begin in the new run.
	base, _ = small(t, "train.steps=2", "train.ema.decay=0")
	run(t, t.Context(), base)
	o, _ = small(t, "train.steps=3")
	o.Resume = base.Out
	run(t, t.Context(), o)
	// What only tells and keeps may change in place.
	for _, key := range []string{"train.log_every=2", "train.eval_every=1", "train.save_every=1", "train.samples=0", "train.keep_last=1", "train.eval_clips=2"} {
		o, _ := small(t, "train.steps=2", "train.ema.decay=0", key)
		o.Out = base.Out
		run(t, t.Context(), o)
	}
}

// A run of 4 steps that was made 8 long: its learning rate by train.extension, and a word on it.
func TestExtendingARun(t *testing.T) {
	set := []string{"train.warmup=2", "train.lr=8e-3", "train.final=0.25", "train.log_every=1", "train.save_every=2", "train.keep_last=0"}
	cosine := func(p float64) float64 { return 8e-3 * (.25 + .75*(1+math.Cos(math.Pi*p))/2) }
	for extension, want := range map[string][]float64{
		"schedule": {cosine(4. / 8), cosine(5. / 8), cosine(6. / 8), cosine(7. / 8)},
		"warmup":   {8e-3 / 2, cosine(1. / 4), cosine(2. / 4), cosine(3. / 4)},
		"constant": {cosine(3. / 4), cosine(3. / 4), cosine(3. / 4), cosine(3. / 4)},
	} {
		o, log := small(t, append(set, "train.steps=4")...)
		run(t, t.Context(), o)
		o.Config.Train.Steps, o.Config.Train.Extension = 8, extension
		ctx, cancel := contextWithStop(t, &o, 6)
		defer cancel()
		if _, err := Run(ctx, o); !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		o.OnStep = nil
		run(t, t.Context(), o) // interrupted on the way, it is still extended from step 4
		steps, _ := logged(t, o.Out)
		for i, w := range want {
			if got := steps[4+i]["lr"].(float64); math.Abs(got-w) > 1e-12 {
				t.Errorf("%s: rate of step %d is %g, want %g", extension, 5+i, got, w)
			}
		}
		if text := log.String(); !strings.Contains(text, "the run has another length") || !strings.Contains(text, "restarts warm-up") || strings.Count(text, "the run has another length") != 1 {
			t.Errorf("the log:\n%s", text)
		}
	}
}
