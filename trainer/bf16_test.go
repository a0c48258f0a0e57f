package trainer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/trainer/trainertest"
	"magvit/trainer/usage"
)

// Preset tiny trains in bf16, and the run stays one in bf16.
func TestLossDecreasesInBF16(t *testing.T) {
	if err := kernels.CanBF16(); err != nil {
		t.Skip(err)
	}
	o := tiny(t, 60)
	be, err := kernels.NewCPUIn(kernels.BF16, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer be.Close()
	f32 := o.Backend
	o.Backend, o.Config.Train.Precision = be, "bf16"
	run(t, t.Context(), o)
	steps, _ := logged(t, o.Out)
	first, last := steps[0]["loss"].(float64), steps[len(steps)-1]["loss"].(float64)
	t.Logf("loss: first step %.4f, last %.4f", first, last)
	if !(last < first/2) {
		t.Errorf("loss went from %.4f to %.4f, want less than half", first, last)
	}
	saved, err := os.ReadFile(filepath.Join(o.Out, "config.yaml"))
	if err != nil || !strings.Contains(string(saved), "precision: bf16") {
		t.Errorf("config.yaml does not tell the precision (%v):\n%s", err, saved)
	}
	o.Config.Train.Steps = 61
	if r := run(t, t.Context(), o); r.Step != 61 {
		t.Errorf("resumed to step %d, want 61", r.Step)
	}
	o.Config.Train.Steps, o.Config.Train.Precision, o.Backend = 62, "f32", f32
	if _, err := Run(t.Context(), o); !errors.Is(err, usage.Error) {
		t.Errorf("going on in f32: error %v, want the user's", err)
	} else {
		trainertest.Refused(t, err, "train.precision: f32, was bf16")
	}
}
