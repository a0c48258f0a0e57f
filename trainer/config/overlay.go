package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/trainer/usage"
)

// overlay applies YAML text to a configuration: the keys of the text are replaced,
// the others stay. Lists are replaced whole.
//
// Why not yaml's own decoding: its errors lack the path of the key and the keys
// that would be legal.
type overlay struct {
	name  string         // how errors call the text
	short bool           // the text is one line, and errors give no line number
	lines map[string]int // line of each key path
	errs  []error
}

func newOverlay(name string) *overlay { return &overlay{name: name, lines: map[string]int{}} }

// into applies the text to the struct that v points to.
func (o *overlay) into(v any, text []byte) error {
	root, err := o.parse(text)
	if err == nil && root != nil {
		o.set("", root, reflect.ValueOf(v).Elem())
		err = errors.Join(o.errs...)
	}
	return err
}

// locate puts file and line before an error that begins with a key's path.
func (o *overlay) locate(err error) error {
	if err == nil {
		return nil
	}
	path, _, _ := strings.Cut(err.Error(), ": ")
	for path != "" {
		if line := o.lines[path]; line > 0 {
			return usage.Errorf("%s:%d: %w", o.name, line, err)
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return usage.Errorf("%s: %w", o.name, err)
}

// parse is the mapping at the root of the text, nil if the text is empty.
func (o *overlay) parse(text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		var at *yaml.LoadError
		if errors.As(err, &at) && at.Mark.Line > 0 {
			return nil, fmt.Errorf("%s:%d: not YAML: %s", o.name, at.Mark.Line, at.Message)
		}
		if strings.Contains(err.Error(), "no documents") {
			return nil, nil // nothing, or comments
		}
		return nil, fmt.Errorf("%s: not YAML: %w", o.name, err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: want keys and values such as \"train:\", found %s", o.name, root.Line, quoted(root))
	}
	return root, nil
}

// member returns a value of the mapping n by its key; nil if there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// scalar is the text of a member, and its line.
func scalar(n *yaml.Node, key string) (line int, v string) {
	if m := member(n, key); m != nil {
		return m.Line, m.Value
	}
	return 0, ""
}

// set applies a node to a value; path names the value in errors.
func (o *overlay) set(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	_, custom := v.Addr().Interface().(yaml.Unmarshaler)
	switch {
	case v.Kind() == reflect.Pointer && !custom && v.Type().Elem().Kind() == reflect.Struct:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		o.set(path, n, v.Elem())
	case v.Kind() == reflect.Struct && !custom:
		o.keys(path, n, v)
	case v.Kind() == reflect.Slice && !custom && n.Kind == yaml.SequenceNode:
		decoded := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, c := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			o.lines[at] = c.Line
			o.set(at, c, decoded.Index(i))
		}
		v.Set(decoded)
	default:
		o.leaf(path, n, v)
	}
}

// keys applies a mapping to a struct.
func (o *overlay) keys(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		o.fail(n.Line, path, "%s: want keys: %s", quoted(n), strings.Join(names(v.Type()), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if first, twice := seen[key.Value]; twice {
			o.fail(key.Line, at, "given twice, first in line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		f, ok := field(v, key.Value)
		if !ok {
			o.fail(key.Line, at, "unknown key%s; known: %s", suggestion(key.Value, names(v.Type())), strings.Join(names(v.Type()), ", "))
			continue
		}
		o.lines[at] = key.Line
		o.set(at, value, f)
	}
}

// leaf decodes one value into v. A key without a value is refused, as yaml would take it for 0, false or ""; only a list
// may be so written.
func (o *overlay) leaf(path string, n *yaml.Node, v reflect.Value) {
	if n.ShortTag() == "!!null" && v.Kind() != reflect.Slice {
		o.fail(n.Line, path, "%s: want %s", quoted(n), typeName(v.Type()))
		return
	}
	for i, c := range n.Content {
		if c.ShortTag() == "!!null" && v.Kind() == reflect.Array {
			o.fail(c.Line, fmt.Sprintf("%s[%d]", path, i), "%s: want %s", quoted(c), typeName(v.Type().Elem()))
			return
		}
	}
	decoded := reflect.New(v.Type())
	if err := n.Load(decoded.Interface(), yaml.WithKnownFields()); err != nil {
		o.fail(n.Line, path, "%s: want %s%s", quoted(n), typeName(v.Type()), because(v, err))
		return
	}
	if f := decoded.Elem(); f.CanFloat() && (math.IsNaN(f.Float()) || math.IsInf(f.Float(), 0)) {
		o.fail(n.Line, path, "%s: want a finite number", quoted(n))
		return
	}
	v.Set(decoded.Elem())
}

var lineNumber = regexp.MustCompile(`line \d+(, column \d+)?: `)

// because returns the reason that a custom type gave for refusing a value.
func because(v reflect.Value, err error) string {
	if _, custom := v.Addr().Interface().(yaml.Unmarshaler); !custom {
		return ""
	}
	text := err.Error()
	var at *yaml.LoadError
	if errors.As(err, &at) && at.Message != "" {
		text = at.Message
	}
	return ": " + lineNumber.ReplaceAllString(text, "")
}

func (o *overlay) fail(line int, path, format string, args ...any) {
	at := o.name
	if line > 0 && !o.short {
		at = fmt.Sprintf("%s:%d", o.name, line)
	}
	o.errs = append(o.errs, fmt.Errorf("%s: %s: %s", at, path, fmt.Sprintf(format, args...)))
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// key returns the YAML key of a struct's field, "" if it has none; inline fields belong
// to the struct around them.
func key(f reflect.StructField) (name string, inline bool) {
	tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch {
	case !f.IsExported() || tag == "-":
		return "", false
	case strings.Contains(options, "inline"):
		return "", true
	case tag == "":
		return strings.ToLower(f.Name), false
	}
	return tag, false
}

// names lists the keys of a struct in the order of its fields.
func names(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		if k, inline := key(t.Field(i)); inline {
			keys = append(keys, names(t.Field(i).Type)...)
		} else if k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

func field(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		k, inline := key(v.Type().Field(i))
		if inline {
			if f, ok := field(v.Field(i), name); ok {
				return f, true
			}
		} else if k == name && k != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}
