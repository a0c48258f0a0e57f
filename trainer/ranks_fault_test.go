package trainer

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"magvit/kernels"
	"magvit/trainer/data"
	"magvit/trainer/ranks"
)

// fewSteps is a short run of 4 batches a step, with little besides.
var fewSteps = []string{"train.batch=1", "train.accumulate=4", "train.steps=4", "train.eval_every=0", "train.eval_clips=1", "train.samples=0"}

// faulty is a source whose clips are not what they were after a number of reads.
type faulty struct {
	data.Source
	after int32
	reads *atomic.Int32
	fault func(*data.Clip) error
}

func (f faulty) Read(ctx context.Context, i int) (data.Clip, error) {
	c, err := f.Source.Read(ctx, i)
	if f.reads.Add(1) > f.after && err == nil {
		err = f.fault(&c)
	}
	return c, err
}

// onRank gives one rank a faulty source.
func onRank(t *testing.T, rank int, after int32, fault func(*data.Clip) error) func(int, *Options) context.Context {
	return func(i int, o *Options) context.Context {
		if i == rank {
			o.Source = faulty{o.Source, after, &atomic.Int32{}, fault}
		}
		return t.Context()
	}
}

// interruptedTwice is the folder of a run that is interrupted on one of 3 ranks, then on 1, and ended on 2. The 3 ranks have agreed
// on step 2 when step 1 ends.
func interruptedTwice(t *testing.T, sets ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	for _, life := range []struct{ ranks, stopAfter int }{{3, 1}, {1, 3}, {2, 99}} {
		_, errs := runRanks(t, life.ranks, time.Minute, func(rank int, o *Options) context.Context {
			o.Out = out
			ctx, cancel := context.WithCancel(t.Context())
			o.OnStep = func(step int) {
				if rank == life.ranks-1 && step == life.stopAfter {
					cancel()
				}
			}
			return ctx
		}, sets...)
		for rank, err := range errs {
			if stopped := errors.Is(err, ErrInterrupted); stopped != (life.stopAfter < 99) || err != nil && !stopped {
				t.Fatalf("rank %d of %d: %v", rank, life.ranks, err)
			}
		}
	}
	return out
}

// TestRunGoesOnWithOtherRanks interrupts a run on one of 3 ranks, then on 1, and ends it on 2. It
// has the bits of a run in one piece.
func TestRunGoesOnWithOtherRanks(t *testing.T) {
	straight, errs := runRanks(t, 1, time.Minute, nil, fewSteps...)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	out := interruptedTwice(t, fewSteps...)
	if !bytes.Equal(tensorsOf(t, out), tensorsOf(t, straight.Out)) {
		t.Error("other weights than those of a run in one piece")
	}
}

// TestBatchIsDividedAmongRanks trains a batch of 4 clips, or of 4 crops in each step but the second one, on 2 ranks as two
// batches of 2, and goes on so on one rank: to the bits of a run of two batches on one rank.
func TestBatchIsDividedAmongRanks(t *testing.T) {
	for name, more := range map[string][]string{"whole clips": {"data.crop.batch=0"}, "crops": {"data.crop={batch: 4, frames: 2, size: 8, whole_every: 2}"}} {
		out := filepath.Join(t.TempDir(), "run")
		for _, n := range []int{2, 1} {
			if _, errs := runRanks(t, n, time.Minute, func(_ int, o *Options) context.Context {
				o.Out, o.Config.Train.Steps = out, 4-n
				return t.Context()
			}, append(append(fewSteps, "train.batch=4", "train.accumulate=1", "train.schedule=constant"), more...)...); errors.Join(errs...) != nil {
				t.Fatal(name, errs)
			}
		}
		divided := append(append(fewSteps, "train.batch=2", "train.accumulate=2", "train.steps=3", "train.schedule=constant"), more...)
		if name == "crops" {
			divided = append(divided, "data.crop.batch=2")
		}
		o, errs := runRanks(t, 1, time.Minute, nil, divided...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(name, err)
		}
		if !bytes.Equal(tensorsOf(t, out), tensorsOf(t, o.Out)) {
			t.Errorf("%s: other weights than those of 2 batches of 2", name)
		}
	}
}

// The clock of the first rank decides on checkpoints of all.
func TestRanksSaveByTheClock(t *testing.T) {
	for minutes, want := range map[string]int{"1e-6": 4, "1000": 1} {
		o, errs := runRanks(t, 2, time.Minute, nil, append(fewSteps, "train.save_every=0", "train.keep_last=0", "train.save_minutes="+minutes)...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if saved, err := filepath.Glob(filepath.Join(o.Out, "checkpoints", "step-*")); err != nil || len(saved) != want {
			t.Errorf("every %s minutes: checkpoints %v of 4 steps, want %d", minutes, saved, want)
		}
	}
}

func TestFailureOfOneRankEndsAll(t *testing.T) {
	o, errs := runRanks(t, 2, time.Minute, onRank(t, 1, 30, func(*data.Clip) error { return errors.New("the disk is gone") }), append(fewSteps, "train.steps=40", "data.strict=true")...)
	for rank, err := range errs {
		var f *ranks.Failure
		if err == nil || !strings.Contains(err.Error(), "the disk is gone") {
			t.Fatalf("rank %d: %v, want what rank 1 met", rank, err)
		}
		if isFailure := errors.As(err, &f); isFailure != (rank == 0) || rank == 0 && (f.Rank != 1 || !strings.Contains(err.Error(), "was saved as")) {
			t.Errorf("rank %d: %v, want rank 1 named, and a checkpoint", rank, err)
		}
	}
	tensorsOf(t, o.Out)
}

func TestNaNOnOneRankStopsTheStepOnAll(t *testing.T) {
	_, errs := runRanks(t, 2, time.Minute, onRank(t, 1, 30, func(c *data.Clip) error { c.Video[0] = float32(math.NaN()); return nil }),
		append(fewSteps, "train.steps=40", "train.nan_patience=2")...)
	for rank, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "2 steps in a row met NaN or Inf") || !strings.Contains(err.Error(), "not finite on rank 1") || strings.Contains(err.Error(), "not finite on rank 0") {
			t.Errorf("rank %d: %v, want a stop that names rank 1", rank, err)
		}
	}
}

func TestStuckRankIsNamed(t *testing.T) {
	goOn := make(chan struct{})
	var stuck sync.Once
	_, errs := runRanks(t, 2, 3*time.Second, onRank(t, 1, 30, func(*data.Clip) error {
		stuck.Do(func() { time.AfterFunc(6*time.Second, func() { close(goOn) }) })
		<-goOn
		return nil
	}), append(fewSteps, "train.steps=400")...)
	if !errors.Is(errs[0], ranks.ErrTimeout) || !strings.Contains(errs[0].Error(), "rank 1 on this machine") {
		t.Errorf("rank 0: %v, want a timeout that names rank 1", errs[0])
	}
	if errs[1] == nil {
		t.Error("rank 1 goes on alone")
	}
}

func TestRanksThatDifferAreRefused(t *testing.T) {
	for what, change := range map[string]func(o *Options){
		"configuration: on rank 1 on this machine it is another one than on rank 0 on this machine: train.lr": func(o *Options) { o.Config.Train.LR *= 2 },
		"clips: ": func(o *Options) { o.Source = fewer{o.Source} },
		"mean frame of the training clips: ": func(o *Options) {
			o.Source = faulty{o.Source, 0, &atomic.Int32{}, func(c *data.Clip) error { c.Video[0] /= 2; return nil }}
		},
	} {
		_, errs := runRanks(t, 2, time.Minute, func(rank int, o *Options) context.Context {
			if rank == 1 {
				change(o)
			}
			return t.Context()
		}, fewSteps...)
		for rank, err := range errs {
			if err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("rank %d: %v, want %q", rank, err, what)
			}
		}
	}
}

// fewer is a source without its last clip.
type fewer struct{ data.Source }

func (f fewer) Len() int { return f.Source.Len() - 1 }

// erring is a backend that errs once: the first gradient of the second update.
type erring struct{ *kernels.CPU }

func (e erring) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	k, err := e.CPU.Prepare(s)
	if _, ok := s.(kernels.AdamW); ok {
		k = &erringUpdate{Kernel: k}
	}
	return k, err
}

type erringUpdate struct {
	kernels.Kernel
	runs int
}

func (e *erringUpdate) Run(args ...kernels.Buffer) {
	if e.runs++; e.runs == 2 {
		args[4].(kernels.Host)[0] *= 1.5
	}
	e.Kernel.Run(args...)
}

func TestWeightsAreComparedBeforeTheyAreSaved(t *testing.T) {
	o, errs := runRanks(t, 2, time.Minute, func(rank int, o *Options) context.Context {
		if rank == 1 {
			o.Backend = erring{o.Backend.(*kernels.CPU)}
		}
		return t.Context()
	}, append(fewSteps, "train.save_every=1")...)
	for rank, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "weights after step 2: ") {
			t.Errorf("rank %d: %v, want a difference after step 2", rank, err)
		}
	}
	if steps, err := filepath.Glob(filepath.Join(o.Out, "checkpoints", "step-*")); err != nil || len(steps) != 1 {
		t.Errorf("checkpoints %v, want that of step 1 alone", steps)
	}
}
