package trainer

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"magvit/trainer/data"
	"magvit/trainer/trainertest"
)

// shrinking is a set of which a clip disappears.
type shrinking struct {
	trainertest.Squares
	lost atomic.Pointer[string] // its name
}

func (s *shrinking) Read(ctx context.Context, i int) (data.Clip, error) {
	if name := s.lost.Load(); name != nil && *name == s.Name(i) {
		return data.Clip{}, &data.ClipError{Name: *name, Err: errors.New("no such file")}
	}
	return s.Squares.Read(ctx, i)
}

// A clip that disappears while a run trains is named in the log while it trains, once.
func TestClipsThatDisappearAreNamedDuringTheRun(t *testing.T) {
	o, log := small(t, "train.steps=16", "train.log_every=1", "train.eval_every=0", "train.samples=0", "train.save_every=0", "data.crop.batch=0", "train.batch=8")
	src := &shrinking{Squares: trainertest.Squares{Clips: 10, Frames: 4, Side: 16}}
	train, _, err := data.Split(src, o.Config.Data.ValShare)
	if err != nil {
		t.Fatal(err)
	}
	name := src.Name(train[0])
	want := "clip left out: " + name + ": no such file"
	during := false
	o.Source = src
	o.OnStep = func(step int) {
		if step == 2 {
			src.lost.Store(&name)
		}
		during = during || step < 16 && strings.Contains(log.String(), want)
	}
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), want); !during || n != 1 {
		t.Errorf("named during the run: %v, %d times:\n%s", during, n, log)
	}
}
