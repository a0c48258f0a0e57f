package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/config"
	"magvit/trainer/metrics"
	"magvit/trainer/quality"
	"magvit/trainer/task"
	"magvit/trainer/videocodec"
)

func evalCommand() *cli.Command {
	return &cli.Command{
		Name:  "eval",
		Usage: "compare clips with their reconstructions, and with trivial baselines",
		Description: example("magvit eval --checkpoint runs/demo --data clips.npz --split val --json",
			"magvit eval --checkpoint runs/demo --data clips.npz --metrics psnr,sharpness"),
		Flags: workFlags("val", append(metricsFlags(""), framesFlag(), jsonFlag(),
			&cli.BoolFlag{Name: "codecs", Usage: "also encode the clips with H.264 and AV1 at the codes' bits a pixel, by ffmpeg; of a run's directory the report shows them, too"})...),
		Action: eval,
	}
}

func eval(c *cli.Context) error {
	if _, err := openRanks(c); err != nil {
		return err
	}
	w, err := newWork(c)
	if err != nil {
		return err
	}
	defer w.close()
	var judge *quality.Judge
	if c.IsSet("metrics") {
		if _, err := checkMetrics(c); err != nil {
			return err
		}
	}
	if w.be, err = openDevice(c, w.p.log); err != nil {
		return err
	}
	if c.IsSet("metrics") {
		if judge, err = newJudge(c, w.be); err != nil {
			return err
		}
	}
	t, of, err := task.Open(w.be, c.String("checkpoint"))
	if err != nil {
		return err
	}
	logCheckpoint(c, w.p.log, of)
	if judge != nil && of.Config.Model.Classifies() {
		return usagef("--metrics: the checkpoint is of a classifier, which reconstructs nothing; leave the flag out")
	}
	if err := w.openClips(of); err != nil {
		return err
	}
	clips, step, err := w.evaluation(c, of.Config)
	if err != nil {
		return err
	}
	if judge != nil {
		clips.Judge = judge.Add
	}
	clips.Ranks = launched.group
	if err := w.same(of, clips.Data, clips.Indices); err != nil {
		return err
	}
	e, err := t.Evaluate(c.Context, clips, step)
	if err != nil || !launched.first() {
		return err
	}
	w.logSkipped(e.Unread)
	if c.Bool("codecs") {
		if err := w.codecs(&e.Val, clips, of.Step); err != nil {
			return err
		}
	}
	w.p.close()
	return printEvaluation(c, e.At(of.Step), judge)
}

// printEvaluation prints an evaluation, and what judge says of the reconstructions if it is not nil: in JSON under the key "quality".
func printEvaluation(c *cli.Context, e metrics.EvalRecord, judge *quality.Judge) error {
	if judge == nil {
		if c.Bool("json") {
			return printJSON(c, e.Result())
		}
		return e.WriteText(c.App.Writer)
	}
	r, err := judge.Report()
	if err != nil {
		return err
	}
	if err := saveResult(quality.Saved{Step: e.Step, Split: c.String("split"), Report: r}, c.String("checkpoint"), quality.FileName); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, struct {
			metrics.Report
			Quality quality.Report `json:"quality"`
		}{e.Val, r})
	}
	if err := e.WriteText(c.App.Writer); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer)
	return quality.WriteText(c.App.Writer, r)
}

// codecs adds the video codecs to an evaluation, and the comparison to the run's directory.
func (w *work) codecs(r *metrics.Report, clips task.Clips, step int) (err error) {
	if r.Clips == 0 {
		return usagef("--codecs: a classifier has no codes to compare")
	}
	w.p.log.Info("encoding the clips with video codecs", "bits_per_pixel", float64(r.BitsPerPixel))
	if r.Codecs, err = videocodec.Measure(w.c.Context, clips.Source, clips.Indices, clips.Data, float64(r.BitsPerPixel)); err != nil {
		return err
	}
	return saveResult(videocodec.Compare(step, w.c.String("split"), *r), w.c.String("checkpoint"), videocodec.FileName)
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
