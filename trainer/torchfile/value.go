package torchfile

import (
	"fmt"
	"strings"
)

// A value in a file is one of: nil, bool, int64, float64, string, []byte, Tuple, *List, *Set, *Dict, *Tensor, *Opaque,
// and a type of this package alone for a storage outside a tensor.
// What Read returns is a tree: it holds no cycle, is not deeper than Limits.Depth, and does not unfold to more than
// Limits.Expanded values, so that recursive readers of it need no guard of their own.

// Tuple is a Python tuple.
type Tuple []any

// List is a Python list.
type List struct{ Items []any }

// Set is a Python set or frozenset, in the order of the file.
type Set struct{ Items []any }

// Opaque is a Python class, function or object that this package does not know. It is only described, never called.
type Opaque struct {
	Module, Name string // what the file names, such as "os", "system"
	Called       bool   // false for the bare class or function
	Args         Tuple  // positional arguments of the call
	Kwargs       *Dict  // keyword arguments of the call, nil if there are none
	State        any    // what BUILD would have set
	Items        []any  // what would have been appended; pairs for a mapping
}

// String returns the Python name, with "(...)" after what would have been a call.
func (o *Opaque) String() string {
	if o.Called {
		return o.Module + "." + o.Name + "(...)"
	}
	return o.Module + "." + o.Name
}

// Entry is one key of a Dict with its value.
type Entry struct{ Key, Value any }

// Dict is a Python dict or OrderedDict in the order of the file. Keys are unique. The zero value is an empty dict.
type Dict struct {
	Entries []Entry
	Ordered bool // collections.OrderedDict
	Attrs   any  // an OrderedDict's attributes, such as _metadata of a state_dict

	index map[any]int // made when a search through Entries would be long
}

// NewDict returns an empty dict for Set.
func NewDict() *Dict { return &Dict{} }

const indexFrom = 8 // entries; below this a search is faster than a map and much smaller

// scalarKey reports whether a key can be compared with == and kept in a Go map.
func scalarKey(key any) bool {
	switch key.(type) {
	case nil, bool, int64, float64, string:
		return true
	}
	return false
}

func (d *Dict) find(key any) int {
	if !scalarKey(key) {
		return -1
	}
	if d.index != nil {
		if i, ok := d.index[key]; ok {
			return i
		}
		return -1
	}
	for i, e := range d.Entries {
		if scalarKey(e.Key) && e.Key == key {
			return i
		}
	}
	return -1
}

// Get returns the value of a string key.
func (d *Dict) Get(key string) (any, bool) { return d.Lookup(key) }

// Lookup returns the value of a key of any scalar type (int64 for integers).
func (d *Dict) Lookup(key any) (any, bool) {
	if i := d.find(key); i >= 0 {
		return d.Entries[i].Value, true
	}
	return nil, false
}

// Set gives a key a value: in place for a key that is there, else at the end. It returns d.
func (d *Dict) Set(key, value any) *Dict {
	if i := d.find(key); i >= 0 {
		d.Entries[i].Value = value
		return d
	}
	d.Entries = append(d.Entries, Entry{key, value})
	if d.index != nil && scalarKey(key) {
		d.index[key] = len(d.Entries) - 1
	} else if d.index == nil && len(d.Entries) > indexFrom {
		d.index = make(map[any]int, 2*len(d.Entries))
		for i, e := range d.Entries {
			if scalarKey(e.Key) {
				d.index[e.Key] = i
			}
		}
	}
	return d
}

// kind names a value's type in messages, never its contents.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64:
		return "an int"
	case float64:
		return "a float"
	case string:
		return "a string"
	case []byte:
		return "bytes"
	case Tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *List:
		return fmt.Sprintf("a list of %d", len(v.Items))
	case *Set:
		return fmt.Sprintf("a set of %d", len(v.Items))
	case *Dict:
		return fmt.Sprintf("a dict of %d", len(v.Entries))
	case *Tensor:
		return "a tensor"
	case *Opaque:
		if v.Module == "torch" && v.Name == unreadTensor && v.Called && len(v.Args) == 1 {
			if of, ok := v.Args[0].(*Opaque); ok {
				return "a tensor of " + of.Module + "." + of.Name
			}
		}
		return "the Python object " + v.String()
	case *storage:
		return "a bare storage"
	}
	return fmt.Sprintf("%T", v)
}

// Opaques lists where a tree holds Python objects that are only described, as "path: module.name", in order and without
// descending into them.
func Opaques(root any) []string {
	var found []string
	var walk func(path []string, v any)
	items := func(path []string, list []any) {
		for i, v := range list {
			walk(append(path, fmt.Sprint(i)), v)
		}
	}
	walk = func(path []string, v any) {
		switch v := v.(type) {
		case *Opaque:
			found = append(found, strings.Join(path, ".")+": "+v.String())
		case Tuple:
			items(path, v)
		case *List:
			items(path, v.Items)
		case *Set:
			items(path, v.Items)
		case *Dict:
			for _, e := range v.Entries {
				key := fmt.Sprint(e.Key)
				if !scalarKey(e.Key) {
					key = kind(e.Key)
					walk(append(path, "key"), e.Key)
				}
				walk(append(path, key), e.Value)
			}
		}
	}
	walk(nil, root)
	return found
}
