package torchfile

import (
	"fmt"
	"slices"
	"strings"
)

// maxForeign bounds the list of unknown globals of a file.
const maxForeign = 100

// known are the globals that have a meaning here. Every other one stays an Opaque. None is ever looked up: a name is
// compared with this list, and call below does in Go what torch's own function does.
var known = map[string]bool{
	"collections.OrderedDict": true, "torch._utils._rebuild_tensor": true, "torch._utils._rebuild_tensor_v2": true, "torch._utils._rebuild_tensor_v3": true,
	"torch._utils._rebuild_parameter": true, "torch._utils._rebuild_parameter_with_state": true, rebuildFromType: true, "torch.Size": true, untypedStorage: true,
	"_codecs.encode": true, "builtins.set": true, "builtins.frozenset": true, "builtins.bytes": true, "builtins.bytearray": true,
}

// rebuildFromType is the function that makes a tensor of a subclass of torch.Tensor by one of the others.
const rebuildFromType = "torch._tensor._rebuild_from_type_v2"

// untypedStorage is the class of storages of bytes, for types that have no class of their own.
const untypedStorage = "torch.storage.UntypedStorage"

// pythonName joins module and name; Python 2's module of builtins, which protocol 2 writes, is today's.
func (o *Opaque) pythonName() string {
	if o.Module == "__builtin__" {
		return "builtins." + o.Name
	}
	return o.Module + "." + o.Name
}

// untypedDtype is the type that a global torch.NAME denotes, of those in untyped storages.
func untypedDtype(v any) Dtype {
	if o, ok := v.(*Opaque); ok && o.Module == "torch" && !o.Called && unconverted[Dtype(o.Name)] > 0 {
		return Dtype(o.Name)
	}
	return ""
}

// unreadStorage is how the names of torch's classes of storages end. Those of types that are not read, such as
// complex and quantized numbers, and the tensors of them are Opaque: only a state_dict needs to be read.
const unreadStorage = "Storage"

// isUnread reports whether a value is a storage of a type that is not read, or a tensor of one.
func isUnread(v any) bool {
	o, ok := v.(*Opaque)
	return ok && o.Called && o.Module == "torch" && (o.Name == unreadTensor || strings.HasSuffix(o.Name, unreadStorage))
}

// unreadTensor is the name of the Opaque, in module torch, that stands for such a tensor; its argument names the type.
const unreadTensor = "Tensor"

// storageDtype is the type of the elements of a class of storages. The old classes of torch.cuda are storages that were on a GPU.
func storageDtype(o *Opaque) (Dtype, bool) {
	if o.pythonName() == untypedStorage && !o.Called {
		return Uint8, true
	}
	if (o.Module == "torch" || o.Module == "torch.cuda") && !o.Called {
		for _, s := range storageClasses {
			if s.class == o.Name {
				return s.dtype, true
			}
		}
	}
	return "", false
}

func (m *machine) foreignNames() []string {
	var names []string
	for name := range m.foreign {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// object runs the opcodes that in Python look up, call or change objects.
func (m *machine) object(op byte) error {
	switch op {
	case 'c': // GLOBAL
		module, err := m.readLine()
		if err != nil {
			return err
		}
		name, err := m.readLine()
		if err != nil {
			return err
		}
		return m.global(module, name)
	case 'Q': // BINPERSID
		args, err := m.pop(1)
		if err != nil {
			return err
		}
		s, err := m.persistent(args[0])
		if err != nil {
			return err
		}
		return m.push(s)
	}
	n := 2
	if op == 0x92 { // NEWOBJ_EX
		n = 3
	}
	popped, err := m.pop(n)
	if err != nil {
		return err
	}
	args := append([]any(nil), popped...) // before a push writes over them
	switch op {
	case 0x93: // STACK_GLOBAL
		module, ok1 := args[0].(string)
		name, ok2 := args[1].(string)
		if !ok1 || !ok2 || len(module) > 256 || len(name) > 256 {
			return fmt.Errorf("a global's name is %s and %s; want two short strings", kind(args[0]), kind(args[1]))
		}
		return m.global(module, name)
	case 'b': // BUILD
		if err := build(args[0], args[1]); err != nil {
			return err
		}
		return m.push(args[0])
	}
	callee, ok := args[0].(*Opaque)
	if !ok {
		return fmt.Errorf("a call of %s", kind(args[0]))
	}
	positional, ok := args[1].(Tuple)
	if !ok {
		return fmt.Errorf("a call of %s with %s; want a tuple", callee, kind(args[1]))
	}
	var v any
	if op == 0x92 {
		kwargs, ok := args[2].(*Dict)
		if !ok {
			return fmt.Errorf("a call of %s with keywords in %s; want a dict", callee, kind(args[2]))
		}
		v = &Opaque{Module: callee.Module, Name: callee.Name, Called: true, Args: positional, Kwargs: kwargs}
	} else if v, err = m.call(callee, positional); err != nil {
		return fmt.Errorf("%s: %w", callee, err)
	}
	return m.push(v)
}

func (m *machine) global(module, name string) error {
	o := &Opaque{Module: module, Name: name}
	if _, ok := storageDtype(o); !ok && !known[o.pythonName()] && untypedDtype(o) == "" && !o.ofScript() {
		if m.foreign[o.pythonName()] = true; len(m.foreign) > maxForeign {
			return fmt.Errorf("more than %d different globals", maxForeign)
		}
	}
	return m.push(o)
}

// build stores what BUILD would have set, as data: attributes of an OrderedDict, the state of an object that is not known.
func build(target, state any) error {
	switch t := target.(type) {
	case *Dict:
		if t.Ordered && t.Attrs == nil {
			t.Attrs = state
			return nil
		}
	case *Opaque:
		if t.State == nil {
			t.State = state
			return nil
		}
	}
	return fmt.Errorf("BUILD changes %s", kind(target))
}

// call gives the value of a known function; of any other one, the Opaque that describes the call.
func (m *machine) call(callee *Opaque, args Tuple) (any, error) {
	if callee.Called {
		return &Opaque{Module: callee.Module, Name: callee.Name, Called: true, Args: Tuple{callee, args}}, nil
	}
	if len(args) > 0 && callee.Module == "torch._utils" && isUnread(args[0]) {
		if o := args[0].(*Opaque); o.Name == unreadTensor {
			return o, nil
		}
		return &Opaque{Module: "torch", Name: unreadTensor, Called: true, Args: args[:1]}, nil
	}
	list := func() ([]any, error) { // the one argument of a container's constructor; shared, as nothing writes into it
		if len(args) == 0 {
			return nil, nil
		}
		if len(args) == 1 {
			switch v := args[0].(type) {
			case *List:
				return v.Items[:len(v.Items):len(v.Items)], nil
			case Tuple:
				return v, nil
			}
		}
		return nil, fmt.Errorf("arguments are not one list or tuple")
	}
	switch callee.pythonName() {
	case "collections.OrderedDict":
		pairs, err := list()
		if err != nil {
			return nil, err
		}
		return m.ordered(pairs)
	case "builtins.set", "builtins.frozenset":
		items, err := list()
		return &Set{items[:len(items):len(items)]}, err
	case "torch.Size":
		items, err := list()
		return Tuple(items), err
	case "_codecs.encode", "builtins.bytes", "builtins.bytearray":
		return m.latin1(args)
	case "torch._utils._rebuild_tensor": // before torch 0.4: without requires_grad and hooks
		if len(args) != 4 {
			return nil, fmt.Errorf("%d arguments; want 4", len(args))
		}
		return m.tensor(append(slices.Clone(args), false, nil))
	case "torch._utils._rebuild_tensor_v2":
		return m.tensor(args)
	case "torch._utils._rebuild_tensor_v3":
		return m.untypedTensor(args)
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) == 3 || len(args) == 4 && callee.Name != "_rebuild_parameter" {
			if t, ok := args[0].(*Tensor); ok {
				return t, nil
			}
		}
		return nil, fmt.Errorf("arguments are not (tensor, requires_grad, hooks)")
	case rebuildFromType: // (function, class, arguments, attributes)
		if len(args) == 4 {
			function, _ := args[0].(*Opaque)
			own, ok := args[2].(Tuple)
			if ok && function != nil && function.Module == "torch._utils" {
				return m.call(function, own)
			}
		}
	}
	return &Opaque{Module: callee.Module, Name: callee.Name, Called: true, Args: args}, nil
}

func (m *machine) ordered(pairs []any) (*Dict, error) {
	if err := m.grow(2 * len(pairs)); err != nil {
		return nil, err
	}
	d := &Dict{Ordered: true}
	for _, pair := range pairs {
		var items []any
		switch p := pair.(type) {
		case Tuple:
			items = p
		case *List:
			items = p.Items
		}
		if len(items) != 2 {
			return nil, fmt.Errorf("%s is not a pair", kind(pair))
		}
		if err := fill(d, items); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// latin1 does what protocol 2 does for bytes: encode(text, 'latin1'). As a file can call it repeatedly with the
// same text, its results together may be no longer than twice the pickle.
func (m *machine) latin1(args Tuple) ([]byte, error) {
	if len(args) == 0 {
		return []byte{}, nil
	}
	if len(args) == 1 {
		if b, ok := args[0].([]byte); ok {
			return b, nil
		}
	}
	if len(args) == 2 {
		text, ok1 := args[0].(string)
		codec, ok2 := args[1].(string)
		if ok1 && ok2 && (codec == "latin1" || codec == "latin-1") {
			if m.decoded += len(text); m.decoded > 2*len(m.data) {
				return nil, fmt.Errorf("more bytes than twice the pickle's own")
			}
			b := make([]byte, 0, len(text))
			for _, r := range text {
				if r > 0xff {
					return nil, fmt.Errorf("character %U is not in latin-1", r)
				}
				b = append(b, byte(r))
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("arguments are not (text, 'latin1')")
}

// persistent resolves ('storage', class, name, device, elements), in files before torch 1.6 with a view of the storage
// after these, which is None.
func (m *machine) persistent(id any) (any, error) {
	args, _ := id.(Tuple)
	if len(args) == 6 {
		if args[5] != nil {
			return nil, fmt.Errorf("a view of a storage, %s: load the file in Python and save it again", kind(args[5]))
		}
		args = args[:5]
	}
	if len(args) != 5 || args[0] != any("storage") {
		return nil, fmt.Errorf("persistent id is %s; want ('storage', class, name, device, elements)", kind(id))
	}
	class, ok1 := args[1].(*Opaque)
	name, ok2 := args[2].(string)
	_, ok3 := args[3].(string)
	elements, ok4 := args[4].(int64)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return nil, fmt.Errorf("persistent id holds %s, %s, %s, %s; want ('storage', class, name, device, elements)",
			kind(args[1]), kind(args[2]), kind(args[3]), kind(args[4]))
	}
	dtype, ok := storageDtype(class)
	if !ok && class.Module == "torch" && strings.HasSuffix(class.Name, unreadStorage) && !class.Called {
		return &Opaque{Module: class.Module, Name: class.Name, Called: true}, nil
	}
	if !ok {
		var classes []string
		for _, s := range storageClasses {
			classes = append(classes, "torch."+s.class)
		}
		return nil, fmt.Errorf("storage class %s is not known; known: %s", class, strings.Join(classes, ", "))
	}
	if m.storage == nil {
		return nil, fmt.Errorf("a tensor where only plain values may be")
	}
	if elements < 0 || elements > maxSpan {
		return nil, fmt.Errorf("storage %.100q of %d elements", name, elements)
	}
	return m.storage(name, dtype, int(elements))
}

// untypedTensor resolves (storage, offset, shape, strides, requires_grad, hooks, dtype[, metadata]).
func (m *machine) untypedTensor(args Tuple) (any, error) {
	if len(args) != 7 && len(args) != 8 {
		return nil, fmt.Errorf("%d arguments; want 7 or 8", len(args))
	}
	dtype := untypedDtype(args[6])
	if o, ok := args[6].(*Opaque); ok && dtype == "" && o.Module == "torch" && !o.Called {
		return &Opaque{Module: "torch", Name: unreadTensor, Called: true, Args: args[6:7]}, nil
	}
	if dtype == "" {
		return nil, fmt.Errorf("a tensor of %s; want float32, float64, float16 or bfloat16", kind(args[6]))
	}
	typed := slices.Clone(args[:6])
	if s, ok := args[0].(*storage); ok { // its elements are bytes
		if s.elements%dtype.Size() != 0 {
			return nil, fmt.Errorf("storage %q has %d bytes; want a multiple of %d for %s", s.name, s.elements, dtype.Size(), dtype)
		}
		own := *s
		own.dtype, own.elements = dtype, s.elements/dtype.Size()
		typed[0] = &own
	}
	return m.tensor(typed)
}

// tensor resolves (storage, offset, shape, strides, requires_grad, hooks[, metadata]).
func (m *machine) tensor(args Tuple) (*Tensor, error) {
	if len(args) != 6 && len(args) != 7 {
		return nil, fmt.Errorf("%d arguments; want 6 or 7", len(args))
	}
	s, ok1 := args[0].(*storage)
	offset, ok2 := args[1].(int64)
	if !ok1 || !ok2 || offset < 0 || offset > maxSpan {
		return nil, fmt.Errorf("arguments start with %s, %s; want a storage and an offset", kind(args[0]), kind(args[1]))
	}
	var axes [2][]int
	for i := range axes {
		list, ok := args[2+i].(Tuple)
		if !ok || len(list) > maxRank {
			return nil, fmt.Errorf("shape or strides are %s; want a tuple of at most %d", kind(args[2+i]), maxRank)
		}
		axes[i] = make([]int, len(list))
		for j, v := range list {
			n, ok := v.(int64)
			if !ok || n < 0 || n > maxSpan {
				return nil, fmt.Errorf("shape or strides hold %s; want integers from 0 to %d", kind(v), int64(maxSpan))
			}
			axes[i][j] = int(n)
		}
	}
	if err := m.grow(2 * len(axes[0])); err != nil {
		return nil, err
	}
	return newTensor(s, int(offset), axes[0], axes[1])
}
