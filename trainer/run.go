// Package trainer turns clips into checkpoints.
//
// Clips come from a data.Source, the configuration from a preset or a file; Run
// leaves a run directory with checkpoints, metrics and a report. OpenCodec reads a
// checkpoint to encode, decode and evaluate.
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
)

// Preset returns a named configuration of package config.
func Preset(name string) (config.Config, error) { return config.Preset(name) }

// Options say what a run works on; Config says how.
type Options struct {
	Config  config.Config
	Source  data.Source
	Out     string          // run directory
	Resume  string          // "auto" (or ""), "never" or a checkpoint's directory
	Backend kernels.Backend // where the kernels run
	Log     *slog.Logger    // nil: nothing is logged
	OnStep  func(step int)  // called after each step, if not nil
}

// Result is what a run reports.
type Result struct {
	Step       int                     // steps done, also those before a resume
	Dir        string                  // the run directory
	Checkpoint string                  // the newest one's name, "" if there is none
	Report     metrics.Report          // of the last evaluation of this process
	Classified *metrics.Classification // instead of Report, of a classifier
	BestPSNR   metrics.Number          // dB, of all evaluations, and its step
	BestStep   int
}

// Run trains until the configured steps or minutes are used up.
//
// A run directory that holds the same run is taken up at its newest checkpoint
// that verifies. When ctx is cancelled, Run saves a checkpoint and returns an
// error that wraps ErrInterrupted. Errors that the user caused wrap usage.Error.
func Run(ctx context.Context, o Options) (Result, error) {
	t, err := open(ctx, o)
	if err != nil {
		return Result{Dir: o.Out}, err
	}
	err = t.train(ctx)
	if stop := ctx.Err(); stop != nil && (err == nil || errors.Is(err, stop)) {
		err = t.interrupt()
	}
	return t.end(err)
}

// train is the loop: next batch, step, log, evaluate, save. The next step's batch is
// fetched while the backend is at work.
func (t *training) train(ctx context.Context) error {
	if err := t.evaluate(ctx); err != nil {
		return err
	}
	for !t.finished() {
		t.now = step{began: t.clock()}
		for part := range t.cfg.Train.Accumulate {
			if err := t.fetch(ctx); err != nil {
				return fmt.Errorf("step %d: %w", t.snap.Step+1, err)
			}
			if err := t.enqueue(part); err != nil {
				return fmt.Errorf("step %d: %w", t.snap.Step+1, err)
			}
		}
		t.ahead(ctx)
		if err := t.settle(); err != nil {
			return err
		}
		if err := t.log(); err != nil {
			return err
		}
		if err := t.evaluate(ctx); err != nil {
			return err
		}
		if err := t.save(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := t.evaluate(ctx); err != nil {
		return err
	}
	return t.save()
}
