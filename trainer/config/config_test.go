package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"magvit/model"
	"magvit/trainer/usage"
)

func TestPresetsAreLegal(t *testing.T) {
	for _, want := range []string{"demo", "seed", "small", "tiny"} {
		c, err := Preset(want)
		if err != nil {
			t.Error(err)
		}
		// What is written to config.yaml means the same when it is read again.
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("config.yaml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := Differences(again, c); len(d) > 0 {
			t.Errorf("preset %s: %v", want, d)
		}
	}
	if _, err := Preset("dmo"); err == nil || !strings.Contains(err.Error(), `perhaps "demo"; known: cosmos-dv4x8x8-360p, cosmos-dv4x8x8, `) {
		t.Errorf("error %v does not name the known presets", err)
	}
}

func TestOverridesKeepTheRest(t *testing.T) {
	c, err := Parse("c.yaml", []byte("preset: tiny\nmodel:\n  layers: [residual, [compress_space, 16]]\ntrain: {lr: 1e-3, ema: {decay: 0}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set("data.crop.batch=16"); err != nil {
		t.Fatal(err)
	}
	tiny, _ := Preset("tiny")
	if len(c.Model.Layers) != 2 || c.Train.LR != 1e-3 || c.Train.EMA.Decay != 0 || c.Data.Crop.Batch != 16 {
		t.Errorf("overrides are lost: %+v", c)
	}
	if c.Model.Patch != tiny.Model.Patch || c.Train.EMA.UpdateAfter != tiny.Train.EMA.UpdateAfter {
		t.Errorf("what was not overridden has changed: %+v", c)
	}
}

// Each mistake is answered with its place, its key, its value and what is legal.
// Keys that a model of the reference leaves out have the values of VideoTokenizer's own arguments.
func TestReferenceDefaults(t *testing.T) {
	c, err := Parse("theirs.yaml", []byte("model: {compat: lucidrains, image_size: 16, init_dim: 8, quantizer: {codebook_size: 64}}"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := model.FromReference(map[string]any{"image_size": 16., "init_dim": 8., "codebook_size": 64.})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Model, want) {
		t.Errorf("%+v\nwant %+v", c.Model, want)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"train:\n  lr: fast", `c.yaml:2: train.lr: "fast": want a number`},
		{"train:\n  warmup:", "c.yaml:2: train.warmup: nothing: want a whole number"},
		{"train:\n  betas: [0.9, ~]", "c.yaml:2: train.betas[1]: nothing: want a number"},
		{"data:\n  flip: null", "c.yaml:2: data.flip: nothing: want true or false"},
		{"model:\n  layers: [residual, null]", "c.yaml:2: model.layers[1]: nothing: want a layer"},
		{"model:\n  input_kernel:", "c.yaml:2: model.input_kernel: nothing: want a list of 3"},
		{"train:\n  stepz: 3", `c.yaml:2: train.stepz: unknown key, perhaps "steps"; known: steps, epochs, minutes, batch`},
		{"train:\n  steps: -5", "c.yaml:2: train.steps: -5; legal: 0 to"},
		{"train:\n  steps: 1.5", `c.yaml:2: train.steps: "1.5": want a whole number`},
		{"train:\n  steps: 0\n", "c.yaml:2: train.steps: 0 with train.minutes: 0; legal: one of them above 0"},
		{"train:\n  seed: -1", `c.yaml:2: train.seed: "-1": want a whole number, not negative`},
		{"train:\n  lr: .nan", `c.yaml:2: train.lr: ".nan": want a finite number`},
		{"train:\n  betas: [0.9]", "c.yaml:2: train.betas: a list of 1: want a list of 2, each element a number"},
		{"train:\n  betas: [0.9, 1.5]", "c.yaml:2: train.betas[1]: 1.5; legal: 0 or more, below 1"},
		{"train:\n  lr: 1e-3\n  lr: 1e-4", "c.yaml:3: train.lr: given twice, first in line 2"},
		{"train:\n  schedule: linear", `c.yaml:2: train.schedule: "linear"; legal: cosine, constant`},
		{"train: 5", `c.yaml:1: train: "5": want keys: steps, epochs, minutes`},
		{"trian: {}", `c.yaml:1: trian: unknown key, perhaps "train"; known: preset, model, data, train`},
		{"preset: dmo", `c.yaml:1: preset "dmo": unknown`},
		{"model:\n  layers:\n    - residual\n    - compres_space", `c.yaml:4: model.layers[1]: "compres_space": want residual,`},
		{"model:\n  layers: [residual, [compress_space, wide]]", "c.yaml:2: model.layers[1]: a list of 2: want a layer: "},
		{"model:\n  quantizer: {levels: [8, x]}", `c.yaml:2: model.quantizer.levels[1]: "x": want a whole number`},
		{"model:\n  input_kernel: [1, 2]", "c.yaml:2: model.input_kernel: a list of 2: want a list of 3, each element a whole number: a kernel of 2 numbers"},
		{"model:\n  init_dim: 0", "c.yaml:2: model.init_dim: 0: want 1 to"},
		{"model:\n  image_size: 60", "c.yaml:2: model.image_size: 60: "},
		{"data:\n  val_share: 2", "c.yaml:2: data.val_share: 2; legal: "},
		{"train:\n\tlr: 1", "c.yaml:2: not YAML: "},
		{"- 1", "c.yaml:1: want keys and values"},
	} {
		if !strings.Contains(c.text, "preset") {
			c.text += "\npreset: tiny\n"
		}
		if c.text[0] == '-' {
			c.text = "- 1"
		}
		_, err := Parse("c.yaml", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, usage.Error) {
			t.Errorf("%q:\n got %v\nwant %s…", c.text, err, c.want)
		}
	}
	// Two mistakes, two lines.
	_, err := Parse("c.yaml", []byte("preset: tiny\ntrain:\n  stepz: 1\n  lr: x\n"))
	if err == nil || len(strings.Split(err.Error(), "\n")) != 2 {
		t.Errorf("got %v, want two lines", err)
	}
}

func TestSetErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"train.lr", "--set train.lr: want key=value"},
		{"train.lr=x", `--set train.lr=x: train.lr: "x": want a number`},
		{"train.lrr=1", `--set train.lrr=1: train.lrr: unknown key, perhaps "lr"`},
		{"model.quantizer.level=[4]", `--set model.quantizer.level=[4]: model.quantizer.level: unknown key, perhaps "levels"; known: kind, levels`},
		{"preset=demo", "--set preset=demo: want --preset demo"},
		{"data.flip=null", "--set data.flip=null: data.flip: nothing: want true or false"},
		{"train=1", `--set train=1: train: "1": want keys: steps`},
	} {
		cfg, _ := Preset("tiny")
		before := cfg
		err := cfg.Set(c.text)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, usage.Error) {
			t.Errorf("%q:\n got %v\nwant %s…", c.text, err, c.want)
		}
		if !reflect.DeepEqual(cfg, before) {
			t.Errorf("%q changed the configuration", c.text)
		}
	}
}

// A configuration that a run wrote before there were some keys has their defaults, not what
// its preset says by now.
func TestResolvedConfigurationsKeepTheirNetwork(t *testing.T) {
	text := []byte("preset: i3d-small\nmodel:\n  classify: {network: i3d, head_dim: 32}\n")
	was, err := ParseResolved("state.json", text)
	if err != nil {
		t.Fatal(err)
	}
	if k := was.Model.Classify; was.Preset != "i3d-small" || k.HeadDim != 32 || k.Path.Rotations != 0 || k.Input != "pixels" || k.ForecastLoss != "mse" {
		t.Errorf("%+v", was.Model.Classify)
	}
	if c, err := Parse("mine.yaml", text); err != nil || c.Model.Classify.Path.Rotations == 0 {
		t.Errorf("a user's configuration does not begin with its preset: %+v, %v", c.Model.Classify, err)
	}
}
