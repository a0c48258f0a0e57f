package config

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/model"
	"magvit/trainer/usage"
)

// FileName is the name of a configuration in a run directory.
const FileName = "config.yaml"

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
		return Config{}, usage.Errorf("preset %q: unknown%s; known: %s", name, suggestion(name, Presets()), strings.Join(Presets(), ", "))
	}
	c := Defaults()
	o := newOverlay("preset " + name)
	if err := o.into(&c, text); err != nil {
		return Config{}, err
	}
	c.Preset = name
	return c, o.locate(c.Validate())
}

// PresetText returns the text of a preset, with its comments.
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

// Parse reads a configuration from YAML text; errors call it name. Keys that the text
// leaves out have the values of the preset that it names, or else of Defaults; those of
// a model with compat lucidrains are the reference's own.
// Errors name every wrong key, its line, its value and what would be legal.
func Parse(name string, text []byte) (Config, error) { return parse(name, text, false) }

// ParseResolved is Parse of a configuration that a run wrote, with every key of its time.
// Keys that it lacks are of later versions and have the values of Defaults, whatever its
// preset says by now: the network stays as it was.
func ParseResolved(name string, text []byte) (Config, error) { return parse(name, text, true) }

func parse(name string, text []byte, resolved bool) (Config, error) {
	o := newOverlay(name)
	c := Defaults()
	root, err := o.parse(text)
	if err != nil {
		return c, usage.Wrap(err)
	}
	if line, preset := scalar(root, "preset"); preset != "" && !resolved {
		if c, err = Preset(preset); err != nil {
			return c, usage.Errorf("%s:%d: %w", name, line, err)
		}
	} else if _, compat := scalar(member(root, "model"), "compat"); compat == model.Lucidrains {
		c.Model = model.ReferenceDefaults()
	}
	if err := o.into(&c, text); err != nil {
		return c, usage.Wrap(err)
	}
	return c, o.locate(c.Validate())
}

// Set overrides one key, "model.init_dim=32"; the value is YAML. A list replaces
// the old one whole, a mapping only the keys it has. Call Validate when all keys are set.
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

// YAML returns the whole configuration as text that Load reads.
func (c Config) YAML() ([]byte, error) { return yaml.Dump(c) }
