package kernels

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Stored is a Spec some of whose arguments are stored as bfloat16. Everything is computed
// as the Spec says; results stored in bfloat16 are rounded with RoundBF16.
//
// Two bfloat16 values share a float32 word, the first in the lower 16 bits.
type Stored struct {
	Spec
	bf16 uint32 // a bit for each argument, in the order of Args
}

// StoreBF16 is s with the named arguments stored as bfloat16: s itself for no names.
func StoreBF16(s Spec, names ...string) Spec {
	if len(names) == 0 {
		return s
	}
	st, ok := s.(Stored)
	if !ok {
		st.Spec = s
	}
	for _, name := range names {
		i := slices.IndexFunc(st.Spec.Args(), func(a Arg) bool { return a.Name == name })
		if i < 0 {
			panic(fmt.Sprintf("kernels: %s has no argument %s", Name(s), name))
		}
		st.bf16 |= 1 << i
	}
	return st
}

// StoreAllBF16 is s with all arguments stored as bfloat16 that Arg.Store allows.
func StoreAllBF16(s Spec) Spec {
	var names []string
	for _, a := range s.Args() {
		if a.Store != StoreFloat32 {
			names = append(names, a.Name)
		}
	}
	return StoreBF16(s, names...)
}

// Plain is the Spec without its storage, and whether any of its arguments is stored as
// bfloat16.
func Plain(s Spec) (plain Spec, stored bool) {
	if s, ok := s.(Stored); ok {
		return s.Spec, true
	}
	return s, false
}

// Validate also wants storage that Arg.Store allows.
func (s Stored) Validate() error {
	if err := s.Spec.Validate(); err != nil {
		return err
	}
	var uniform, all []string // arguments of StoreUniform: those in bfloat16, and all
	for _, a := range s.Args() {
		if a.BF16 && a.Store == StoreFloat32 {
			return fmt.Errorf("%s is stored in bf16, want float32", a.Name)
		}
		if a.Store == StoreUniform {
			all = append(all, a.Name)
			if a.BF16 {
				uniform = append(uniform, a.Name)
			}
		}
	}
	if len(uniform) > 0 && len(uniform) < len(all) {
		return fmt.Errorf("%s stored in bf16, want all or none of %s", strings.Join(uniform, ","), strings.Join(all, ","))
	}
	return nil
}

// Args are the Spec's, with BF16 set where it applies.
func (s Stored) Args() []Arg {
	args := s.Spec.Args()
	for i := range args {
		args[i].BF16 = s.bf16>>i&1 != 0
	}
	return args
}

// Define computes in float32; results stored in bfloat16 are rounded. Arguments have a
// float32 for each value.
func (s Stored) Define(args ...[]float32) {
	s.Spec.Define(args...)
	for i, a := range s.Args() {
		for j, v := range args[i] {
			if a.BF16 && a.Out {
				args[i][j] = RoundBF16(v)
			}
		}
	}
}

// name is the Spec's, then the arguments stored in bfloat16.
func (s Stored) name() string {
	var names []string
	for _, a := range s.Args() {
		if a.BF16 {
			names = append(names, a.Name)
		}
	}
	return Name(s.Spec) + " with bf16 " + strings.Join(names, ",")
}

// PackBF16 rounds values to bfloat16, two in each word of dst.
func PackBF16(dst, src []float32) {
	for i := range dst {
		bits := math.Float32bits(RoundBF16(src[2*i])) >> 16
		if 2*i+1 < len(src) {
			bits |= math.Float32bits(RoundBF16(src[2*i+1])) & 0xffff0000
		}
		dst[i] = math.Float32frombits(bits)
	}
}

// UnpackBF16 is the inverse of PackBF16, of values that have been rounded.
func UnpackBF16(dst, src []float32) {
	for i := range dst {
		bits := math.Float32bits(src[i/2])
		if i%2 == 0 {
			bits <<= 16
		}
		dst[i] = math.Float32frombits(bits & 0xffff0000)
	}
}
