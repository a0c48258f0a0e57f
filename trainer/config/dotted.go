package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Leaf is one value of a tree under its dotted key, "train.ema.decay".
type Leaf struct {
	Key   string
	Value any // number, truth value, text or list
}

// Dotted lists the leaves of a tree as YAML or JSON text is decoded, in the order of their keys. Mappings are branches,
// lists are leaves, null is left out.
func Dotted(tree any) []Leaf { return dotted(nil, "", tree) }

func dotted(list []Leaf, path string, tree any) []Leaf {
	branch, ok := tree.(map[string]any)
	if !ok {
		if tree != nil {
			list = append(list, Leaf{path, tree})
		}
		return list
	}
	for _, k := range slices.Sorted(maps.Keys(branch)) {
		list = dotted(list, join(path, k), branch[k])
	}
	return list
}

// Dotted lists the leaves of a configuration.
func (c Config) Dotted() ([]Leaf, error) {
	var tree any
	text, err := c.YAML()
	if err == nil {
		err = yaml.Unmarshal(text, &tree)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Dotted(tree), nil
}

// String is the value as YAML on one line.
func (l Leaf) String() string {
	if list, ok := l.Value.([]any); ok {
		var items []string
		for _, v := range list {
			items = append(items, Leaf{Value: v}.String())
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	if branch, ok := l.Value.(map[string]any); ok {
		var items []string
		for _, k := range slices.Sorted(maps.Keys(branch)) {
			items = append(items, k+": "+Leaf{Value: branch[k]}.String())
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	text, err := yaml.Dump(l.Value)
	if err != nil {
		return fmt.Sprint(l.Value)
	}
	return strings.TrimSpace(string(text))
}

// Difference is a key whose values differ between two configurations, "unset" where one of them lacks it.
type Difference struct{ Key, Was, Is string }

func (d Difference) String() string { return fmt.Sprintf("%s: %s, was %s", d.Key, d.Is, d.Was) }

// Diff lists differences by key.
type Diff []Difference

func (d Diff) String() string {
	var lines []string
	for _, one := range d {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "; ")
}

// Differences lists the keys that differ between two configurations, apart from those named.
func Differences(was, is Config, except ...string) (list Diff) {
	const unset = "unset"
	values := map[string]*Difference{}
	read := func(c Config, set func(d *Difference, text string)) {
		leaves, err := c.Dotted()
		if err != nil {
			panic(err) // a Config is always YAML
		}
		for _, l := range leaves {
			if values[l.Key] == nil {
				values[l.Key] = &Difference{l.Key, unset, unset}
			}
			set(values[l.Key], l.String())
		}
	}
	read(was, func(d *Difference, text string) { d.Was = text })
	read(is, func(d *Difference, text string) { d.Is = text })
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if d := *values[k]; d.Was != d.Is && !slices.Contains(except, k) {
			list = append(list, d)
		}
	}
	return list
}
