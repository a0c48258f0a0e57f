package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"magvit/trainer/config"
	"magvit/trainer/metrics"
)

// run is what a run directory holds; what is missing is empty.
type run struct {
	config          string
	settings        []Fact // config.yaml, flattened to dotted keys
	progress        []Fact // progress.json, the same
	steps           []metrics.StepRecord
	evals           []metrics.EvalRecord
	classifierEvals []metrics.EvalRecord
	priorEvals      []metrics.EvalRecord
	bad             int // unreadable lines of metrics.jsonl, a torn last one left out
}

// Fact is a setting or a result, for the table "What ran".
type Fact struct{ Name, Value string }

func load(dir string) (*run, error) {
	r := &run{}
	text, err := optional(filepath.Join(dir, "config.yaml"))
	if err != nil {
		return nil, err
	}
	lines, err := os.Open(filepath.Join(dir, "metrics.jsonl"))
	switch {
	case errors.Is(err, fs.ErrNotExist) && text == nil:
		return nil, errors.New("not a run directory: it holds neither config.yaml nor metrics.jsonl")
	case err == nil:
		err = errors.Join(r.read(lines), lines.Close())
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	progress, err := optional(filepath.Join(dir, "progress.json"))
	if err != nil {
		return nil, err
	}
	r.config = string(text)
	// Both are only displayed, so the page is written without one that cannot be parsed.
	var tree any
	if yaml.Unmarshal(text, &tree) == nil {
		r.settings = flatten(tree)
	}
	tree = nil
	if json.Unmarshal(progress, &tree) == nil {
		r.progress = flatten(tree)
	}
	return r, nil
}

// optional reads a file; nil if there is none.
func optional(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// read parses metrics.jsonl. A line with "loss" is a step, one with
// "val" an evaluation, and one may be both.
func (r *run) read(f io.Reader) error {
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("metrics.jsonl: %w", err)
		}
		whole := err == nil
		if len(bytes.TrimSpace(line)) > 0 {
			var keys struct {
				Loss, Val, Classify, Prior json.RawMessage
			}
			var step metrics.StepRecord
			var eval metrics.EvalRecord
			bad := json.Unmarshal(line, &keys) != nil || keys.Loss == nil && keys.Val == nil && keys.Classify == nil && keys.Prior == nil
			if !bad && keys.Loss != nil {
				if bad = json.Unmarshal(line, &step) != nil; !bad {
					r.steps = append(r.steps, step)
				}
			}
			if !bad && keys.Classify != nil {
				var eval metrics.EvalRecord
				if bad = json.Unmarshal(line, &eval) != nil || eval.Classify == nil; !bad {
					r.classifierEvals = append(r.classifierEvals, eval)
				}
			}
			if !bad && keys.Prior != nil {
				var eval metrics.EvalRecord
				if bad = json.Unmarshal(line, &eval) != nil || eval.Prior == nil; !bad {
					r.priorEvals = append(r.priorEvals, eval)
				}
			}
			if !bad && keys.Val != nil {
				if bad = json.Unmarshal(line, &eval) != nil; !bad {
					r.evals = append(r.evals, eval)
				}
			}
			if bad && whole {
				r.bad++
			}
		}
		if !whole {
			return nil
		}
	}
}

// flatten turns the leaves of a YAML or JSON tree into facts.
func flatten(tree any) (list []Fact) {
	for _, l := range config.Dotted(tree) {
		value := fmt.Sprint(l.Value)
		switch v := l.Value.(type) {
		case []any:
			var parts []string
			for _, item := range v {
				parts = append(parts, fmt.Sprint(item))
			}
			value = strings.Join(parts, ", ")
		case float64:
			if value = short(v); v == math.Trunc(v) && math.Abs(v) < 1e15 {
				value = strconv.FormatFloat(v, 'f', 0, 64)
			}
		}
		list = append(list, Fact{l.Key, value})
	}
	return list
}

// facts describes the run: its settings from progress.json and config.yaml, its
// progress from metrics.jsonl.
func facts(r *run) (list []Fact) {
	add := func(name, value string) {
		if value != "" {
			list = append(list, Fact{name, value})
		}
	}
	add("State", r.state(time.Now()))
	add("Preset", r.find("preset"))
	add("Device", r.find("device"))
	add("Precision", r.find("precision"))
	add("Data", r.find("data", "data.path", "data.paths"))
	add("Seed", r.find("seed"))
	add("Image size", r.find("image_size"))
	if len(r.classifierEvals)+len(r.priorEvals) == 0 {
		add("Quantizer", r.find("quantizer", "quantizer.kind", "quantizer.type", "quantizer.name"))
		add("Codebook", r.find("levels", "codebook_size"))
	}
	add("Batch", r.find("train.batch", "batch", "batch_size"))
	add("Parameters", grouped(r.find("parameters")))
	add("Version", r.find("version", "commit"))
	if n := len(r.steps); n > 0 {
		last := r.steps[n-1]
		step := last.Step // of the last record; the last evaluation may be later
		if n := len(r.evals); n > 0 {
			step = max(step, r.evals[n-1].Step)
		}
		add("Steps", metrics.Grouped(step))
		if last.Seconds.Finite() {
			add("Training time", (time.Duration(math.Round(float64(last.Seconds))) * time.Second).String())
		}
		var speeds []float64
		for _, s := range r.steps {
			if s.ClipsPerSecond.Finite() {
				speeds = append(speeds, float64(s.ClipsPerSecond))
			}
		}
		if slices.Sort(speeds); len(speeds) > 0 {
			add("Speed", "median "+short(speeds[len(speeds)/2])+" clips/s")
		}
	}
	if n := len(r.priorEvals); n > 0 {
		p := r.priorEvals[n-1].Prior
		add("Network", "prior over codes, "+p.Kind)
		add("Held-out clips", fmt.Sprintf("%s of %s codes", metrics.Grouped(p.Clips), metrics.Grouped(p.Tokens)))
	}
	if n := len(r.classifierEvals); n > 0 {
		add("Network", r.classifierEvals[n-1].Classify.Network)
		add("Held-out clips", fmt.Sprint(r.classifierEvals[n-1].Classify.Clips))
	}
	if n := len(r.evals); n > 0 {
		last := r.evals[n-1].Val
		add("Held-out clips", fmt.Sprintf("%s, %s frames", metrics.Grouped(last.Clips), metrics.Grouped(last.Frames)))
		if last.Clips > 0 && last.BitsPerPixel.Finite() && last.BitsPerPixel > 0 {
			add("Codes of a clip", metrics.Grouped(int(last.Codes.Count)/last.Clips)+" of "+metrics.Grouped(last.Codes.Size))
			if g := last.Grid; len(g) == 3 {
				add("Latent shape", fmt.Sprintf("%d×%d×%d (time, height, width)", g[0], g[1], g[2]))
			}
			add("Rate", fmt.Sprintf("%s bits a pixel, compression %s:1 (8 bits a channel)", last.BitsPerPixel.Text(4), last.Compression.Text(0)))
		}
	}
	return list
}

// silence is the age of progress.json beyond which a run that is not finished has stopped. A run replaces it every few
// seconds, but not during a step or an evaluation.
const silence = 10 * time.Minute

// state says whether the run goes on, by progress.json.
func (r *run) state(now time.Time) string {
	state := r.find("state")
	at, err := time.Parse(time.RFC3339Nano, r.find("heartbeat"))
	switch {
	case state == "" || err != nil:
		return ""
	case state != "training" && state != "evaluating":
		return state + " at " + at.Format(time.DateTime)
	case now.Sub(at) > silence:
		return fmt.Sprintf("not running: it was %s at %s, and wrote nothing since", state, at.Format(time.DateTime))
	}
	return fmt.Sprintf("running: it was %s at %s", state, at.Format(time.DateTime))
}

// grouped prints a whole number with its digits in groups; other text stays.
func grouped(s string) string {
	if n, err := strconv.Atoi(s); err == nil {
		return metrics.Grouped(n)
	}
	return s
}

// find is the value of the first setting whose dotted key ends in one of the names.
func (r *run) find(names ...string) string {
	for _, name := range names {
		for _, f := range slices.Concat(r.progress, r.settings) {
			if f.Name == name || strings.HasSuffix(f.Name, "."+name) {
				return f.Value
			}
		}
	}
	return ""
}

// bitsOf is log2 n with two decimals.
func bitsOf(n int) string {
	if n < 1 {
		return "0"
	}
	return fmt.Sprintf("%.2f", math.Log2(float64(n)))
}
