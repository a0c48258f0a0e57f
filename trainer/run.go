// Package trainer turns clips into checkpoints.
//
// Clips come from a data.Source, the configuration from a preset or a file; Run
// leaves a run directory with checkpoints, metrics and a report. The loop is here;
// package config reads configurations, task evaluates and uses networks, checkpoint
// and rundir keep what a run leaves, lucidrains exchanges checkpoints.
//
// Why all state but the arenas is a step number: batches, augmentation and first
// weights are functions of the seed and the step, so a resumed run has the same
// bits as one in one piece.
package trainer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"magvit/kernels"
	"magvit/trainer/config"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
	"magvit/trainer/ranks"
	"magvit/trainer/task"
)

// Preset returns a named configuration of package config.
func Preset(name string) (config.Config, error) { return config.Preset(name) }

// Options are the parts of a run: its configuration, clips, directory and backend.
type Options struct {
	Config  config.Config
	Source  data.Source
	Out     string          // run directory
	Resume  string          // "auto" (or ""), "never" or a checkpoint's directory
	Init    string          // run, checkpoint or .safetensors file whose weights a new run begins with; "": none
	Backend kernels.Backend // where the kernels run
	Log     *slog.Logger    // nil: nothing is logged
	OnStep  func(step int)  // called after each step, if not nil

	Ranks *ranks.Group // that train together; nil: this process alone

	InitPartial bool // Init may lack tensors or hold others: those that fit are taken
}

// Result is the outcome of a run.
type Result struct {
	Step       int                     // steps done, also those before a resume
	Dir        string                  // the run directory
	Checkpoint string                  // the newest one's name, "" if there is none
	Report     metrics.Report          // of the last evaluation, of a tokenizer
	Classified *metrics.Classification // of the last evaluation, of a classifier
	Likelihood *metrics.Likelihood     // of the last evaluation, of a prior
	BestPSNR   metrics.Number          // dB, of all evaluations, and its step
	BestStep   int
}

// Run trains until the configured steps or minutes are used up. An error on the way ends
// it with a checkpoint, where one can be written.
//
// A run directory that holds the same run is continued from its newest checkpoint
// that verifies. When ctx is cancelled, Run saves a checkpoint and returns an
// error that wraps ErrInterrupted. Errors that the user caused wrap usage.Error.
func Run(ctx context.Context, o Options) (Result, error) {
	defer collectOften()()
	t, err := open(ctx, o)
	if stop := ctx.Err(); err != nil && stop != nil && errors.Is(err, stop) {
		err = fmt.Errorf("%w before the first step", ErrInterrupted)
		o.Ranks.Fail(err, 130) // others may not have been interrupted
	}
	if err != nil {
		return Result{Dir: o.Out}, err
	}
	err = t.train(ctx)
	if errors.Is(err, errStopped) { // on all ranks, after the same step
		if bad := t.gatherState(ctx); bad != nil {
			err = bad
		}
	}
	switch stop := ctx.Err(); {
	case stop != nil && (err == nil || errors.Is(err, stop)), errors.Is(err, errStopped):
		err = t.interrupt()
	case err != nil:
		err = t.rescue(err)
	}
	return t.end(err)
}

// train is the loop: next batch, step, log, evaluate, save. The next step's batch is
// prefetched while the backend computes.
func (t *training) train(ctx context.Context) error {
	if err := t.evaluateAndSave(ctx); err != nil {
		return err
	}
	if t.snap.Step == 0 && t.fraction() >= 1 {
		t.log.Warn("the first evaluation used up the run's minutes: it takes one step; a larger train.minutes trains longer, a smaller train.eval_clips evaluates faster", "minutes", t.cfg.Train.Minutes)
	}
	work := t.patient(ctx)
	for !t.finished() {
		t.current = step{began: t.clock()}
		if err := t.fetch(work); err != nil {
			return fmt.Errorf("step %d: %w", t.snap.Step+1, err)
		}
		if err := t.agree(ctx); err != nil {
			return err
		}
		if err := t.runBatches(work); err != nil {
			return fmt.Errorf("step %d: %w", t.snap.Step+1, err)
		}
		t.prefetch(work)
		if err := t.propose(ctx); err != nil {
			return err
		}
		if err := t.finishStep(work); err != nil {
			return err
		}
		if err := t.logStep(); err != nil {
			return err
		}
		if err := t.evaluateAndSave(ctx); err != nil {
			return err
		}
		if err := work.Err(); err != nil {
			return err
		}
	}
	return t.evaluateAndSave(ctx)
}

// evaluateAndSave evaluates, saves and draws, where these are due: a checkpoint also at a new
// best, and not while steps fail. Of several ranks all
// evaluate, and the first saves and draws; an interruption there is agreed on before the
// next step.
func (t *training) evaluateAndSave(ctx context.Context) error {
	due := t.saveDue()
	if t.evaluationDue() || due {
		if err := t.forget(ctx); err != nil {
			return err
		}
		if err := t.gatherState(ctx); err != nil {
			return err
		}
		if err := t.verify(ctx); err != nil {
			return err
		}
	}
	err := t.evaluate(ctx)
	if errors.Is(err, task.ErrStopped) {
		return errStopped
	}
	if due {
		t.savedAt = t.seconds()
	}
	if t.dir == nil {
		return err
	}
	if err == nil && (due || t.snap.BestStep == t.snap.Step && t.snap.BadInARow == 0) {
		err = t.checkpoint()
	}
	if err == nil {
		err = t.draw(ctx)
	}
	if stop := ctx.Err(); t.group.Size() > 1 && stop != nil && errors.Is(err, stop) {
		return nil
	}
	return err
}

// EvaluateCheckpoint evaluates a checkpoint, see checkpoint.Find, on the clips of a split, see task.NewClips.
func EvaluateCheckpoint(ctx context.Context, be kernels.Backend, path string, src data.Source, split string) (metrics.Report, error) {
	t, of, err := task.Open(be, path)
	if err != nil {
		return metrics.Report{}, err
	}
	clips, err := task.NewClips(ctx, of.Config, src, split)
	if err != nil {
		return metrics.Report{}, err
	}
	e, err := t.Evaluate(ctx, clips, nil)
	return e.Val, err
}
