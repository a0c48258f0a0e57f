package torchfile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nlpodyssey/safetensors"
)

// stateDictKeys are the keys under which programs save a state_dict among other things, Lightning's first.
var stateDictKeys = []string{"state_dict", "model_state_dict", "model", "module", "network", "net", "tokenizer", "weights"}

// State is a state_dict.
type State struct {
	Key     string // where it is in the file, "" at the root, else keys with dots between them
	Tensors []NamedTensor
	Others  map[string]string // its entries that are not tensors of a type that is read, and what they are
}

// OnlyTensors is an error unless the state_dict holds nothing else.
func (s State) OnlyTensors() error { return noOthers(s.Others) }

// StateDict finds the tensors of a file that is neither a tokenizer's nor a trainer's: the file is a state_dict, or a
// dict with one under a usual key, under one below another, or under its only key of a dict of tensors, or it is a module of
// TorchScript, whose tensors are named as in its state_dict. Other parts of the file may hold any Python objects.
func (f *File) StateDict() (s State, err error) {
	if o, ok := f.Root.(*Opaque); ok && o.scripted() {
		if s.Tensors = moduleTensors(o, "", nil); len(s.Tensors) == 0 {
			return s, fmt.Errorf("a TorchScript module without tensors: a frozen one has weights as constants, without names; save the state_dict() of the module that it was made of by torch.save")
		}
		return s, nil
	}
	root, ok := f.Root.(*Dict)
	if !ok {
		return s, fmt.Errorf("the file holds %s; want a state_dict, or a dict with one", kind(f.Root))
	}
	d, path := usualState(root, len(stateDictKeys))
	switch {
	case d != nil:
	case anyTensor(root):
		d = root
	default:
		if d, path, err = onlyState(root); err != nil {
			return s, err
		}
	}
	s.Key = strings.Join(path, ".")
	if s.Tensors, s.Others, err = namedTensors(d); err != nil && s.Key != "" {
		err = fmt.Errorf("%s: %w", s.Key, err)
	}
	return s, err
}

// ofScript reports whether a class or object is of a TorchScript program, which has a class for each of its modules.
func (o *Opaque) ofScript() bool {
	return o.Module == "__torch__" || strings.HasPrefix(o.Module, "__torch__.")
}

// scripted reports whether an object is a module of TorchScript.
func (o *Opaque) scripted() bool { return o.Called && o.ofScript() }

// moduleTensors appends the tensors of a module of TorchScript, parameters and buffers, and those of its parts, under the names
// that a state_dict has.
func moduleTensors(o *Opaque, prefix string, list []NamedTensor) []NamedTensor {
	attributes, ok := o.State.(*Dict)
	if !ok {
		return list
	}
	for _, e := range attributes.Entries {
		name, ok := e.Key.(string)
		if !ok {
			continue
		}
		switch v := e.Value.(type) {
		case *Tensor:
			list = append(list, NamedTensor{prefix + name, v})
		case *Opaque:
			if v.scripted() {
				list = moduleTensors(v, prefix+name+".", list)
			}
		}
	}
	return list
}

// usualState is a dict of tensors under usual keys, at most depth of them one below another.
func usualState(d *Dict, depth int) (*Dict, []string) {
	if depth == 0 {
		return nil, nil
	}
	var inner []*Dict
	var keys []string
	for _, key := range stateDictKeys {
		if v, ok := d.Get(key); ok {
			if d, ok := v.(*Dict); ok {
				if anyTensor(d) {
					return d, []string{key}
				}
				inner, keys = append(inner, d), append(keys, key)
			}
		}
	}
	for i, d := range inner {
		if found, path := usualState(d, depth-1); found != nil {
			return found, append([]string{keys[i]}, path...)
		}
	}
	return nil, nil
}

// onlyState is the one dict of tensors among a dict's values.
func onlyState(root *Dict) (found *Dict, path []string, err error) {
	var keys, dicts []string
	for _, e := range root.Entries {
		key := fmt.Sprintf("%.60q", fmt.Sprint(e.Key))
		keys = append(keys, key)
		if d, ok := e.Value.(*Dict); ok && anyTensor(d) {
			found, path, dicts = d, []string{fmt.Sprint(e.Key)}, append(dicts, fmt.Sprintf("%s (%d)", key, len(d.Entries)))
		}
	}
	switch len(dicts) {
	case 0:
		if len(keys) == 0 {
			keys = []string{"nothing"}
		}
		return nil, nil, fmt.Errorf("no tensors: neither a state_dict nor a dict with one under %s; it holds %s", strings.Join(stateDictKeys, ", "), Brief(keys, ", "))
	case 1:
		return found, path, nil
	}
	return nil, nil, fmt.Errorf("several dicts of tensors, %s, none of them under %s: save the one that you mean in a file of its own", Brief(dicts, ", "), strings.Join(stateDictKeys, ", "))
}

func anyTensor(d *Dict) bool {
	return slices.ContainsFunc(d.Entries, func(e Entry) bool { _, ok := e.Value.(*Tensor); return ok })
}

// Brief joins the first few items and counts the others.
func Brief(items []string, separator string) string {
	const most = 5
	if n := len(items); n > most+1 {
		return strings.Join(items[:most], separator) + fmt.Sprintf("%sand %d more", separator, n-most)
	}
	return strings.Join(items, separator)
}

// wrappers are components of names that torch.compile, FSDP and activation checkpointing insert anywhere.
var wrappers = []string{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

// Unwrap returns a parameter's own name: without the components that wrappers insert, and without the leading "module."
// of DataParallel and DistributedDataParallel.
func Unwrap(name string) string {
	parts := strings.Split(name, ".")
	for len(parts) > 1 && (parts[0] == "module" || slices.Contains(wrappers, parts[0])) {
		parts = parts[1:]
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return slices.Contains(wrappers, p) })
	return strings.Join(parts, ".")
}

// UnwrapJoined is Unwrap of a name whose dots were removed, as of averages of weights.
func UnwrapJoined(name string) string {
	for _, w := range wrappers {
		name = strings.ReplaceAll(name, w, "")
	}
	return name
}

// UnwrapAll is Unwrap of each tensor's name. Two tensors of one name are an error.
func UnwrapAll(tensors []NamedTensor) ([]NamedTensor, error) {
	out, seen := make([]NamedTensor, len(tensors)), map[string]string{}
	for i, t := range tensors {
		name := Unwrap(t.Name)
		if other, ok := seen[name]; ok {
			return nil, fmt.Errorf("%.100q and %.100q are both %.100q", other, t.Name, name)
		}
		seen[name] = t.Name
		out[i] = NamedTensor{name, t.Tensor}
	}
	return out, nil
}

// safetensorsTypes are the types of the safetensors format that are read.
var safetensorsTypes = map[string]Dtype{
	"F64": Float64, "F32": Float32, "F16": Float16, "BF16": BFloat16, "I64": Int64, "I32": Int32, "I16": Int16, "I8": Int8, "U8": Uint8, "BOOL": Bool,
}

// unreadTypes are those whose tensors may be beside the ones that are wanted.
var unreadTypes = map[string]Dtype{
	"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "U16": "uint16", "U32": "uint32", "U64": "uint64", "C64": "complex64",
}

// maxSafetensors bounds the size of a .safetensors file, which is read into memory.
const maxSafetensors = 1 << 36

// IsSafetensors reports whether a file has the extension .safetensors.
func IsSafetensors(path string) bool { return strings.EqualFold(filepath.Ext(path), ".safetensors") }

// ReadSafetensors reads the tensors of a .safetensors file, sorted by name.
func ReadSafetensors(path string) ([]NamedTensor, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxSafetensors {
		return nil, fmt.Errorf("%d bytes; %d are the most", st.Size(), int64(maxSafetensors))
	}
	raw := make([]byte, st.Size())
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, err
	}
	if err := knownTypes(raw); err != nil { // the library's error does not name the tensor
		return nil, err
	}
	file, err := safetensors.Deserialize(raw)
	if err != nil {
		return nil, fmt.Errorf("not a safetensors file: %w", err)
	}
	var list []NamedTensor
	for _, v := range file.Tensors() {
		dtype := safetensorsTypes[v.TensorView.DType().String()]
		var shape []int
		for _, d := range v.TensorView.Shape() {
			if d > maxSpan {
				return nil, fmt.Errorf("%.100q: an axis of %d", v.Name, d)
			}
			shape = append(shape, int(d))
		}
		t, err := NewTensor(dtype, shape, v.TensorView.Data())
		if err != nil {
			return nil, fmt.Errorf("%.100q: %w", v.Name, err)
		}
		list = append(list, NamedTensor{v.Name, t})
	}
	slices.SortFunc(list, func(a, b NamedTensor) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// knownTypes returns an error that names the first tensor, by name, of a type that is not read. Damage of the header is
// no error here.
func knownTypes(raw []byte) error {
	if len(raw) < 8 {
		return nil
	}
	size := binary.LittleEndian.Uint64(raw)
	var header map[string]struct{ DType string }
	if size > uint64(len(raw)-8) || json.Unmarshal(raw[8:8+size], &header) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if t := header[name].DType; name != "__metadata__" && safetensorsTypes[t] == "" {
			return fmt.Errorf("%.100q is %.20s; want F32, F64, F16 or BF16: convert the weights to float32 before saving", name, t)
		}
	}
	return nil
}
