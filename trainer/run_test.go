package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
	"magvit/trainer/rundir"
	"magvit/trainer/task"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// begun is a run about to take its next step.
func begun(t *testing.T, o Options) *training {
	t.Helper()
	tr, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.end(nil) })
	return tr
}

// again is a step of a batch.
func again(t *testing.T, tr *training, b *data.Batch) {
	t.Helper()
	tr.current = step{began: tr.clock()}
	if err := tr.stepper.Feed(b); err != nil {
		t.Fatal(err)
	}
	if err := tr.enqueue(0); err != nil {
		t.Fatal(err)
	}
	if err := tr.finishStep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOverfitsOneBatch(t *testing.T) {
	o, _ := small(t, "train.lr=1e-2", "train.steps=800", "model.init_dim=24", "data.shift=0", "data.flip=false")
	tr := begun(t, o)
	batch, err := tr.loader.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var first, last float64
	for step := range o.Config.Train.Steps {
		again(t, tr, batch)
		if last = tr.current.Loss; step == 0 {
			first = last
		}
	}
	t.Logf("loss on one batch: %.5f, after %d steps %.7f", first, o.Config.Train.Steps, last)
	// 1e-3 of the first loss is 30 dB: nothing but memory of the batch gets there.
	if !(last < first/1000) {
		t.Errorf("loss went from %g to %g, want less than a thousandth", first, last)
	}
}

// A run on one core, on two, and with other numbers of workers has the same bits.
func TestSameBitsOnAnyNumberOfCores(t *testing.T) {
	var want [2][]byte
	for i, workers := range []int{1, 2, 5} {
		o, _ := small(t, "train.steps=3", "data.workers="+[]string{"1", "4", "0"}[i])
		o.Backend = kernels.NewCPU(workers)
		run(t, t.Context(), o)
		o.Backend.Close()
		for k, file := range []string{checkpoint.ModelFile, checkpoint.OptimizerFile} {
			got, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(3), file))
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want[k] = got
			} else if !bytes.Equal(got, want[k]) {
				t.Errorf("%s differs between 1 and %d workers", file, workers)
			}
		}
	}
}

func poison(t *testing.T, tr *training, to kernels.Buffer, at int) {
	t.Helper()
	if err := tr.be.Write(to.Slice(at, at+1), []float32{float32(math.NaN())}); err != nil {
		t.Fatal(err)
	}
}

func TestNaNStopsTheRunAndKeepsTheCheckpoint(t *testing.T) {
	o, log := small(t, "train.save_every=2", "train.nan_patience=3", "train.steps=20")
	tr := begun(t, o)
	i := slices.IndexFunc(tr.net.Declared(), func(p model.Param) bool { return p.Name == "conv_out.conv.weight" })
	tr.opt.OnStep = func(step int) {
		if step == 3 {
			poison(t, tr, tr.state.Params, tr.state.Offsets[i]+1)
		}
	}
	r, err := tr.end(tr.train(t.Context()))
	trainertest.Refused(t, err, "step 6: parameter conv_out.conv.weight[1] = NaN", "3 steps in a row", "step-000002")
	if r.Step != 5 || r.Checkpoint != checkpoint.StepName(2) {
		t.Errorf("stopped after step %d with checkpoint %s, want 5 and step-000002", r.Step, r.Checkpoint)
	}
	if n := strings.Count(log.String(), "step not applied"); n != 3 {
		t.Errorf("%d warnings, want 3:\n%s", n, log)
	}
}

// A gradient that is not finite leaves everything as it was, and training goes on.
func TestBadStepChangesNothing(t *testing.T) {
	o, _ := small(t)
	tr := begun(t, o)
	step := func(spoil bool) {
		batch, err := tr.loader.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if spoil {
			batch.Video[0] = float32(math.NaN())
		}
		again(t, tr, batch)
		if err := tr.logStep(); err != nil {
			t.Fatal(err)
		}
	}
	step(false)
	before := arenas(t, tr.state)
	step(true)
	for i, a := range arenas(t, tr.state) {
		if !slices.Equal(a, before[i]) {
			t.Errorf("arena %d changed", i)
		}
	}
	step(false)
	if slices.Equal(arenas(t, tr.state)[0], before[0]) {
		t.Error("training did not go on")
	}
	if s := tr.snap; s.Step != 3 || s.Skipped != 1 || s.BadInARow != 0 {
		t.Errorf("%d steps, %d skipped, %d in a row; want 3, 1, 0", s.Step, s.Skipped, s.BadInARow)
	}
	steps, _ := logged(t, o.Out)
	if steps[1]["skipped"] != 1. || steps[1]["grad_norm"] != nil || steps[2]["skipped"] != nil {
		t.Errorf("records %v", steps)
	}
}

func TestRunDirectoryRules(t *testing.T) {
	o, _ := small(t, "train.steps=2")
	run(t, t.Context(), o)
	records, err := os.ReadFile(filepath.Join(o.Out, rundir.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"never":         {func(o *Options) { o.Resume = "never" }, []string{"is not empty", "--resume auto"}},
		"other config":  {func(o *Options) { o.Config.Train.LR = 1; o.Config.Model.InitDim = 9 }, []string{"another configuration", "train.lr: 1, was 0.004", "model.init_dim: 9, was 8"}},
		"no run":        {func(o *Options) { o.Out = foreign }, []string{"holds other files and no run"}},
		"a file":        {func(o *Options) { o.Out = filepath.Join(foreign, "thesis.tex") }, []string{"run directory", "not a directory"}},
		"no checkpoint": {func(o *Options) { o.Resume = foreign; o.Out = filepath.Join(foreign, "x") }, []string{"no checkpoint there"}},
		"no such":       {func(o *Options) { o.Resume = "aut"; o.Out = filepath.Join(foreign, "x") }, []string{"checkpoint: ", "aut"}},
		"no name":       {func(o *Options) { o.Out = "" }, []string{"--out"}},
		"few clips": {func(o *Options) {
			o.Source = trainertest.Squares{Clips: 1, Frames: 4, Side: 16}
			o.Out = filepath.Join(foreign, "x")
		}, nil},
		"other shape": {func(o *Options) {
			o.Source = trainertest.Squares{Clips: 16, Frames: 4, Side: 18}
			o.Out = filepath.Join(foreign, "x")
		}, []string{"does not fit", "multiples of 4"}},
		"condition": {func(o *Options) {
			o.Config.Model.DimCond, o.Config.Model.Layers = 4, []model.Layer{{Name: "cond_residual"}}
		}, []string{"model.layers[0]", "cond_residual needs a condition"}},
		"precision": {func(o *Options) { o.Config.Train.Precision = "bf16" }, []string{`train.precision: "bf16"`, "legal on cpu"}},
		"batch":     {func(o *Options) { o.Config.Train.Batch = -2 }, []string{"train.batch: -2; legal: 1 to"}},
	} {
		other := o
		c.change(&other)
		if _, err := Run(t.Context(), other); !errors.Is(err, usage.Error) {
			t.Errorf("%s: error %v, want the user's", name, err)
		} else {
			trainertest.Refused(t, err, c.want...)
		}
	}
	if left, err := os.ReadDir(foreign); err != nil || len(left) != 1 {
		t.Errorf("a folder that is no run's was changed: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(foreign, "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused run left a folder behind: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(o.Out, rundir.MetricsFile))
	if err != nil || !bytes.Equal(records, after) {
		t.Errorf("refused runs changed the records (%v)", err)
	}
	// More steps are the same run; other clips are worth a remark.
	var log *bytes.Buffer
	o2, log := small(t, "train.steps=3")
	o2.Out, o2.Source = o.Out, trainertest.Squares{Clips: 17, Frames: 4, Side: 16}
	if r := run(t, t.Context(), o2); r.Step != 3 || !strings.Contains(log.String(), "the clips are not those") {
		t.Errorf("step %d, log:\n%s", r.Step, log)
	}
}

func TestUnwritableRunDirectory(t *testing.T) {
	o, _ := small(t)
	o.Out = "/proc/magvit/run" // nobody can make a folder there, root included
	if _, err := os.Stat("/proc"); err != nil {
		t.Skip("there is no /proc here")
	}
	_, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "run directory: mkdir")
	if !errors.Is(err, usage.Error) {
		t.Errorf("%v is not the user's affair", err)
	}
}

func TestOneTrainerInARunDirectory(t *testing.T) {
	o, _ := small(t)
	var second error
	o.OnStep = func(step int) {
		if step == 1 {
			other := o
			other.OnStep = nil
			_, second = Run(t.Context(), other)
		}
	}
	run(t, t.Context(), o)
	trainertest.Refused(t, second, "another trainer")
}

// Interrupted during the evaluation before the first step, there is nothing to
// save; later, the evaluation that was due is made up for.
func TestInterruptedBeforeAnEvaluation(t *testing.T) {
	o, _ := small(t, "train.eval_every=2")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Run(ctx, o)
	if !errors.Is(err, ErrInterrupted) || r.Step != 0 || r.Checkpoint != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	o.OnStep = func(step int) {
		if step == 4 {
			cancel()
		}
	}
	if r, err = Run(ctx, o); !errors.Is(err, ErrInterrupted) || r.Checkpoint != checkpoint.StepName(4) {
		t.Fatalf("%+v, %v", r, err)
	}
	o.OnStep = nil
	run(t, t.Context(), o)
	_, val := logged(t, o.Out)
	var at []float64
	for _, v := range val {
		at = append(at, v["step"].(float64))
	}
	if !slices.Equal(at, []float64{0, 2, 4, 6}) {
		t.Errorf("evaluated at %v", at)
	}
	var p rundir.Progress
	text, err := os.ReadFile(filepath.Join(o.Out, rundir.ProgressFile))
	if err != nil || json.Unmarshal(text, &p) != nil || p.State != "done" || p.Step != 6 || p.Fraction != 1 || p.Heartbeat.IsZero() {
		t.Errorf("progress %s, %v", text, err)
	}
}

// Ten seconds a step make six steps a minute; the rate follows the time.
func TestMinutes(t *testing.T) {
	o, _ := small(t, "train.steps=0", "train.minutes=1", "train.warmup=0", "train.final=0", "train.log_every=1")
	tr := begun(t, o)
	now := tr.began
	tr.clock = func() time.Time { return now }
	tr.opt.OnStep = func(int) { now = now.Add(10 * time.Second) }
	r, err := tr.end(tr.train(t.Context()))
	if err != nil || r.Step != 6 {
		t.Fatalf("%d steps, %v; want 6", r.Step, err)
	}
	steps, val := logged(t, o.Out)
	if got, want := steps[3]["lr"].(float64), o.Config.Train.LR/2; math.Abs(got-want) > 1e-9 {
		t.Errorf("rate after half the time %g, want %g", got, want)
	}
	if last := val[len(val)-1]["step"]; last != 6. {
		t.Errorf("last evaluated at step %v", last)
	}
}

// An epoch is all windows that are taken of the training clips.
func TestEpochsCountWindows(t *testing.T) {
	for windows, want := range map[string]int{"random": 2 * 12 / 2, "3": 2 * 12 * 3 / 2, "all": 2 * 12 * 2 / 2} {
		o, _ := small(t, "train.steps=0", "train.epochs=2", "data.frames=2", "data.windows="+windows)
		if tr := begun(t, o); tr.cfg.Train.Steps != want {
			t.Errorf("data.windows=%s: %d steps, want %d", windows, tr.cfg.Train.Steps, want)
		}
	}
}

// A run whose minutes are used up by its first evaluation takes one step and saves it.
func TestMinutesUsedUpByTheFirstEvaluation(t *testing.T) {
	o, log := small(t, "train.steps=0", "train.minutes=1")
	tr := begun(t, o)
	tr.clock = func() time.Time { return tr.began.Add(time.Hour) }
	r, err := tr.end(tr.train(t.Context()))
	if err != nil || r.Step != 1 || r.Checkpoint != checkpoint.StepName(1) {
		t.Fatalf("step %d, checkpoint %q, %v; want one step, saved", r.Step, r.Checkpoint, err)
	}
	if !strings.Contains(log.String(), "train.minutes") {
		t.Errorf("no word of the minutes in\n%s", log)
	}
	if r := run(t, t.Context(), o); r.Step != 1 {
		t.Errorf("continued to step %d, want none more", r.Step)
	}
}

// What a clip becomes does not depend on its neighbours, and a clip of an odd
// length is as its padded form.
func TestCodec(t *testing.T) {
	o, _ := small(t, "train.steps=2")
	run(t, t.Context(), o)
	c, err := task.OpenCodec(o.Backend, o.Out)
	if err != nil {
		t.Fatal(err)
	}
	var videos []float32
	for i := range 3 {
		clip, _ := o.Source.Read(t.Context(), i)
		videos = append(videos, clip.Video[:3*16*16*3]...)
	}
	all, one := data.Shape{N: 3, T: 3, H: 16, W: 16, C: 3}, data.Shape{N: 1, T: 3, H: 16, W: 16, C: 3}
	codes, err := c.Encode(videos, all)
	if err != nil {
		t.Fatal(err)
	}
	recon, err := c.Decode(codes, all)
	if err != nil || len(recon) != len(videos) {
		t.Fatalf("%d values, %v", len(recon), err)
	}
	shape, err := c.CodeShape(all)
	if err != nil || shape != [5]int{3, 2, 4, 4, 1} || c.VideoShape(shape) != (data.Shape{N: 3, T: 4, H: 16, W: 16, C: 3}) {
		t.Errorf("code shape %v, %v", shape, err)
	}
	n, per := one.Values(), len(codes)/3
	for i := range 3 {
		alone, err := c.Encode(videos[i*n:][:n], one)
		if err != nil || !slices.Equal(alone, codes[i*per:][:per]) {
			t.Errorf("clip %d has other codes on its own (%v)", i, err)
		}
		back, err := c.Decode(alone, one)
		if err != nil || !slices.Equal(back, recon[i*n:][:n]) {
			t.Errorf("clip %d decodes to other values on its own (%v)", i, err)
		}
	}
	_, err = c.Decode([]int32{1, 2}, one)
	trainertest.Refused(t, err, "2 codes", "want 32")
	_, err = c.Decode(append(make([]int32, 31), 200), one)
	trainertest.Refused(t, err, "code 200 at 31", "[0,200)")
	_, err = c.Encode(videos[:2*4*18*16*3], data.Shape{N: 2, T: 4, H: 18, W: 16, C: 3})
	trainertest.Refused(t, err, "multiples of 4")
}

// A boost of LFQ's entropy terms is in the first step's loss and fades from it.
func TestEntropyBoostFades(t *testing.T) {
	o := tiny(t, 3)
	q := &o.Config.Model.Quantizer
	q.Kind, q.Levels, q.CodebookSize, q.EntropyWeight, q.CommitmentWeight = "lfq", nil, 64, .5, 0
	q.EntropyBoost, q.EntropyBoostSteps = 3, 2
	run(t, t.Context(), o)
	steps, _ := logged(t, o.Out)
	for i, boost := range []float64{3, 2, 1} {
		m := steps[i]
		entropies := m["sample_entropy"].(float64) - q.DiversityGamma*m["codebook_entropy"].(float64)
		want := m["recon"].(float64) + boost*q.EntropyWeight*entropies
		if got := m["loss"].(float64); math.Abs(got-want) > 1e-5*math.Abs(want) { // sums of float32
			t.Errorf("step %d: loss %.6f, want %.6f with the entropies %v-fold", i+1, got, want, boost)
		}
	}
}

// The line before the first step has the length of the run.
func TestLengthIsLogged(t *testing.T) {
	o, log := small(t, "train.steps=1", "train.minutes=30", "train.samples=0")
	run(t, t.Context(), o)
	if text := log.String(); !strings.Contains(text, "steps=1 minutes=30 precision=f32") {
		t.Errorf("no length of the run in:\n%s", text)
	}
}
