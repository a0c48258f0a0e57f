package trainer

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/model"
	"magvit/trainer/data"
	"magvit/trainer/usage"
)

// Config is a whole run's configuration.
type Config struct {
	Preset string       `yaml:"preset,omitempty"` // the preset that the other keys override; says nothing once they are resolved
	Model  model.Config `yaml:"model"`            // network, quantizer, loss
	Data   data.Config  `yaml:"data"`             // how clips become batches
	Train  Train        `yaml:"train"`            // how batches become weights
}

// Train is the solver's part of a Config.
//
// Steps, or else Epochs, and Minutes say how long a run is; whichever is used up first
// ends it, 0 leaves one out. The learning rate follows the larger of the two shares used.
// A run measured in steps alone has the same bits each time. Minutes are wall
// clock, with evaluations and checkpoints, without interruptions: what such a run
// computes depends on the machine's speed.
type Train struct {
	Steps       int        `yaml:"steps"`        // optimizer steps of the whole run; 0: no limit
	Epochs      float64    `yaml:"epochs"`       // where steps is 0: as many as go through the training clips so many times; 0: none
	Minutes     float64    `yaml:"minutes"`      // wall-clock minutes of the whole run; 0: no limit
	Batch       int        `yaml:"batch"`        // whole clips in a batch (crops have data.crop.batch)
	Accumulate  int        `yaml:"accumulate"`   // batches whose mean gradient makes one step
	LR          float64    `yaml:"lr"`           // learning rate after the warm-up
	Betas       [2]float64 `yaml:"betas"`        // AdamW: decay of the first and second moments
	Eps         float64    `yaml:"eps"`          // AdamW: added to the root of the second moment
	WeightDecay float64    `yaml:"weight_decay"` // AdamW: on parameters with two or more axes
	Warmup      int        `yaml:"warmup"`       // steps over which the learning rate rises linearly
	Schedule    string     `yaml:"schedule"`     // after the warm-up: cosine or constant
	Final       float64    `yaml:"final"`        // cosine: share of the learning rate left at the end
	ClipNorm    float64    `yaml:"clip_norm"`    // largest norm of the whole gradient; 0: as it comes
	EMA         EMA        `yaml:"ema"`          // average of the weights, used by evaluation and codes
	Precision   string     `yaml:"precision"`    // of products' operands, and on a GPU of stored activations: f32 or bf16
	Seed        uint64     `yaml:"seed"`         // of weights, batches and augmentation

	ShuffleLabels bool `yaml:"shuffle_labels"` // a control for classifiers: labels are dealt out anew, and accuracy must fall to chance

	LogEvery    int `yaml:"log_every"`    // steps between records in metrics.jsonl
	EvalEvery   int `yaml:"eval_every"`   // steps between evaluations; 0: before the first and after the last step
	EvalClips   int `yaml:"eval_clips"`   // evaluate on so many of the held-out clips; 0: all of them
	Samples     int `yaml:"samples"`      // held-out clips shown side by side at each evaluation
	SaveEvery   int `yaml:"save_every"`   // steps between checkpoints; 0: after the last step, and at a new best
	KeepLast    int `yaml:"keep_last"`    // newest checkpoints kept, besides the best one; 0: all
	NaNPatience int `yaml:"nan_patience"` // steps in a row that may fail with NaN or Inf before the run stops
}

// EMA is an exponential moving average of the weights. While it is young its
// decay is smaller: 1-(1+n)^-2/3 after n steps beyond UpdateAfter.
type EMA struct {
	Decay       float64 `yaml:"decay"`        // largest decay; 0: no average
	UpdateAfter int     `yaml:"update_after"` // steps before which the average is a copy
	UpdateEvery int     `yaml:"update_every"` // steps between updates
}

// Defaults is what a configuration that names no preset starts from. It has no
// layers and no quantizer levels.
func Defaults() Config {
	return Config{Model: model.Defaults(), Data: data.Defaults(), Train: Train{
		Steps: 10_000, Batch: 8, Accumulate: 1, LR: 1e-3, Betas: [2]float64{.9, .99}, Eps: 1e-8, WeightDecay: 1e-4,
		Warmup: 100, Schedule: "cosine", Final: .02, ClipNorm: 1,
		EMA: EMA{UpdateAfter: 100, UpdateEvery: 10}, Precision: "f32", Seed: 42,
		LogEvery: 10, EvalEvery: 500, EvalClips: 256, Samples: 4, SaveEvery: 500, KeepLast: 3, NaNPatience: 10,
	}}
}

// free are the keys that a resumed run may change: they say how long a run is,
// what it shows and keeps, and how it reads, not what a step computes.
var free = []string{"preset", "train.steps", "train.epochs", "train.minutes", "train.log_every", "train.eval_every", "train.eval_clips",
	"train.samples", "train.save_every", "train.keep_last", "train.nan_patience", "data.workers", "data.strict"}

//go:embed presets/*.yaml
var presets embed.FS

// Presets lists the names of the presets.
func Presets() (names []string) {
	files, err := fs.Glob(presets, "presets/*.yaml")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(path.Base(f), ".yaml"))
	}
	return names
}

// Preset returns a named configuration, validated.
func Preset(name string) (Config, error) {
	text, err := presets.ReadFile("presets/" + name + ".yaml")
	if err != nil {
		return Config{}, usage.Errorf("preset %q: unknown%s; known: %s", name, meant(name, Presets()), strings.Join(Presets(), ", "))
	}
	c := Defaults()
	o := newOverlay("preset " + name)
	if err := o.into(&c, text); err != nil {
		return Config{}, err
	}
	c.Preset = name
	return c, o.place(c.Validate())
}

// PresetText is a preset as it is written, with its comments.
func PresetText(name string) (string, error) {
	if _, err := Preset(name); err != nil {
		return "", err
	}
	text, err := presets.ReadFile("presets/" + name + ".yaml")
	return string(text), err
}

// Load reads a configuration from a YAML file; see Parse.
func Load(file string) (Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Config{}, usage.Wrap(fmt.Errorf("configuration: %w", err))
	}
	return Parse(file, text)
}

// Parse reads a configuration from YAML text; name is what errors call it. What
// the text leaves out is as in the preset that it names, or else as in Defaults.
// Errors name every wrong key, its line, its value and what would be legal.
func Parse(name string, text []byte) (Config, error) {
	o := newOverlay(name)
	c := Defaults()
	root, err := o.parse(text)
	if err != nil {
		return c, usage.Wrap(err)
	}
	if line, preset := value(root, "preset"); preset != "" {
		if c, err = Preset(preset); err != nil {
			return c, usage.Errorf("%s:%d: %w", name, line, err)
		}
	}
	if err := o.into(&c, text); err != nil {
		return c, usage.Wrap(err)
	}
	return c, o.place(c.Validate())
}

// Set overrides one key, "model.init_dim=32"; the value is YAML. A list replaces
// the one before it whole, a mapping only the keys it has. Validate afterwards,
// when all keys are set.
func (c *Config) Set(assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	keys := strings.Split(strings.TrimSpace(key), ".")
	if !ok || slices.Contains(keys, "") {
		return usage.Errorf("--set %s: want key=value, such as train.lr=1e-3", assignment)
	}
	if keys[0] == "preset" {
		return usage.Errorf("--set %s: want --preset %s", assignment, value)
	}
	o := newOverlay("--set " + assignment)
	o.short = true
	var doc yaml.Node
	if err := yaml.Load([]byte(value), &doc); err != nil || len(doc.Content) == 0 {
		return usage.Errorf("--set %s: %q is not a YAML value", assignment, value)
	}
	n := doc.Content[0]
	for _, k := range slices.Backward(keys) {
		name := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: k}
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{name, n}}
	}
	changed := *c
	o.set("", n, reflect.ValueOf(&changed).Elem())
	if len(o.errs) > 0 {
		return usage.Wrap(errors.Join(o.errs...))
	}
	*c = changed
	return nil
}

// YAML is the whole configuration as a file that Load reads.
func (c Config) YAML() ([]byte, error) { return yaml.Dump(c) }

// Validate names the first key whose value is not legal, and what would be.
func (c Config) Validate() error {
	for _, err := range []error{c.Train.validate(), c.Data.Validate(), c.Model.Validate()} {
		if err != nil {
			return usage.Wrap(err)
		}
	}
	return nil
}

const (
	maxSteps   = 1_000_000_000
	maxMinutes = 60 * 24 * 366
	maxBatch   = 65_536
)

func (t Train) validate() error {
	var errs []error
	whole := func(key string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("train.%s: %d; legal: %d to %d", key, v, low, high))
		}
	}
	// Written so that NaN is refused.
	within := func(key string, v float64, legal bool, text string) {
		if !legal || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("train.%s: %v; legal: %s", key, v, text))
		}
	}
	word := func(key, v string, known ...string) {
		if !slices.Contains(known, v) {
			errs = append(errs, fmt.Errorf("train.%s: %q; legal: %s", key, v, strings.Join(known, ", ")))
		}
	}
	whole("steps", t.Steps, 0, maxSteps)
	within("minutes", t.Minutes, t.Minutes >= 0 && t.Minutes <= maxMinutes, fmt.Sprintf("0 to %d", maxMinutes))
	within("epochs", t.Epochs, t.Epochs >= 0 && t.Epochs <= maxSteps, fmt.Sprintf("0 to %d", maxSteps))
	if t.Steps == 0 && t.Minutes == 0 && t.Epochs == 0 {
		errs = append(errs, errors.New("train.steps: 0 with train.minutes: 0; legal: one of them above 0, or train.epochs"))
	}
	whole("batch", t.Batch, 1, maxBatch)
	whole("accumulate", t.Accumulate, 1, maxBatch)
	within("lr", t.LR, t.LR > 0 && t.LR <= 1, "above 0, at most 1")
	for i, b := range t.Betas {
		within(fmt.Sprintf("betas[%d]", i), b, b >= 0 && b < 1, "0 or more, below 1")
	}
	within("eps", t.Eps, t.Eps > 0 && t.Eps <= 1, "above 0, at most 1")
	within("weight_decay", t.WeightDecay, t.WeightDecay >= 0 && t.WeightDecay <= 100, "0 to 100")
	whole("warmup", t.Warmup, 0, maxSteps)
	word("schedule", t.Schedule, "cosine", "constant")
	within("final", t.Final, t.Final >= 0 && t.Final <= 1, "0 to 1")
	within("clip_norm", t.ClipNorm, t.ClipNorm >= 0 && t.ClipNorm <= 1e9, "0 (none) to 1e9")
	within("ema.decay", t.EMA.Decay, t.EMA.Decay >= 0 && t.EMA.Decay < 1, "0 (no average) or more, below 1")
	whole("ema.update_after", t.EMA.UpdateAfter, 0, maxSteps)
	whole("ema.update_every", t.EMA.UpdateEvery, 1, maxSteps)
	word("precision", t.Precision, "f32", "bf16")
	whole("log_every", t.LogEvery, 1, maxSteps)
	whole("eval_every", t.EvalEvery, 0, maxSteps)
	whole("eval_clips", t.EvalClips, 0, maxSteps)
	whole("samples", t.Samples, 0, 64)
	whole("save_every", t.SaveEvery, 0, maxSteps)
	whole("keep_last", t.KeepLast, 0, maxSteps)
	whole("nan_patience", t.NaNPatience, 1, maxSteps)
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
