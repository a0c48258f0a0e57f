package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/config"
	"magvit/trainer/task"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:        "eval",
		Usage:       "compare clips with their reconstructions, and with trivial baselines",
		Description: example("magvit eval --checkpoint runs/demo --data clips.npz --split val --json"),
		Flags:       workFlags("val", framesFlag(), jsonFlag()),
		Action:      eval,
	}
}

func eval(c *cli.Context) error {
	w, err := newWork(c)
	if err != nil {
		return err
	}
	defer w.close()
	if w.be, err = openDevice(c, w.p.log); err != nil {
		return err
	}
	t, of, err := task.Open(w.be, c.String("checkpoint"))
	if err != nil {
		return err
	}
	logCheckpoint(c, w.p.log, of)
	if err := w.openClips(of); err != nil {
		return err
	}
	clips, step, err := w.evaluation(c, of.Config)
	if err != nil {
		return err
	}
	e, err := t.Evaluate(c.Context, clips, step)
	if err != nil {
		return err
	}
	w.logSkipped(e.Unread)
	w.p.close()
	if c.Bool("json") {
		return printJSON(c, e.At(of.Step).Result())
	}
	return e.At(of.Step).WriteText(c.App.Writer)
}

// evaluation chooses the clips of --split; step advances the progress bar by a batch.
func (w *work) evaluation(c *cli.Context, cfg config.Config) (clips task.Clips, step func() error, err error) {
	cfg.Data = w.data
	if clips, err = task.NewClips(c.Context, cfg, w.src, c.String("split")); err != nil {
		return clips, nil, err
	}
	w.indices = clips.Indices
	began, done := time.Now(), 0
	return clips, func() error {
		done = min(done+workBatch, len(w.indices))
		w.showProgress(done, began)
		return c.Context.Err()
	}, nil
}
