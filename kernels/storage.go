package kernels

import (
	"fmt"
	"math"
	"strings"
)

// Stored is a Spec some of whose arguments lie in memory as bfloat16: argument i, in
// the order of Args, if bit i of Half is set. Everything is computed as the Spec says;
// results that are half are rounded with RoundBF16.
//
// Half values lie two in a float32 word, the first one in the lower 16 bits.
type Stored struct {
	Spec
	Half uint32
}

// Storage is what a backend can keep in bfloat16 of a Spec's arguments, a bit for each:
// any of Free, and those of Tied all together or none.
type Storage struct{ Free, Tied uint32 }

// StorageOf is what a backend can keep of a Spec. One that does not tell keeps float32.
func StorageOf(be Backend, s Spec) Storage {
	if b, ok := be.(interface{ Storage(Spec) Storage }); ok {
		return b.Storage(s)
	}
	return Storage{}
}

// Plain is the Spec without its storage, and which of its arguments are half.
func Plain(s Spec) (Spec, uint32) {
	if s, ok := s.(Stored); ok {
		return s.Spec, s.Half
	}
	return s, 0
}

// Validate also wants bits of arguments alone.
func (s Stored) Validate() error {
	if err := s.Spec.Validate(); err != nil {
		return err
	}
	if n := len(s.Spec.Args()); s.Half>>n != 0 {
		return fmt.Errorf("storage %b of %d arguments: want a bit for each that is half", s.Half, n)
	}
	return nil
}

// Args are the Spec's, those that are half marked.
func (s Stored) Args() []Arg {
	args := s.Spec.Args()
	for i := range args {
		args[i].Half = s.Half>>i&1 != 0
	}
	return args
}

// Define computes in float32; half results are rounded. Arguments have a float32 for
// each value.
func (s Stored) Define(args ...[]float32) {
	s.Spec.Define(args...)
	for i, a := range s.Args() {
		for j, v := range args[i] {
			if a.Half && a.Out {
				args[i][j] = RoundBF16(v)
			}
		}
	}
}

// name is the Spec's, then the arguments that are half.
func (s Stored) name() string {
	var half []string
	for _, a := range s.Args() {
		if a.Half {
			half = append(half, a.Name)
		}
	}
	return Name(s.Spec) + " with bf16 " + strings.Join(half, ",")
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
