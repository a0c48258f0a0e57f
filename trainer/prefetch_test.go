package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"magvit/kernels"
	"magvit/trainer/checkpoint"
)

// stopping is a backend whose user gives up while the batch of that number runs.
type stopping struct {
	later
	runs, at int
	stop     context.CancelFunc
}

func (b *stopping) Record(run func()) (func() error, error) {
	replay, err := b.later.Record(run)
	return func() error {
		if b.runs++; b.runs == b.at {
			b.stop()
		}
		return replay()
	}, err
}

// An interruption between the batches of a step loses that step, one while the next
// step's batch is fetched loses nothing; what goes on has the bits of a run in one piece.
func TestInterruptedBetweenBatches(t *testing.T) {
	set := []string{"train.steps=4", "train.accumulate=2", "train.eval_every=0", "train.samples=0", "train.save_every=0"}
	end := func(o Options) []byte {
		b, err := os.ReadFile(filepath.Join(o.Out, "checkpoints", checkpoint.StepName(4), checkpoint.ModelFile))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	straight, _ := small(t, set...)
	if _, err := Run(t.Context(), straight); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ at, done int }{{5, 2}, {6, 3}} { // a step's first batch, and its last
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			o, _ := small(t, set...)
			cpu := o.Backend.(*kernels.CPU)
			ctx, stop := context.WithCancel(t.Context())
			b := &stopping{later: later{CPU: cpu}, at: c.at, stop: stop}
			o.Backend = b
			o.OnStep = func(step int) {
				if step == 1 {
					b.runs = 2 // those of the first evaluation do not count
				}
			}
			r, err := Run(ctx, o)
			if !errors.Is(err, ErrInterrupted) || r.Step != c.done || r.Checkpoint != checkpoint.StepName(c.done) {
				t.Fatalf("%d steps, checkpoint %q, error %v; want %d and the interruption", r.Step, r.Checkpoint, err, c.done)
			}
			o.Backend = cpu
			if _, err := Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(end(o), end(straight)) {
				t.Error("the run that went on has other weights")
			}
		})
	}
}

// ticking is a backend that takes a time for each step.
type ticking struct {
	later
	tick func()
}

func (b *ticking) Sync() error {
	b.tick()
	return b.later.Sync()
}

// Waiting for clips counts only where the backend waited too.
func TestWaitingBehindAStepDoesNotCount(t *testing.T) {
	for _, each := range []time.Duration{0, 2 * time.Millisecond} {
		o, _ := small(t, "train.steps=3", "train.log_every=4", "train.eval_every=0", "train.samples=0", "train.save_every=0")
		now := time.Unix(0, 0)
		o.Backend = &ticking{later{CPU: o.Backend.(*kernels.CPU)}, func() { now = now.Add(each) }}
		tr := begun(t, o)
		tr.clock = func() time.Time { return now }
		var waited time.Duration
		tr.opt.OnStep = func(step int) {
			if step == 2 {
				waited = tr.idle
			}
		}
		if _, err := tr.end(tr.train(t.Context())); err != nil {
			t.Fatal(err)
		}
		if counted := waited > 0; counted != (each == 0) {
			t.Errorf("steps of %v: %v of waiting", each, waited)
		}
	}
}
