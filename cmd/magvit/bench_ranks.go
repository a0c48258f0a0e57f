package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer"
	"magvit/trainer/config"
	"magvit/trainer/ranks"
)

// link is what an exchange between ranks costs: seconds of latency, and bytes a second that
// each rank sends.
type link struct{ latency, rate float64 }

// parseLink reads microseconds and GB/s.
func parseLink(s string) (l link, err error) {
	a, b, ok := strings.Cut(s, ",")
	us, err1 := strconv.ParseFloat(strings.TrimSpace(a), 64)
	gb, err2 := strconv.ParseFloat(strings.TrimSpace(b), 64)
	if !ok || err1 != nil || err2 != nil || !(us >= 0) || !(gb > 0) {
		return l, usagef("--link %q: want two numbers, µs of an exchange and GB/s of each rank, as magvit bench reduce prints them", s)
	}
	return link{us / 1e6, gb * 1e9}, nil
}

// reduce is the time that the sum of a number of bytes takes over n ranks: two exchanges.
func (l link) reduce(bytes int64, n int) float64 {
	if n < 2 {
		return 0
	}
	return 2*l.latency + sent(int(bytes), n)/l.rate
}

// scaling is a step on a number of ranks, each with the batch of one.
type scaling struct {
	Ranks      int     `json:"ranks"`
	Seconds    float64 `json:"least_s"`
	Sums       float64 `json:"sums_s"`     // of all buckets, one after another
	Exposed    float64 `json:"exposed_s"`  // of which not hidden by the backward pass
	Efficiency float64 `json:"efficiency"` // clips a second of a rank, relative to one alone
}

// predict is a step on n ranks. launches are the seconds of a step's launches in order, the first
// of which are the plan whose buckets are added up meanwhile, if that hides them; the update follows.
func predict(launches []float64, plan int, buckets []trainer.Bucket, l link, n int, hidden bool) scaling {
	end := make([]float64, len(launches)+1) // when the first launches have run
	for i, s := range launches {
		end[i+1] = end[i] + s
	}
	s := scaling{Ranks: n}
	free := 0. // when the link is
	for _, b := range buckets {
		took := l.reduce(b.Bytes, n)
		free = max(free, end[b.Launches]) + took
		s.Sums += took
	}
	backward, alone := end[plan], end[len(launches)]
	s.Exposed = max(0, free-backward)
	switch {
	case n == 1:
		s.Exposed = 0
	case !hidden:
		s.Exposed = s.Sums
	}
	s.Seconds = alone + s.Exposed
	s.Efficiency = alone / s.Seconds
	return s
}

// rankStepResult is what bench step --ranks --json prints without --plan.
type rankStepResult struct {
	Preset        string  `json:"preset"`
	Device        string  `json:"device"` // of each rank
	Batch         int     `json:"batch"`  // of all ranks
	Frames        int     `json:"frames"`
	Size          int     `json:"size"`
	Alone         float64 `json:"alone_s"` // median step of one rank with its part of the batch, which adds nothing up
	Sums          int     `json:"sums"`    // of a step
	Bytes         int64   `json:"bytes"`   // that they add up
	Predicted     scaling `json:"predicted"`
	MinSeconds    float64 `json:"min_s,omitempty"` // of the ranks that a launcher started
	MedianSeconds float64 `json:"median_s,omitempty"`
}

// benchRankStep predicts a step of ranks that share a batch from that of one rank with its part of the batch, and
// measures it where a launcher has started the ranks. Each of these makes the step of one rank at the same
// time, so that what they share of a machine is in the prediction.
func benchRankStep(c *cli.Context, be kernels.Backend, net model.Network, cfg config.Config, shape model.Shape, g *ranks.Group, l link) error {
	n := c.Int("ranks")
	if g.Size() > 1 && g.Size() != n {
		return usagef("--ranks %d: the launcher started %d", n, g.Size())
	}
	if shape.N%n != 0 {
		return usagef("--ranks %d: want a number that divides the batch of %d clips", n, shape.N)
	}
	r := rankStepResult{Preset: c.String("preset"), Device: describe(be), Batch: shape.N, Frames: shape.T, Size: shape.H}
	shape.N /= n
	alone, err := newMeasured(be, net, cfg, shape, nil)
	if err != nil {
		return err
	}
	if g.Size() > 1 {
		if err := g.Barrier(c.Context); err != nil {
			return err
		}
	}
	took, err := alone.time(c.Context, c.Int("steps"))
	if err != nil {
		return err
	}
	r.Alone = took.median
	plan := alone.steps.Program().Plan
	launches, err := plan.Times()
	if err != nil {
		return err
	}
	buckets := alone.steps.Buckets()
	for _, b := range buckets {
		r.Sums, r.Bytes = r.Sums+1, r.Bytes+b.Bytes
	}
	r.Predicted = predict(upTo(launches, r.Alone), plan.Launches(), buckets, l, n, launched.apart != nil) // through shared memory the core that computes adds up
	if g.Size() > 1 {
		shared, err := newMeasured(be, net, cfg, shape, g)
		if err != nil {
			return err
		}
		if took, err = shared.time(c.Context, c.Int("steps")); err != nil || !g.First() {
			return err
		}
		r.MinSeconds, r.MedianSeconds = took.least, took.median
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return r.write(c.App.Writer, l)
}

// upTo are the seconds of launches with those of the update after them, so that their sum is that of a whole step.
func upTo(launches []float64, step float64) []float64 {
	sum := 0.
	for _, s := range launches {
		sum += s
	}
	if sum > step { // launches that were waited for one by one take a little longer
		for i := range launches {
			launches[i] *= step / sum
		}
		sum = step
	}
	return append(launches, step-sum)
}

func (r rankStepResult) write(w io.Writer, l link) error {
	p := r.Predicted
	_, err := fmt.Fprintf(w, "%s, %s: %d clips of %d frames, %d×%d, on %d ranks\n", r.Preset, r.Device, r.Batch, r.Frames, r.Size, r.Size, p.Ranks)
	if err == nil {
		_, err = fmt.Fprintf(w, "one rank alone with %d clips: %.1f ms a step\n%d sums of %s by exchanges of %.1f µs and %.2f GB/s: %.1f ms, of which %.1f ms not hidden\npredicted: %.1f ms, %.1f %% of the speed alone\n",
			r.Batch/p.Ranks, 1e3*r.Alone, r.Sums, inBytes(uint64(r.Bytes)), 1e6*l.latency, l.rate/1e9, 1e3*p.Sums, 1e3*p.Exposed, 1e3*p.Seconds, 100*p.Efficiency)
	}
	if err == nil && r.MedianSeconds > 0 {
		_, err = fmt.Fprintf(w, "measured: %.1f ms (least %.1f ms), %.1f %%\n", 1e3*r.MedianSeconds, 1e3*r.MinSeconds, 100*r.Alone/r.MedianSeconds)
	}
	return err
}

func writeScaling(w io.Writer, rows []scaling, l link) error {
	fmt.Fprintf(w, "on several GPUs with the same batch on each, with exchanges of %.1f µs and %.1f GB/s from each:\n", 1e6*l.latency, l.rate/1e9)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ranks\tms\tsums ms\texposed ms\tefficiency\t")
	for _, s := range rows {
		fmt.Fprintf(t, "%d\t%.2f\t%.2f\t%.2f\t%.1f %%\t\n", s.Ranks, 1e3*s.Seconds, 1e3*s.Sums, 1e3*s.Exposed, 100*s.Efficiency)
	}
	return t.Flush()
}
