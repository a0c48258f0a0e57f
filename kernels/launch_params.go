package kernels

import (
	"fmt"
	"math"
	"reflect"
)

// Params are the parameters of a launch in the order of the argument block: 128 bytes for
// each tensor map, 8 for each pointer, 4 for each value.
type Params struct {
	Maps     []TensorMap
	Pointers []Operand
	Values   []uint32
}

// Params encodes Args. Its fields have the order and, but for case, the names of the
// kernel's parameters; structs and arrays are passed by value. TestArgsMatchSources holds
// them to the .cu files.
func (l Launch) Params() Params {
	var p Params
	p.append(reflect.ValueOf(l.Args))
	return p
}

func (p *Params) append(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		switch v.Type() {
		case reflect.TypeFor[TensorMap]():
			p.Maps = append(p.Maps, v.Interface().(TensorMap))
			return
		case reflect.TypeFor[Operand]():
			p.Pointers = append(p.Pointers, v.Interface().(Operand))
			return
		}
		for i := range v.NumField() {
			p.append(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			p.append(v.Index(i))
		}
	case reflect.Int:
		p.Values = append(p.Values, uint32(v.Int()))
	case reflect.Float32:
		p.Values = append(p.Values, math.Float32bits(float32(v.Float())))
	default:
		panic(fmt.Sprintf("kernels: a %v is no parameter of a kernel", v.Type()))
	}
}
