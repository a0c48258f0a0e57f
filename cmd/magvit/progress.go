package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
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
	note     string // to the right of the bar, with the fraction and the time left
	text     string // shown instead of these, unless it is empty
	fraction float64
	first    float64 // fraction at the start, from an earlier process
	began    time.Time
	logged   time.Time
}

// barParts is the bar's total; parts of it are done.
const barParts = 1000

// newProgress starts a bar called name if the log goes to a terminal; elsewhere a line is
// logged at most once in the interval every, or never if that is 0. With --quiet there is
// neither, and only warnings and errors are logged; nor has a rank but the first.
func newProgress(c *cli.Context, name string, every time.Duration) *progress {
	w := c.App.ErrWriter
	p := &progress{log: logger(w), every: every}
	if !launched.first() {
		p.log, p.every = launched.named(p.log), 0
		return p
	}
	if c.Bool("quiet") {
		p.log, p.every = slog.New(atLeast{p.log.Handler(), slog.LevelWarn}), 0
		return p
	}
	if !terminal(w) {
		return p
	}
	p.pool = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	p.bar = p.pool.AddBar(barParts, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.text != "" {
				return " " + p.text
			}
			return " " + p.line(time.Now())
		})))
	p.log = slog.New(withoutSteps{coloured(p.pool)})
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

// show shows the fraction done, in [0,1], and a text instead of percentage and time left. It logs nothing.
func (p *progress) show(fraction float64, text string) {
	p.mu.Lock()
	p.text = text
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.SetCurrent(int64(min(fraction, 1) * (barParts - 1)))
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

// atLeast drops records below a level.
type atLeast struct {
	slog.Handler
	level slog.Level
}

func (a atLeast) Enabled(_ context.Context, l slog.Level) bool { return l >= a.level }

// WithAttrs is slog.Handler's.
func (a atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{a.Handler.WithAttrs(attrs), a.level}
}

// withoutSteps handles all records but those of steps, whose numbers the bar shows.
type withoutSteps struct{ slog.Handler }

func (h withoutSteps) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "step" {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}
