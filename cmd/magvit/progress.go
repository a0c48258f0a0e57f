package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows the progress of a command: a bar on a terminal, lines in the log
// elsewhere. Its logger writes above the bar.
type progress struct {
	log   *slog.Logger
	pool  *mpb.Progress // nil: no terminal
	bar   *mpb.Bar
	every time.Duration // between lines in the log; 0: none

	mu       sync.Mutex
	note     string // to the right of the bar
	fraction float64
	first    float64 // fraction at the start, from an earlier process
	began    time.Time
	logged   time.Time
}

// barParts is the bar's total; parts of it are done.
const barParts = 1000

// newProgress starts a bar called name on the terminal w; elsewhere a line is logged at
// most once in the interval every, or never if that is 0.
func newProgress(w io.Writer, name string, every time.Duration) *progress {
	p := &progress{log: logger(w), every: every}
	if !terminal(w) {
		return p
	}
	p.pool = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	p.bar = p.pool.AddBar(barParts, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			return " " + p.line(time.Now())
		})))
	p.log = slog.New(quiet{coloured(p.pool), p})
	return p
}

// set shows the fraction done, in [0,1], and a note; an empty note leaves the last one.
func (p *progress) set(fraction float64, note string) {
	p.mu.Lock()
	now := time.Now()
	if p.began.IsZero() {
		p.began, p.logged, p.first = now, now, fraction
	}
	p.fraction = fraction
	if note != "" {
		p.note = note
	}
	line := ""
	if p.pool == nil && p.every > 0 && now.Sub(p.logged) >= p.every {
		p.logged, line = now, p.line(now)
	}
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.SetCurrent(int64(min(fraction, 1) * (barParts - 1))) // the last part is close's
	}
	if line != "" {
		p.log.Info(line)
	}
}

// line is the fraction, the note and, once known, the time left.
func (p *progress) line(now time.Time) string {
	line := fmt.Sprintf("%.0f %%  %s", 100*p.fraction, p.note)
	if p.fraction > p.first && p.fraction < 1 {
		left := time.Duration(float64(now.Sub(p.began)) * (1 - p.fraction) / (p.fraction - p.first))
		line += fmt.Sprintf("  %v left", left.Round(time.Second))
	}
	return line
}

// close removes the bar. Later records are not logged.
func (p *progress) close() {
	if p.pool != nil {
		p.bar.Abort(true)
		p.pool.Wait()
	}
}

// quiet handles all records but those of steps, which the bar shows.
type quiet struct {
	slog.Handler
	p *progress
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Message != "step" {
		return q.Handler.Handle(ctx, r)
	}
	note := ""
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "loss":
			note += fmt.Sprintf("loss %.5f", a.Value.Float64())
		case "clips_per_s":
			note += fmt.Sprintf("  %.1f clips/s", a.Value.Float64())
		}
		return true
	})
	q.p.mu.Lock()
	q.p.note = note
	q.p.mu.Unlock()
	return nil
}
