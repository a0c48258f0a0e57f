package config

import (
	"strings"
	"testing"
)

// FuzzParse: a configuration is refused with a sentence, or is the same after it was written and read.
func FuzzParse(f *testing.F) {
	for _, name := range Presets() {
		text, err := PresetText(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{"a: &a [*a]", "model: &m {attention: *m}", "model:\n  layers: &a [*a, *a]\n", "model: {layers: [[[[[[[[[[[[residual]]]]]]]]]]]]}",
		"preset: tiny\ntrain: {lr: .nan, steps: 0x7fffffffffffffff}", "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nmodel: {layers: *c}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("fuzz", []byte(text))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an empty error")
			}
			return
		}
		written, err := c.YAML()
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		again, err := Parse("again", written)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, written)
		}
		if d := Differences(c, again); len(d) > 0 {
			t.Errorf("written and read it differs: %v", d)
		}
	})
}

// FuzzSet: an assignment is refused with a sentence, or leaves a configuration that can be checked.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"train.lr=1e-3", "model.layers=[residual, [compress_space, 32]]", "model.quantizer={kind: lfq, levels: [], codebook_size: 1024}", "train.betas=[0.9, 0.99]",
		"model.layers=&a [*a]", "=", ".=", "a..b=1", "train.steps=1e3", "train=~", "model=", "train.betas=[]", "model.layers=[{name: residual, kernel: [99999,99999,99999]}]"} {
		f.Add(s)
	}
	base, err := Preset("tiny")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := base
		if err := c.Set(s); err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an empty error")
			}
			return
		}
		c.Validate()
	})
}
