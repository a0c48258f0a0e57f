// Package report turns a run directory into one page.
//
// It reads config.yaml, metrics.jsonl, progress.json and the pictures below
// samples/, each of which may be missing, and writes report.html: one file that
// needs no network and no script, for a screen, a phone or paper. SideBySide and
// AnimatedGIF draw the pictures that a run puts there under SampleName.
//
// Why the page begins with a verdict in words: the numbers of a tokenizer that learnt
// nothing seem fine to a reader who does not know the score of a blank frame.
package report

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	_ "image/gif" // to read the size of samples
	_ "image/png"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"magvit/trainer/atomicfile"
	"magvit/trainer/metrics"
	"magvit/trainer/videocodec"
)

// FileName is the page's name in the run directory.
const FileName = "report.html"

// maxBytes bounds the pictures in a page.
const maxBytes = 24 << 20

//go:embed page.html
var files embed.FS

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"inWords": inWords,
	"digits":  digits,
	"log2":    bitsOf,
	"grouped": grouped,
	"short":   func(n metrics.Number) string { return short(float64(n)) },
	"percent": func(n metrics.Number) string { return (100 * n).Text(2) + "\u00a0%" },
}).ParseFS(files, "page.html"))

// data is what the page shows.
type data struct {
	Task       string // tokenizer, classifier or prior
	Name       string
	Verdict    []Finding
	Facts      []Fact
	Charts     []Chart
	Ranks      []Chart // one, if there were codes
	Samples    []Sample
	LeftOut    []string // samples beyond maxBytes
	Step       int      // of the evaluation shown
	Val        *metrics.Report
	Rows       []Baseline
	Gain       metrics.Scores
	Config     string
	Bad        int // lines of metrics.jsonl that could not be read
	Scale      int
	Grow       int
	MaxPSNR    int
	GainGood   float64
	GainFair   float64
	GainPerBit float64
	Collapse   float64
	UsedGood   float64
	Probe      *Probe                  // nil if there was none
	Forecast   *Forecast               // nil if there was none
	Codecs     *videocodec.Comparison  // nil if there was none
	Beside     *Beside                 // nil if no other run was named
	Classify   *metrics.Classification // of a classifier, which has no Val
}

// Baseline is a row of the table of baselines.
type Baseline struct {
	Name string
	metrics.Scores
}

// Sample is an embedded picture.
type Sample struct {
	Src           template.URL
	Alt, Caption  string
	Width, Height int
	Animated      bool
}

// Write makes report.html in a run directory and returns its path. The old page
// is replaced atomically. It is an
// error if the directory holds neither config.yaml nor metrics.jsonl.
func Write(dir string) (path string, err error) { return WriteBeside(dir, "") }

// WriteBeside is Write with a section that shows another run next to this one; "": none.
func WriteBeside(dir, other string) (path string, err error) {
	own, err := load(dir)
	if err != nil {
		return "", fmt.Errorf("report of %s: %w", dir, err)
	}
	d, err := fill(dir, own)
	if err != nil {
		return "", fmt.Errorf("report of %s: %w", dir, err)
	}
	if other != "" {
		second, err := load(other)
		if err == nil {
			d.Beside, err = besides([2]string{dir, other}, [2]*run{own, second})
		}
		if err != nil {
			return "", fmt.Errorf("report of %s beside %s: %w", dir, other, err)
		}
	}
	var b bytes.Buffer
	if err := page.Execute(&b, d); err != nil {
		return "", fmt.Errorf("report of %s: %w", dir, err)
	}
	path = filepath.Join(dir, FileName)
	if err := atomicfile.WriteBytes(path, b.Bytes()); err != nil {
		return "", fmt.Errorf("report of %s: %w", dir, err)
	}
	return path, nil
}

func fill(dir string, run *run) (*data, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d := &data{Name: filepath.Base(full), Task: "tokenizer", Verdict: verdict(run.steps, run.evals), Facts: facts(run),
		Config: run.config, Bad: run.bad, Scale: ErrorScale, Grow: metrics.Grow, MaxPSNR: metrics.MaxPSNR,
		GainGood: GainGood, GainFair: GainFair, GainPerBit: GainPerBit, Collapse: metrics.CollapsedPerplexity, UsedGood: 100 * UsedGood}
	probed, err := loadProbe(dir)
	if err != nil {
		return nil, err
	}
	if d.Probe = showProbe(probed); probed != nil {
		for _, f := range probed.Verdict {
			d.Verdict = append(d.Verdict, Finding(f))
		}
	}
	if d.Forecast, err = loadForecast(dir); err != nil {
		return nil, err
	}
	if d.Forecast != nil {
		for _, f := range d.Forecast.Verdict {
			d.Verdict = append(d.Verdict, Finding(f))
		}
	}
	if d.Codecs, err = loadCodecs(dir); err != nil {
		return nil, err
	}
	if d.Charts, err = charts(run.steps, run.evals); err != nil {
		return nil, err
	}
	if n := len(run.classifierEvals); n > 0 {
		d.Task = "classifier"
		d.Step, d.Classify = run.classifierEvals[n-1].Step, run.classifierEvals[n-1].Classify
		d.Verdict = append(classified(*d.Classify), d.Verdict[1:]...) // the first one misses reconstructions
		own, err := classifierCharts(run.steps, run.classifierEvals)
		if err != nil {
			return nil, err
		}
		d.Charts = append(own, d.Charts...)
	}
	if n := len(run.priorEvals); n > 0 {
		d.Task, d.Step = "prior", run.priorEvals[n-1].Step
		d.Verdict = append([]Finding{likelihood(*run.priorEvals[n-1].Prior)}, d.Verdict[1:]...)
		own, err := priorCharts(run.steps, run.priorEvals)
		if err != nil {
			return nil, err
		}
		d.Charts = append(own, d.Charts...)
	}
	if d.Samples, d.LeftOut, err = samples(filepath.Join(dir, "samples")); err != nil {
		return nil, err
	}
	if len(run.evals) == 0 {
		return d, nil
	}
	last := run.evals[len(run.evals)-1]
	d.Step, d.Val = last.Step, &last.Val
	if ranks, ok, err := rankChart(last.Val.Codes); err != nil {
		return nil, err
	} else if ok {
		d.Ranks = append(d.Ranks, ranks)
	}
	for _, name := range metrics.BaselineNames {
		if s, ok := last.Val.Baselines[name]; ok {
			d.Rows = append(d.Rows, Baseline{inWords(name), s})
		}
	}
	gain := func(value metrics.Number, of func(metrics.Scores) metrics.Number) metrics.Number {
		_, best := last.Val.BestBaseline(of)
		return value - best
	}
	d.Gain.PSNR = gain(last.Val.PSNR, func(s metrics.Scores) metrics.Number { return s.PSNR })
	d.Gain.ForegroundPSNR = gain(last.Val.ForegroundPSNR, func(s metrics.Scores) metrics.Number { return s.ForegroundPSNR })
	d.Gain.SSIM = gain(last.Val.SSIM, func(s metrics.Scores) metrics.Number { return s.SSIM })
	return d, nil
}

var sampleName = regexp.MustCompile(`^step-(\d+)-(.+)\.(png|gif)$`)

// samples embeds the pictures of the last step that has any, animations first,
// and names those that would make the page larger than maxBytes.
func samples(dir string) (list []Sample, leftOut []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	last := -1
	var names [][]string
	for _, e := range entries {
		m := sampleName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		step, err := strconv.Atoi(m[1])
		if err != nil {
			continue
		}
		if step > last {
			last, names = step, nil
		}
		if step == last {
			names = append(names, m)
		}
	}
	order := func(m []string) int { // animations of classes, of extremes, then still pictures in the same order
		i := 2 * slices.Index([]string{SampleName(last, BestName, m[3]), SampleName(last, WorstName, m[3]), SampleName(last, CodesName, m[3])}, m[0])
		if m[3] == "png" {
			i++
		}
		return i
	}
	slices.SortStableFunc(names, func(a, b []string) int { return cmp.Compare(order(a), order(b)) })
	total := 0
	for _, m := range names {
		b, err := os.ReadFile(filepath.Join(dir, m[0]))
		if err != nil {
			return nil, nil, err
		}
		size, kind, err := image.DecodeConfig(bytes.NewReader(b))
		if err != nil {
			leftOut = append(leftOut, m[0]+" (damaged)")
			continue
		}
		if total += len(b); total > maxBytes {
			leftOut = append(leftOut, m[0])
			continue
		}
		subject := strings.ReplaceAll(m[2], "_", " ")
		s := Sample{Src: template.URL("data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString(b)),
			Width: size.Width, Height: size.Height, Animated: kind == "gif"}
		switch {
		case subject == CodesName:
			s.Caption = fmt.Sprintf("Codes at step %d: a row of frames over a row of their codes. The colour is made of a code's digits, a third of them each for red, green and blue, so similar colours are similar codes. One flat colour everywhere is a collapsed codebook.", last)
			s.Alt = fmt.Sprintf("Frames of some held-out clips and maps of their codes at step %d.", last)
		case s.Animated:
			s.Caption = fmt.Sprintf("%s, step %d: original, reconstruction, error × %d", subject, last, ErrorScale)
			s.Alt = fmt.Sprintf("Animation of %s at step %d: left the original clip, in the middle its reconstruction, right the error.", subject, last)
		default:
			s.Caption = fmt.Sprintf("%s, step %d: rows are original, reconstruction and error × %d over sampled frames", subject, last, ErrorScale)
			s.Alt = fmt.Sprintf("Frames of %s at step %d: upper row the original, middle row the reconstruction, lower row the error.", subject, last)
		}
		list = append(list, s)
	}
	return list, leftOut, nil
}
