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

// progress shows how far a long work is: a bar on a terminal, lines in the log
// elsewhere. Its logger writes above the bar.
type progress struct {
	log   *slog.Logger
	pool  *mpb.Progress // nil: no terminal
	bar   *mpb.Bar
	every time.Duration // between lines in the log; 0: none

	mu    sync.Mutex
	note  string // beside the bar
	share float64
	first float64 // share at the start, from an earlier process
	began time.Time
	said  time.Time
}

// barParts is the bar's total; parts of it are done.
const barParts = 1000

// newProgress starts a bar called name on the terminal w; elsewhere a line is
// logged at most every so often, 0 for never.
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

// set says how much is done, in [0,1], and what else there is to say; "" leaves that as it was.
func (p *progress) set(share float64, note string) {
	p.mu.Lock()
	now := time.Now()
	if p.began.IsZero() {
		p.began, p.said, p.first = now, now, share
	}
	p.share = share
	if note != "" {
		p.note = note
	}
	line := ""
	if p.pool == nil && p.every > 0 && now.Sub(p.said) >= p.every {
		p.said, line = now, p.line(now)
	}
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.SetCurrent(int64(min(share, 1) * (barParts - 1))) // the last part is close's
	}
	if line != "" {
		p.log.Info(line)
	}
}

// line is what is known, the time still needed with it once that can be told.
func (p *progress) line(now time.Time) string {
	line := fmt.Sprintf("%.0f %%  %s", 100*p.share, p.note)
	if p.share > p.first && p.share < 1 {
		left := time.Duration(float64(now.Sub(p.began)) * (1 - p.share) / (p.share - p.first))
		line += fmt.Sprintf("  %v left", left.Round(time.Second))
	}
	return line
}

// close removes the bar; what is logged later goes nowhere.
func (p *progress) close() {
	if p.pool != nil {
		p.bar.Abort(true)
		p.pool.Wait()
	}
}

// quiet passes everything on but the records of steps, which a bar shows.
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
