package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// jsonFlag belongs to every command that prints results.
func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print the result as JSON"} }

// printJSON writes a command's result to stdout.
func printJSON(c *cli.Context, v any) error {
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// logger writes to w: coloured on a terminal, key=value lines elsewhere.
func logger(w io.Writer) *slog.Logger {
	if terminal(w) {
		return slog.New(coloured(w))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: brief}))
}

func coloured(w io.Writer) slog.Handler {
	return tint.NewTextHandler(w, &tint.Options{TimeFormat: time.TimeOnly, ReplaceAttr: brief})
}

// brief omits the date of a record, and shortens numbers to four digits.
func brief(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindFloat64:
		a.Value = slog.StringValue(fmt.Sprintf("%.4g", a.Value.Float64()))
	case slog.KindTime:
		a.Value = slog.StringValue(a.Value.Time().Format(time.TimeOnly))
	}
	return a
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// inBytes prints a size with a decimal unit.
func inBytes(n uint64) string {
	const kilo = 1000
	if n < kilo {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/kilo, 0
	for v >= kilo && i < 4 {
		v, i = v/kilo, i+1
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGTP"[i])
}
