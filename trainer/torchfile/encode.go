package torchfile

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// encoder writes a pickle of protocol 2 (torch.save's, the outer one) or 4 (the reference's config). It writes no memo:
// equal values are repeated, which is the same to readers.
type encoder struct {
	protocol int
	out      []byte
	tensors  []*Tensor // written as storage "0", "1", ... in this order
}

// encode returns the pickle of a tree. Sets, Opaque values and, with protocol 4, tensors are errors.
func encode(protocol int, root any) ([]byte, []*Tensor, error) {
	e := &encoder{protocol: protocol}
	if err := e.value(root, 0); err != nil {
		return nil, nil, err
	}
	body := append(e.out, '.')
	head := []byte{0x80, byte(protocol)}
	if protocol >= 4 {
		head = binary.LittleEndian.AppendUint64(append(head, 0x95), uint64(len(body)))
	}
	return append(head, body...), e.tensors, nil
}

func (e *encoder) op(bytes ...byte) { e.out = append(e.out, bytes...) }

func (e *encoder) value(v any, depth int) error {
	if depth > 200 {
		return fmt.Errorf("values are nested deeper than 200")
	}
	switch v := v.(type) {
	case nil:
		e.op('N')
	case bool:
		if v {
			e.op(0x88)
		} else {
			e.op(0x89)
		}
	case int:
		e.integer(int64(v))
	case int64:
		e.integer(v)
	case float64:
		e.out = binary.BigEndian.AppendUint64(append(e.out, 'G'), math.Float64bits(v))
	case string:
		return e.text(v)
	case []byte:
		return e.bytes(v)
	case Tuple:
		return e.tuple(v, depth)
	case *List:
		e.op(']', '(')
		for _, item := range v.Items {
			if err := e.value(item, depth+1); err != nil {
				return err
			}
		}
		e.op('e')
	case *Dict:
		return e.dict(v, depth)
	case *Tensor:
		return e.tensor(v)
	default:
		return fmt.Errorf("%s cannot be written; plain values and tensors can", kind(v))
	}
	return nil
}

func (e *encoder) integer(v int64) {
	switch {
	case v >= 0 && v < 1<<8:
		e.op('K', byte(v))
	case v >= 0 && v < 1<<16:
		e.out = binary.LittleEndian.AppendUint16(append(e.out, 'M'), uint16(v))
	case v == int64(int32(v)):
		e.out = binary.LittleEndian.AppendUint32(append(e.out, 'J'), uint32(v))
	default: // LONG1 of eight bytes
		e.out = binary.LittleEndian.AppendUint64(append(e.out, 0x8a, 8), uint64(v))
	}
}

func (e *encoder) text(v string) error {
	if !utf8.ValidString(v) {
		return fmt.Errorf("text %.100q is not UTF-8", v)
	}
	if len(v) > math.MaxUint32 {
		return fmt.Errorf("text of %d bytes; 4 GiB are the most", len(v))
	}
	if e.protocol >= 4 && len(v) < 1<<8 {
		e.op(0x8c, byte(len(v)))
	} else {
		e.out = binary.LittleEndian.AppendUint32(append(e.out, 'X'), uint32(len(v)))
	}
	e.out = append(e.out, v...)
	return nil
}

// bytes writes what protocol 2 has no opcode for as a call of encode(text, 'latin1').
func (e *encoder) bytes(v []byte) error {
	if len(v) > math.MaxUint32/2 {
		return fmt.Errorf("%d bytes; 2 GiB are the most", len(v))
	}
	if e.protocol >= 3 {
		e.out = binary.LittleEndian.AppendUint32(append(e.out, 'B'), uint32(len(v)))
		e.out = append(e.out, v...)
		return nil
	}
	runes := make([]rune, len(v))
	for i, b := range v {
		runes[i] = rune(b)
	}
	e.global("_codecs", "encode")
	if err := e.tuple(Tuple{string(runes), "latin1"}, 0); err != nil {
		return err
	}
	e.op('R')
	return nil
}

func (e *encoder) tuple(v Tuple, depth int) error {
	if len(v) == 0 {
		e.op(')')
		return nil
	}
	if len(v) > 3 {
		e.op('(')
	}
	for _, item := range v {
		if err := e.value(item, depth+1); err != nil {
			return err
		}
	}
	if len(v) > 3 {
		e.op('t')
	} else {
		e.op(0x84 + byte(len(v)))
	}
	return nil
}

func (e *encoder) dict(v *Dict, depth int) error {
	if v.Ordered {
		e.global("collections", "OrderedDict")
		e.op(')', 'R')
	} else {
		e.op('}')
	}
	e.op('(')
	for _, entry := range v.Entries {
		if err := e.value(entry.Key, depth+1); err != nil {
			return err
		}
		if err := e.value(entry.Value, depth+1); err != nil {
			return fmt.Errorf("%v: %w", entry.Key, err)
		}
	}
	e.op('u')
	if v.Attrs != nil {
		if err := e.value(v.Attrs, depth+1); err != nil {
			return err
		}
		e.op('b')
	}
	return nil
}

func (e *encoder) global(module, name string) {
	e.out = append(append(append(append(append(e.out, 'c'), module...), '\n'), name...), '\n')
}

// tensor writes a call of _rebuild_tensor_v2 on a storage of its own.
func (e *encoder) tensor(t *Tensor) error {
	if e.protocol != 2 {
		return fmt.Errorf("a tensor where only plain values may be")
	}
	class := ""
	for _, s := range storageClasses {
		if s.dtype == t.Dtype {
			class = s.class
		}
	}
	if class == "" {
		return fmt.Errorf("dtype %q is not known", t.Dtype)
	}
	integers := func(list []int) Tuple {
		out := make(Tuple, len(list))
		for i, v := range list {
			out[i] = v
		}
		return out
	}
	e.global("torch._utils", "_rebuild_tensor_v2")
	e.op('(', '(')
	e.text("storage")
	e.global("torch", class)
	e.text(fmt.Sprint(len(e.tensors)))
	e.text("cpu")
	e.integer(int64(t.Len()))
	e.op('t', 'Q', 'K', 0)
	e.tuple(integers(t.Shape), 0)
	e.tuple(integers(rowMajor(t.Shape)), 0)
	e.op(0x89)
	e.global("collections", "OrderedDict")
	e.op(')', 'R', 't', 'R')
	e.tensors = append(e.tensors, t)
	return nil
}
