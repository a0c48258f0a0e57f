package main

import (
	"slices"

	"magvit/trainer/data"
	"magvit/trainer/probe"
	"magvit/trainer/ranks"
)

// forecast is probe --target trajectory.
func (w *work) forecast(views int, o probe.Options, compared []probe.Compared) error {
	set, err := w.collectForecasts(views)
	if err != nil {
		return err
	}
	if !launched.first() {
		return launched.waitForFirst(w.c.Context)
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
	if err := launched.waitForFirst(w.c.Context); err != nil {
		return err
	}
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
	seen := func(b *data.Batch) (frames int, err error) {
		ahead, err := probe.Horizon(b.T, w.c.Int("ahead"))
		if err != nil {
			return 0, usagef("--ahead %d: %v", w.c.Int("ahead"), err)
		}
		return b.T - ahead, nil
	}
	err = w.eachClip(func(b *data.Batch) ([]byte, error) {
		frames, err := seen(b)
		if err != nil {
			return nil, err
		}
		first, err := w.encodeViews(b, frames, views)
		if err != nil {
			return nil, err
		}
		whole, err := w.encodeViews(b, b.T, views)
		seen := first.bytes()
		return slices.Concat(ranks.IntBytes([]int32{int32(len(seen))}), seen, whole.bytes()), err
	}, func(b *data.Batch, answer []byte) error {
		if b.Frames[0] < b.T {
			short++
			return nil
		}
		frames, err := seen(b)
		if err != nil {
			return err
		}
		n := ranks.Ints(answer[:4])[0]
		answer = answer[4:]
		clip := probe.ForecastClip{}
		if clip.Seen, err = w.examples(b, frames, views, answer[:n]); err != nil {
			return err
		}
		if clip.Whole, err = w.examples(b, b.T, views, answer[n:]); err != nil {
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
