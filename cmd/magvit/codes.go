package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"magvit/trainer/codes"
	"magvit/trainer/metrics"
)

func codesCommand() *cli.Command {
	return &cli.Command{
		Name:        "codes",
		Usage:       "show what a file or folder of codes holds, and how its codebook is used",
		ArgsUsage:   "PATH",
		Description: example("magvit codes codes.npz", "magvit codes codes/ --json"),
		Flags:       []cli.Flag{jsonFlag()},
		Action:      showCodes,
	}
}

// codesSummary is what codes prints.
type codesSummary struct {
	Path   string         `json:"path"`
	Clips  int            `json:"clips"`
	Header codes.Header   `json:"header"`
	Labels map[string]int `json:"labels,omitempty"` // clips of each class, by name or number
	Frames [2]int         `json:"frames"`           // of the shortest and the longest clip; 0: unknown
	Use    metrics.Codes  `json:"use"`              // of codes by the codebook
	// Factors are the use of each sub-vocabulary.
	Factors []metrics.Codes `json:"factor_use,omitempty"`
}

func showCodes(c *cli.Context) error {
	args, err := arguments(c, 1, 1, "PATH")
	if err != nil {
		return err
	}
	set, err := codes.Open(args[0])
	if err != nil {
		return err
	}
	s, err := summarize(c, set)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, s)
	}
	return s.write(c.App.Writer)
}

func summarize(c *cli.Context, set *codes.Set) (codesSummary, error) {
	s := codesSummary{Path: set.Path, Clips: set.Clips, Header: set.Header, Labels: map[string]int{}}
	size := set.Codebook
	if size == 0 { // unknown: the codes that there are
		size = math.MaxInt32
	}
	use := metrics.NewCodeCounter(size, set.Levels)
	var factors []*metrics.CodeCounter
	for _, f := range set.Factors {
		factors = append(factors, metrics.NewCodeCounter(f, nil))
	}
	err := set.Each(c.Context, func(b codes.Block) error {
		if err := use.Add(b.Codes); err != nil {
			return usagef("%s: clips from %d on: %w", set.Path, b.First, err)
		}
		rest := slices.Clone(b.Codes)
		for k, f := range set.Factors {
			part := make([]int32, len(rest))
			for i, v := range rest {
				part[i], rest[i] = v%int32(f), v/int32(f)
			}
			if err := factors[k].Add(part); err != nil {
				return usagef("%s: clips from %d on: %w", set.Path, b.First, err)
			}
		}
		for _, l := range b.Labels {
			name := fmt.Sprint(l)
			if l >= 0 && int(l) < len(set.Classes) {
				name = set.Classes[l]
			}
			if l >= 0 {
				s.Labels[name]++
			}
		}
		for i, n := range b.Frames {
			if s.Frames[0] == 0 && i == 0 {
				s.Frames = [2]int{int(n), int(n)}
			}
			s.Frames = [2]int{min(s.Frames[0], int(n)), max(s.Frames[1], int(n))}
		}
		return nil
	})
	s.Use = use.Report()
	if set.Codebook == 0 {
		s.Use.Size, s.Use.UsedFraction, s.Use.Digits, s.Use.DeadBits = 0, 0, 0, 0
	}
	for _, f := range factors {
		s.Factors = append(s.Factors, f.Report())
	}
	return s, err
}

func (s codesSummary) write(to io.Writer) error {
	t := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	h := s.Header
	row("clips", "%d", s.Clips)
	if s.Frames[1] > 0 {
		row("frames of a clip", "%d to %d", s.Frames[0], s.Frames[1])
	}
	row("codes of a clip", "%d×%d×%d (time, height, width), %d codebooks", h.Grid[0], h.Grid[1], h.Grid[2], h.Codebooks)
	if h.Codebook > 0 {
		row("codebook", "%d codes, %s, digits of %v values", h.Codebook, h.Quantizer, h.Levels)
	}
	if h.BitOrder != "" {
		row("order of digits", "%s", h.BitOrder)
	}
	if h.Factors != nil {
		row("stored as factors", "of %v values, the lowest first", h.Factors)
	}
	if h.Tokenizer != "" {
		row("tokenizer", "weights %.12s, step %d", h.Tokenizer, h.Step)
	}
	if h.Source != nil {
		row("made of", "%s (%s)", strings.Join(h.Source, ", "), h.Split)
	}
	for i, name := range h.Classes {
		if n := s.Labels[name]; n > 0 {
			row("class "+name, "%s (label %d)", metrics.Plural(n, "clip"), i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		if !slices.Contains(h.Classes, name) {
			row("label "+name, "%s, of a class without a name", metrics.Plural(s.Labels[name], "clip"))
		}
	}
	show := func(name string, u metrics.Codes) {
		of := ""
		if u.Size > 0 {
			of = fmt.Sprintf(" of %d (%.1f %%)", u.Size, 100*float64(u.UsedFraction))
		}
		row(name+" used", "%d%s in %d", u.Used, of, u.Count)
		row("perplexity", "%s", u.Perplexity.Text(1))
		row("entropy", "%s bits per token%s", u.EntropyBits.Text(2), map[bool]string{true: fmt.Sprintf(" of %.2f", math.Log2(float64(u.Size)))}[u.Size > 0])
	}
	show("codes", s.Use)
	for k, u := range s.Factors {
		show(fmt.Sprintf("factor %d", k), u)
	}
	return t.Flush()
}
