package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer"
	"magvit/trainer/config"
	"magvit/trainer/metrics"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:        "eval",
		Usage:       "compare clips with their reconstructions, and with trivial baselines",
		Description: example("magvit eval --checkpoint runs/demo --data clips.npz --split val --json"),
		Flags:       workFlags("val", jsonFlag()),
		Action:      eval,
	}
}

func eval(c *cli.Context) error {
	if c.IsSet("checkpoint") {
		classifier, err := trainer.HoldsClassifier(c.String("checkpoint"))
		if err != nil {
			return err
		}
		if classifier {
			return evalClassifier(c)
		}
	}
	w, err := openWork(c)
	if err != nil {
		return err
	}
	defer w.close()
	e, step, err := w.evaluation(c, w.codec.Config)
	if err != nil {
		return err
	}
	r, _, skipped, err := e.Run(c.Context, w.codec, step)
	if err != nil {
		return err
	}
	w.logSkipped(skipped)
	w.p.close()
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return metrics.WriteText(c.App.Writer, r)
}

// evaluation chooses the clips of --split; step advances the progress bar by a batch.
func (w *work) evaluation(c *cli.Context, cfg config.Config) (e trainer.Evaluation, step func() error, err error) {
	cfg.Data = w.data
	if e, err = trainer.NewEvaluation(c.Context, cfg, w.src, c.String("split")); err != nil {
		return e, nil, err
	}
	w.indices = e.Indices
	began, done := time.Now(), 0
	return e, func() error {
		done = min(done+workBatch, len(w.indices))
		w.showProgress(done, began)
		return c.Context.Err()
	}, nil
}
