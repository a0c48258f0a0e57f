package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"magvit/trainer/published"
)

// publishedFlags are those of import that only files of published tokenizers have.
var publishedFlags = []string{"weights", "version", "levels", "factors", "inflate"}

func importPublished(c *cli.Context, file string) error {
	o := published.ImportOptions{File: file, Out: c.String("out"), Family: c.String("from"), Weights: c.String("weights"), Version: c.String("version"), Factors: c.String("factors"), Inflate: c.Bool("inflate"), Config: c.String("config"), Set: c.StringSlice("set")}
	if !slices.Contains([]string{"", published.Averaged, published.Plain}, o.Weights) {
		return usagef("--weights %s: want %s or %s", o.Weights, published.Averaged, published.Plain)
	}
	if !slices.Contains([]string{"", "1.0", "1.1"}, o.Version) {
		return usagef("--version %s: want 1.0 or 1.1", o.Version)
	}
	if c.IsSet("levels") {
		for _, text := range strings.Split(c.String("levels"), ",") {
			n, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil {
				return usagef("--levels %s: want numbers such as 8,8,8,5,5", c.String("levels"))
			}
			o.Levels = append(o.Levels, n)
		}
	}
	p := newProgress(c, "import", 10*time.Second)
	o.Progress = func(done, of int) {
		p.set(float64(done)/float64(of), fmt.Sprintf("%.1f of %.1f million values", float64(done)/1e6, float64(of)/1e6))
	}
	r, err := published.Import(o)
	p.close()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	lines := []string{
		strings.TrimSpace(fmt.Sprintf("%s: %s %s", file, r.Family, r.Version)),
		fmt.Sprintf("imported: %d tensors, %d values, weights %s", r.Tensors, r.Parameters, r.Weights),
	}
	if len(r.LeftOut) > 0 {
		lines = append(lines, "left out: "+strings.Join(r.LeftOut, ", "))
	}
	for _, n := range r.Notes {
		lines = append(lines, "note: "+n)
	}
	return printLine(c.App.Writer, "%s\n%s: checkpoint %s", strings.Join(lines, "\n"), r.Run, r.Checkpoint)
}

func exportPublished(c *cli.Context, out string) error {
	r, err := published.Export(c.String("checkpoint"), out, c.String("to"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, r)
	}
	return printExported(c, r.From, r.Path, r.Step, r.Tensors, r.Average, r.Notes)
}
