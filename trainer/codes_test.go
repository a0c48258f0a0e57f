package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/model"
	"magvit/trainer/metrics"
)

// tokenizerRun is the run of a tokenizer that was trained for a few steps.
func tokenizerRun(t *testing.T, steps int) string {
	t.Helper()
	o := tiny(t, steps)
	o.Config.Train.EvalEvery, o.Config.Train.SaveEvery = 0, 0
	run(t, t.Context(), o)
	return o.Out
}

// A classifier on codes gets those of the tokenizer that its run names, and no others; a run
// that was interrupted has the same bits.
func TestClassifiersOnCodes(t *testing.T) {
	tokenizer := tokenizerRun(t, 2)
	for _, c := range []struct {
		network, input string
		seen           int // of 8 frames, 2 of them forecast, in steps of a code's 2 frames or of the slow path's 4
	}{{"i3d-small", model.InputFused, 6}, {"slowfast-small", model.InputCodes, 4}} {
		network, input := c.network, c.input
		o := looking(t, network, 12, 4)
		o.Config.Model.Classify.Input, o.Config.Train.Tokenizer, o.Config.Train.SaveEvery = input, tokenizer, 2
		r := run(t, t.Context(), o)
		if c, want := r.Classified, c.seen; c == nil || c.Clips == 0 || c.Forecast.Seen != want {
			t.Fatalf("%s on %s: %+v", network, input, c)
		}
		again := o
		again.Out = filepath.Join(t.TempDir(), "again")
		again.Resume = filepath.Join(o.Out, "checkpoints", "step-000002")
		run(t, t.Context(), again)
		a, errA := os.ReadFile(filepath.Join(o.Out, "checkpoints", "step-000004", "model.safetensors"))
		b, errB := os.ReadFile(filepath.Join(again.Out, "checkpoints", "step-000004", "model.safetensors"))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s on %s: a resumed run differs (%v, %v)", network, input, errA, errB)
		}
		if k := predicted(t, o, "val"); k.CrossEntropy != r.Classified.CrossEntropy {
			t.Errorf("%s on %s: the checkpoint has cross-entropy %v, its run %v", network, input, k.CrossEntropy, r.Classified.CrossEntropy)
		}
		other := o
		other.Config.Train.Tokenizer, other.Config.Train.Steps = tokenizerRun(t, 1), 5
		if _, err := Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "model.classify.codes.tokenizer") {
			t.Errorf("%s on %s: continued with another tokenizer: %v", network, input, err)
		}
	}
	o := looking(t, "i3d-small", 12, 1)
	o.Config.Model.Classify.Input = model.InputCodes
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "train.tokenizer") {
		t.Errorf("codes without a tokenizer: %v", err)
	}
}

// A prior on clips makes their codes on the way. On clips as they are it is the prior that
// trains on the codes of a file.
func TestPriorOnClips(t *testing.T) {
	tokenizer := tokenizerRun(t, 2)
	o := priorRun(t, model.Autoregressive, 20, 3)
	p := &o.Config.Model.Prior
	o.Source, o.Config.Train.Tokenizer, p.Digits = trajectories(t, 20, 42), tokenizer, nil
	o.Config.Data.Flip, o.Config.Data.Shift = true, 2
	r := run(t, t.Context(), o).Likelihood
	if r == nil || r.Clips != 4 || r.Tokens != 64 || r.Classes == nil || r.Classes.Clips != 4 {
		t.Fatalf("%+v", r)
	}
	c, err := os.ReadFile(filepath.Join(o.Out, "config.yaml"))
	if err != nil || !strings.Contains(string(c), "clip: [8, 32, 32]") || !strings.Contains(string(c), "grid: [4, 4, 4]") {
		t.Errorf("%v: config.yaml\n%s", err, c)
	}
	if _, err := os.Stat(filepath.Join(o.Out, metrics.PriorFile)); err != nil {
		t.Error(err)
	}
	o.Config.Data.Crop.Batch, o.Out = 2, filepath.Join(t.TempDir(), "crops")
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "data.crop.batch: 2") {
		t.Errorf("a prior on crops: %v", err)
	}
}
