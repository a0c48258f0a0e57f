package main

import (
	"github.com/urfave/cli/v2"

	"magvit/trainer"
	"magvit/trainer/metrics"
)

// evalClassifier is eval of a classifier's checkpoint: its accuracy in
// classifying clips and in forecasting positions.
func evalClassifier(c *cli.Context) error {
	w, err := newWork(c)
	if err != nil {
		return err
	}
	defer w.close()
	if w.be, err = openDevice(c, w.p.log); err != nil {
		return err
	}
	p, err := trainer.OpenPredictor(w.be, c.String("checkpoint"))
	if err != nil {
		return err
	}
	logCheckpoint(c, w.p.log, p.Skipped, p.Step, p.Network.NumParams())
	if err := w.openClips(p.Config.Data); err != nil {
		return err
	}
	e, step, err := w.evaluation(c, p.Config)
	if err != nil {
		return err
	}
	r, skipped, err := p.Evaluate(c.Context, e, step)
	if err != nil {
		return err
	}
	w.logSkipped(skipped)
	w.p.close()
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return metrics.WriteClassification(c.App.Writer, r)
}
