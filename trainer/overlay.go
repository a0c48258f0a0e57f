package trainer

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"magvit/trainer/usage"
)

// overlay lays YAML text over a configuration: what the text names is replaced,
// the rest stays. Lists are replaced whole.
//
// Why not yaml's own decoding: its errors lack the path of the key and the keys
// that would be legal.
type overlay struct {
	name  string         // of the text, as errors show it
	short bool           // the text is one line, which errors need not number
	lines map[string]int // line of each key path
	errs  []error
}

func newOverlay(name string) *overlay { return &overlay{name: name, lines: map[string]int{}} }

// into lays the text over a struct; v points to it.
func (o *overlay) into(v any, text []byte) error {
	root, err := o.parse(text)
	if err == nil && root != nil {
		o.set("", root, reflect.ValueOf(v).Elem())
		err = errors.Join(o.errs...)
	}
	return err
}

// place puts file and line before an error that begins with a key's path.
func (o *overlay) place(err error) error {
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
		return nil, fmt.Errorf("%s:%d: want keys and values such as \"train:\", found %s", o.name, root.Line, shown(root))
	}
	return root, nil
}

// value is a scalar of the mapping n by its key, and its line.
func value(n *yaml.Node, key string) (line int, v string) {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i].Line, n.Content[i+1].Value
		}
	}
	return 0, ""
}

// set lays a node over a value; path names the value in errors.
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
		fresh := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
		for i, c := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			o.lines[at] = c.Line
			o.set(at, c, fresh.Index(i))
		}
		v.Set(fresh)
	default:
		o.leaf(path, n, v)
	}
}

// keys lays a mapping over a struct.
func (o *overlay) keys(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		o.fail(n.Line, path, "%s: want keys: %s", shown(n), strings.Join(names(v.Type()), ", "))
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
			o.fail(key.Line, at, "unknown key%s; known: %s", meant(key.Value, names(v.Type())), strings.Join(names(v.Type()), ", "))
			continue
		}
		o.lines[at] = key.Line
		o.set(at, value, f)
	}
}

// leaf decodes one value.
func (o *overlay) leaf(path string, n *yaml.Node, v reflect.Value) {
	fresh := reflect.New(v.Type())
	if err := n.Load(fresh.Interface(), yaml.WithKnownFields()); err != nil {
		o.fail(n.Line, path, "%s: want %s%s", shown(n), kind(v.Type()), because(v, err))
		return
	}
	if f := fresh.Elem(); f.CanFloat() && (math.IsNaN(f.Float()) || math.IsInf(f.Float(), 0)) {
		o.fail(n.Line, path, "%s: want a finite number", shown(n))
		return
	}
	v.Set(fresh.Elem())
}

var lineNumber = regexp.MustCompile(`line \d+(, column \d+)?: `)

// because is the reason that a type of its own gave for refusing a value.
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

// key is the YAML key of a struct's field, "" if it has none; inline fields are
// part of the struct around them.
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

// shown is a node as a person wrote it, in brief.
func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return fmt.Sprintf("a list of %d", len(n.Content))
	case yaml.MappingNode:
		return "keys and values"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	s := n.Value
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// kind is what a value of a type looks like.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a word"
	case reflect.Pointer:
		return kind(t.Elem())
	case reflect.Slice:
		return "a list, each element " + kind(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("a list of %d, each element %s", t.Len(), kind(t.Elem()))
	}
	return "a " + strings.ToLower(t.Name())
}

// meant names the key that was probably meant, if one is close.
func meant(word string, known []string) string {
	best, least := "", len(word)/3+2
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", perhaps %q", best)
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// flatten lists the leaves of a configuration by path, as YAML text.
func flatten(path string, v reflect.Value, add func(path, value string)) {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if _, custom := v.Interface().(yaml.Marshaler); v.Kind() == reflect.Struct && !custom {
		for i := range v.NumField() {
			if k, inline := key(v.Type().Field(i)); inline {
				flatten(path, v.Field(i), add)
			} else if k != "" {
				flatten(join(path, k), v.Field(i), add)
			}
		}
		return
	}
	text, err := yaml.Dump(v.Interface())
	if err != nil {
		text = fmt.Append(nil, v.Interface())
	}
	add(path, strings.TrimSpace(string(text)))
}

// differences lists the keys that differ between two configurations, with both
// values, apart from those named.
func differences(a, b any, except ...string) (keys []string) {
	was := map[string]string{}
	flatten("", reflect.ValueOf(a), func(path, value string) { was[path] = value })
	flatten("", reflect.ValueOf(b), func(path, value string) {
		if was[path] != value && !slices.Contains(except, path) {
			keys = append(keys, fmt.Sprintf("%s: %s, was %s", path, value, was[path]))
		}
	})
	return keys
}
