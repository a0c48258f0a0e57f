// Package trainer turns clips into checkpoints.
package trainer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"magvit/kernels"
	"magvit/trainer/data"
	"magvit/trainer/metrics"
)

// Options say what a run works on; Config says how.
type Options struct {
	Config  Config
	Source  data.Source
	Out     string          // run directory
	Resume  string          // "auto", "never" or a checkpoint's directory
	Backend kernels.Backend // where the kernels run
	Log     *slog.Logger    // nil: nothing is logged
	OnStep  func(step int)  // called after each step; may be nil
}

// Result is what a finished run reports.
type Result struct {
	Step int // steps done, also those before a resume
	Dir  string
}

// Config is a whole run's configuration.
type Config struct {
	Train Train
}

// Train is the solver's part of a Config.
type Train struct{ Steps, EvalEvery, SaveEvery, LogEvery int }

// Preset returns a named configuration.
func Preset(name string) (Config, error) {
	return Config{}, fmt.Errorf("trainer: no preset %q: there is no training loop", name)
}

// Run trains.
func Run(ctx context.Context, o Options) (Result, error) {
	return Result{}, errors.New("trainer: there is no training loop")
}

// EvaluateCheckpoint evaluates a run's newest checkpoint on a split of clips.
func EvaluateCheckpoint(ctx context.Context, be kernels.Backend, dir string, src data.Source, split string) (metrics.Report, error) {
	return metrics.Report{}, errors.New("trainer: there is no evaluation")
}
