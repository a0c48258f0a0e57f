package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"magvit/trainer/checkpoint"
	"magvit/trainer/data"
	"magvit/trainer/rundir"
	"magvit/trainer/trainertest"
)

// failing is clips whose disk fails for good after some reads.
type failing struct {
	data.Source
	broken *atomic.Bool
}

func (f failing) Read(ctx context.Context, i int) (data.Clip, error) {
	if f.broken.Load() {
		return data.Clip{}, syscall.EIO
	}
	return f.Source.Read(ctx, i)
}

// An error of the data in the middle of a run ends it with a checkpoint; what continues from it has the bits of a run in
// one piece.
func TestDataErrorSavesACheckpoint(t *testing.T) {
	set := []string{"train.steps=40", "train.save_every=0", "train.eval_every=0", "train.samples=0", "data.workers=1", "data.strict=true"}
	straight, _ := small(t, set...)
	run(t, t.Context(), straight)
	o, _ := small(t, set...)
	clips := o.Source
	var broken atomic.Bool
	o.Source = failing{clips, &broken}
	o.OnStep = func(step int) {
		if step == 3 {
			broken.Store(true)
		}
	}
	r, err := Run(t.Context(), o)
	trainertest.Refused(t, err, "input/output error", "was saved as "+r.Checkpoint, "--resume auto")
	if r.Step < 3 || r.Step == 40 || r.Checkpoint != checkpoint.StepName(r.Step) {
		t.Fatalf("step %d, checkpoint %q", r.Step, r.Checkpoint)
	}
	var p rundir.Progress
	text, err := os.ReadFile(filepath.Join(o.Out, rundir.ProgressFile))
	if err != nil || json.Unmarshal(text, &p) != nil || p.State != "failed" || p.Step != r.Step || p.Checkpoint != r.Checkpoint || !strings.Contains(p.Error, "input/output") {
		t.Errorf("progress %s, %v", text, err)
	}
	o.Source, o.OnStep = clips, nil
	run(t, t.Context(), o)
	for _, file := range []string{checkpoint.ModelFile, checkpoint.OptimizerFile} {
		a, errA := os.ReadFile(filepath.Join(straight.Out, "checkpoints", checkpoint.StepName(40), file))
		b, errB := os.ReadFile(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(40), file))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs from a run in one piece (%v, %v)", file, errA, errB)
		}
	}
}

// Samples, events and progress that cannot be written do not end a training.
func TestOrnamentsDoNotEndATraining(t *testing.T) {
	o, log := small(t, "train.eval_every=2", "train.samples=1")
	o.OnStep = func(step int) {
		if step == 1 {
			trainertest.Check(t, errors.Join(os.RemoveAll(filepath.Join(o.Out, "samples")), os.WriteFile(filepath.Join(o.Out, "samples"), nil, 0o666)))
		}
	}
	if r := run(t, t.Context(), o); r.Step != 6 || r.Checkpoint != checkpoint.StepName(6) {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(log.String(), "the training continues without") {
		t.Errorf("no word on it:\n%s", log)
	}
}

// Killed before the first checkpoint, a run begins from nothing: with the pictures of its first evaluation.
func TestBeginsFromNothingWithoutACheckpoint(t *testing.T) {
	o, _ := small(t, "train.steps=2", "train.samples=1")
	straight, _ := small(t, "train.steps=2", "train.samples=1")
	run(t, t.Context(), straight)
	ctx, cancel := context.WithCancel(t.Context())
	o.OnStep = func(int) { cancel() }
	Run(ctx, o)
	trainertest.Check(t, errors.Join(os.RemoveAll(filepath.Join(o.Out, "checkpoints")), os.RemoveAll(filepath.Join(o.Out, "samples"))))
	o.OnStep = nil
	run(t, t.Context(), o)
	a, errA := filepath.Glob(filepath.Join(straight.Out, "samples", "*"))
	b, errB := filepath.Glob(filepath.Join(o.Out, "samples", "*"))
	if len(a) == 0 || len(a) != len(b) || errA != nil || errB != nil {
		t.Errorf("samples %v, of a run in one piece %v", b, a)
	}
	if a, b := timeless(t, straight.Out), timeless(t, o.Out); a != b {
		t.Errorf("records\n%s\nof a run in one piece\n%s", b, a)
	}
}

// A record whose number was changed is told of: the checkpoint keeps the hash of the records up to it.
func TestChangedRecordIsTold(t *testing.T) {
	o, log := small(t, "train.steps=2")
	run(t, t.Context(), o)
	log.Reset()
	run(t, t.Context(), o)
	if strings.Contains(log.String(), "lost or changed") {
		t.Fatalf("records as they were written:\n%s", log)
	}
	path := filepath.Join(o.Out, rundir.MetricsFile)
	text, err := os.ReadFile(path)
	trainertest.Check(t, err)
	trainertest.Check(t, os.WriteFile(path, bytes.Replace(text, []byte(`"loss":`), []byte(`"loss":1`), 1), 0o666))
	o.Config.Train.Steps = 3
	run(t, t.Context(), o)
	if !strings.Contains(log.String(), "lost or changed") {
		t.Errorf("no word on it:\n%s", log)
	}
}
