package trainer

import (
	"math"
	"strings"
	"testing"

	"magvit/trainer/rundir"
	"magvit/trainer/trainertest"
)

// TestBackgroundFromTheClips trains with the clips' mean as background: kept in the run's configuration, and by a
// resumed run whose clips have changed.
func TestBackgroundFromTheClips(t *testing.T) {
	o, log := small(t, "data.background=auto", "train.steps=2", "data.val_share=0.25")
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	dir, _, err := rundir.Open(o.Out, o.Log)
	trainertest.Check(t, err)
	cfg, ok, err := dir.Config()
	trainertest.Check(t, err)
	dir.Close()
	// A dark square of 4x4 pixels with a mean shade of about 0.15, on 16x16 white ones.
	if want := 1 - .85*16/256; !ok || math.Abs(cfg.Model.Background-want) > .02 || cfg.Data.Background != "auto" {
		t.Errorf("background %v, data.background %q; want about %.3f, auto", cfg.Model.Background, cfg.Data.Background, want)
	}
	if strings.Contains(log.String(), "data.background=auto takes") {
		t.Errorf("a warning of a background that the clips have:\n%s", log)
	}
	o.Config.Train.Steps = 3
	o.Source = trainertest.Squares{Clips: 16, Frames: 4, Side: 12}
	o.Config.Data.Height, o.Config.Data.Width = 16, 16
	if r, err := Run(t.Context(), o); err != nil || r.Step != 3 {
		t.Errorf("resumed on clips of another mean: step %d, %v; want step 3", r.Step, err)
	}
}

func TestFarBackgroundIsAWarning(t *testing.T) {
	for background, want := range map[string]bool{"model.background=0.5": true, "model.background=0.9": false, "model.background=1": false} {
		o, log := small(t, background, "train.steps=1")
		if _, err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "the mean of the training clips is 0.9"); got != want {
			t.Errorf("%s: warned %v, want %v\n%s", background, got, want, log)
		}
	}
}
