package report

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"magvit/trainer/metrics"
	"magvit/trainer/quality"
)

// Beside is another run next to the page's own, after the last evaluation of each.
type Beside struct {
	Names   [2]string
	Rows    []BesideRow
	Samples [2][]Sample
	Warning string // why the numbers cannot be compared; "": they can
}

// BesideRow is a number of both runs.
type BesideRow struct {
	Name   string
	Values [2]string
	Change string // the second less the first; "": one is missing
}

// besides compares two runs, in directories dirs.
func besides(dirs [2]string, runs [2]*run) (*Beside, error) {
	b := &Beside{}
	var last [2]metrics.EvalRecord
	var judged [2]*quality.Saved
	for i, r := range runs {
		full, err := filepath.Abs(dirs[i])
		if err != nil {
			return nil, err
		}
		b.Names[i] = filepath.Base(full)
		if len(r.evals) == 0 {
			return nil, fmt.Errorf("%s has no evaluation of a tokenizer", dirs[i])
		}
		last[i] = r.evals[len(r.evals)-1]
		if judged[i], err = loadQuality(dirs[i]); err != nil {
			return nil, err
		}
		if b.Samples[i], _, err = samples(filepath.Join(dirs[i], "samples")); err != nil {
			return nil, err
		}
	}
	if b.Names[0] == b.Names[1] {
		b.Names = dirs
	}
	switch {
	case last[0].Step != last[1].Step:
		b.Warning = fmt.Sprintf("The runs were evaluated after %d and %d steps.", last[0].Step, last[1].Step)
	case last[0].Val.Clips != last[1].Val.Clips:
		b.Warning = fmt.Sprintf("The runs were evaluated on %d and %d clips.", last[0].Val.Clips, last[1].Val.Clips)
	}
	row := func(name string, digits int, of func(metrics.Report) metrics.Number) {
		b.add(name, digits, [2]metrics.Number{of(last[0].Val), of(last[1].Val)})
	}
	b.add("steps", 0, [2]metrics.Number{metrics.Number(last[0].Step), metrics.Number(last[1].Step)})
	row("PSNR, dB", 2, func(r metrics.Report) metrics.Number { return r.PSNR })
	row("foreground PSNR, dB", 2, func(r metrics.Report) metrics.Number { return r.ForegroundPSNR })
	row("SSIM", 4, func(r metrics.Report) metrics.Number { return r.SSIM })
	row("different codes used", 0, func(r metrics.Report) metrics.Number { return metrics.Number(r.Codes.Used) })
	row("perplexity of codes", 1, func(r metrics.Report) metrics.Number { return r.Codes.Perplexity })
	b.judged(judged, [2]int{last[0].Step, last[1].Step})
	return b, nil
}

// judged adds the metrics of magvit eval --metrics that both runs have of their last evaluation's step, or says of which steps they are.
func (b *Beside) judged(of [2]*quality.Saved, steps [2]int) {
	if of[0] == nil || of[1] == nil {
		return
	}
	if of[0].Step != steps[0] || of[1].Step != steps[1] {
		b.Warning = strings.TrimSpace(fmt.Sprintf("%s The metrics of magvit eval --metrics are of steps %d and %d, and left out.", b.Warning, of[0].Step, of[1].Step))
		return
	}
	for _, v := range of[0].Metrics {
		if slices.ContainsFunc(of[1].Metrics, func(w quality.Value) bool { return w.Name == v.Name }) {
			name := v.Name + ", " + v.Better + " is better"
			if v.Better == "1" {
				name = v.Name + ", 1 is right"
			}
			b.add(name, 4, [2]metrics.Number{v.Value, of[1].Of(v.Name).Value})
		}
	}
}

func (b *Beside) add(name string, digits int, values [2]metrics.Number) {
	r := BesideRow{Name: name, Values: [2]string{values[0].Text(digits), values[1].Text(digits)}}
	if d := values[1] - values[0]; d.Finite() {
		if r.Change = d.Text(digits); d > 0 {
			r.Change = "+" + r.Change
		}
	}
	b.Rows = append(b.Rows, r)
}

// loadQuality reads quality.json. It is nil if there is none or it cannot be parsed; the page
// is written without it.
func loadQuality(dir string) (*quality.Saved, error) {
	text, err := optional(filepath.Join(dir, quality.FileName))
	if err != nil || text == nil {
		return nil, err
	}
	var q quality.Saved
	if json.Unmarshal(text, &q) != nil {
		return nil, nil
	}
	return &q, nil
}
