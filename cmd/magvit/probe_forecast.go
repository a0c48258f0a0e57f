package main

import (
	"magvit/trainer/data"
	"magvit/trainer/probe"
)

// forecast is probe --target trajectory.
func (w *work) forecast(views int, o probe.Options, compared []probe.Compared) error {
	set, err := w.collectForecasts(views)
	if err != nil {
		return err
	}
	r, err := probe.RunForecast(w.c.Context, set, o)
	if err != nil {
		return err
	}
	r.Step, r.Data, r.Split, r.Compared = w.codec.Step, w.c.StringSlice("data"), w.c.String("split"), compared
	if err := saveResult(r, w.c.String("checkpoint"), probe.ForecastFileName); err != nil {
		return err
	}
	w.p.close()
	if w.c.Bool("json") {
		return printJSON(w.c, r)
	}
	return probe.WriteForecast(w.c.App.Writer, r)
}

// collectForecasts encodes the chosen clips twice: their first frames alone, which a
// forecast is made from, and all frames, which it is fitted on.
func (w *work) collectForecasts(views int) (*probe.ForecastSet, error) {
	book, err := w.codebook()
	if err != nil {
		return nil, err
	}
	set := probe.NewForecastSet(w.src.Classes(), book, views)
	var whole data.Shape
	short := 0
	err = w.eachClip(func(b *data.Batch) error {
		if b.Frames[0] < b.T {
			short++
			return nil
		}
		ahead, err := probe.Horizon(b.T, w.c.Int("ahead"))
		if err != nil {
			return usagef("--ahead %d: %v", w.c.Int("ahead"), err)
		}
		clip := probe.ForecastClip{}
		if clip.Seen, err = w.examples(b, b.T-ahead, views); err != nil {
			return err
		}
		if clip.Whole, err = w.examples(b, b.T, views); err != nil {
			return err
		}
		read, err := w.src.Read(w.c.Context, b.Index[0])
		if err != nil {
			return err
		}
		if len(read.Trajectory) >= 3*b.T && data.Known(read.Trajectory[:3*b.T]) {
			clip.Space = read.Trajectory[:3*b.T]
		}
		whole = b.Shape()
		return set.Add(clip)
	})
	if short > 0 {
		w.p.log.Warn("clips shorter than the others are left out", "clips", short)
	}
	set.Decode = func(codes []int32) ([]float32, error) { return w.codec.Decode(codes, whole) }
	return set, err
}
