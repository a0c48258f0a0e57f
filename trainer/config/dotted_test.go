package config

import (
	"fmt"
	"testing"
)

func TestDottedKeys(t *testing.T) {
	tree := map[string]any{"b": []any{1, "x", []any{2}}, "a": map[string]any{"d": .5, "c": true, "gone": nil, "empty": map[string]any{}}, "e": map[string]any{"f": map[string]any{"g": 7}}}
	if got, want := fmt.Sprint(Dotted(tree)), "[true 0.5 [1, x, [2]] 7]"; got != want {
		t.Errorf("values %s, want %s", got, want)
	}
	var keys []string
	for _, l := range Dotted(tree) {
		keys = append(keys, l.Key)
	}
	if got, want := fmt.Sprint(keys), "[a.c a.d b e.f.g]"; got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
}

func TestDifferences(t *testing.T) {
	was, err := Preset("tiny")
	if err != nil {
		t.Fatal(err)
	}
	is := was
	for _, set := range []string{"train.lr=0.5", "train.steps=7", "model.layers=[residual, [compress_space, 16]]", "train.ema.decay=0.5"} {
		if err := is.Set(set); err != nil {
			t.Fatal(err)
		}
	}
	d := Differences(was, is, "train.steps")
	var keys []string
	for _, one := range d {
		keys = append(keys, one.Key)
	}
	if got, want := fmt.Sprint(keys), "[model.layers train.ema.decay train.lr]"; got != want {
		t.Errorf("keys %s, want %s", got, want)
	}
	if got, want := d[0].Is, "[residual, {dim: 16, name: compress_space}]"; got != want && got != "[residual, [compress_space, 16]]" {
		t.Errorf("layers are %s, want %s", got, want)
	}
	if got, want := d[2].String(), fmt.Sprintf("train.lr: 0.5, was %v", was.Train.LR); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if d := Differences(was, was); len(d) > 0 {
		t.Errorf("a configuration differs from itself: %v", d)
	}
}
