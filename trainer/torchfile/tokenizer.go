package torchfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tokenizer is what the reference's VideoTokenizer.save writes.
type Tokenizer struct {
	State   []NamedTensor // model_state_dict in the order of the file; names are unwrapped, see Unwrap
	Version string        // of the reference package
	Config  []byte        // a pickle of the constructor's arguments; see Arguments
}

// Tokenizer views the file as a tokenizer's. It is an error when a part is missing or of another type, and when the pickle
// names any Python object that is not a plain value or a tensor.
func (f *File) Tokenizer() (*Tokenizer, error) {
	root, err := f.dict("a tokenizer file")
	if err != nil {
		return nil, err
	}
	if _, ok := root.Get("model_state_dict"); !ok {
		if _, ok := root.Get("ema_model"); ok {
			return nil, fmt.Errorf("tokenizer file: this is a trainer file (it holds \"ema_model\")")
		}
	}
	state, err := dictValue[*Dict](root, "model_state_dict", "a dict of tensors")
	if err != nil {
		return nil, fmt.Errorf("tokenizer file: %w", err)
	}
	t := &Tokenizer{}
	if t.State, err = onlyTensors(state); err == nil {
		t.State, err = UnwrapAll(t.State)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer file: model_state_dict: %w", err)
	}
	if t.Version, err = dictValue[string](root, "version", "a string"); err != nil {
		return nil, fmt.Errorf("tokenizer file: %w", err)
	}
	if t.Config, err = dictValue[[]byte](root, "config", "bytes"); err != nil {
		return nil, fmt.Errorf("tokenizer file: %w", err)
	}
	return t, nil
}

// Arguments decodes the constructor's arguments as far as they are plain values. Library objects among them are Opaque
// values, listed as "argument: module.name" in objects. Nothing in them is executed.
func (t *Tokenizer) Arguments(limits Limits) (arguments *Dict, objects []string, err error) {
	root, _, err := unpickle(t.Config, limits, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("tokenizer file: config: %w", err)
	}
	arguments, ok := root.(*Dict)
	if !ok {
		return nil, nil, fmt.Errorf("tokenizer file: config is %s, want a dict of arguments", kind(root))
	}
	for _, e := range arguments.Entries {
		if _, ok := e.Key.(string); !ok {
			return nil, nil, fmt.Errorf("tokenizer file: config has %s as an argument's name", kind(e.Key))
		}
	}
	return arguments, Opaques(arguments), nil
}

// dict gives the root of a file that holds data only.
func (f *File) dict(what string) (*Dict, error) {
	if len(f.Foreign) > 0 {
		return nil, fmt.Errorf("the file names the Python objects %s; %s holds only plain values and tensors", strings.Join(f.Foreign, ", "), what)
	}
	root, ok := f.Root.(*Dict)
	if !ok {
		return nil, fmt.Errorf("the file holds %s; %s holds a dict", kind(f.Root), what)
	}
	return root, nil
}

// onlyTensors lists a state_dict that holds nothing else.
func onlyTensors(d *Dict) ([]NamedTensor, error) {
	list, others, err := namedTensors(d)
	if err == nil {
		err = noOthers(others)
	}
	return list, err
}

// noOthers is an error that names the first of what a state_dict holds besides tensors.
func noOthers(others map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(others)) {
		return fmt.Errorf("%.100q is %s, want a tensor", name, others[name])
	}
	return nil
}

// namedTensors lists a state_dict, and says what its other entries are. Its tensors together may be no larger than sharing
// times their storages, so that a small file cannot name one large storage many times.
func namedTensors(d *Dict) (list []NamedTensor, others map[string]string, err error) {
	const sharing = 4 // tied weights are saved once and named twice
	storages := map[*storage]bool{}
	stored, named := 0, 0
	for _, e := range d.Entries {
		name, ok := e.Key.(string)
		if !ok {
			return nil, nil, fmt.Errorf("%s as a tensor's name; want a string", kind(e.Key))
		}
		t, ok := e.Value.(*Tensor)
		if !ok {
			if others == nil {
				others = map[string]string{}
			}
			others[name] = kind(e.Value)
			continue
		}
		if !storages[t.storage] {
			storages[t.storage] = true
			stored += t.storage.elements
		}
		if named += t.Len(); named > sharing*stored {
			return nil, nil, fmt.Errorf("tensors up to %.100q have %d elements of a storage of %d: too much is shared", name, named, stored)
		}
		list = append(list, NamedTensor{name, t})
	}
	return list, others, nil
}
