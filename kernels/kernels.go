// Package kernels is the contract of every computation of a training step.
//
// A Spec names a computation and its sizes; its Define method is plain Go that
// says what the computation means. A Backend runs Specs on a device. Every
// backend is held to the definitions by package kerneltest.
//
// Values are float32; a Stored Spec has arguments stored as bfloat16.
// Activations are channels-last, [N,T,H,W,C]; weights of
// convolutions are [O,KT,KH,KW,C]. Code indices are whole numbers stored in
// float32, exact below 2^24 (MaxCodes); files hold them as int32.
//
// Why results come first and sizes last: Run(dst, src...) reads like copy.
package kernels

import "fmt"

// MaxCodes bounds a codebook's size: every index below it is exact in float32.
const MaxCodes = 1 << 24

// Arg is one argument of a kernel. An empty Shape is a scalar, one value.
type Arg struct {
	Name  string
	Shape []int
	Out   bool // the kernel writes it
	Read  bool // an Out argument that the kernel also reads: it is updated in place
	Every int  // of an argument that moves in one run of Every: Traffic is the mean; 0: it moves in each
	Store Storage
	Round Rounding
	BF16  bool // stored in bfloat16; only a Stored Spec has such arguments
}

// Storage is the types that a backend may store an argument in.
type Storage int

const (
	// StoreFloat32 is float32 alone: parameters and their gradients, statistics, codes, losses.
	StoreFloat32 Storage = iota
	// StoreUniform is float32 or bfloat16, the same for all such arguments of a Spec.
	StoreUniform
	// StoreEither is float32 or bfloat16, whatever the other arguments are stored in.
	StoreEither
)

// Rounding is whether a backend in BF16 rounds an argument, a factor of products, to
// bfloat16.
type Rounding int

const (
	RoundNever Rounding = iota
	RoundInBF16
	// RoundIfStored is RoundInBF16 for a Spec with arguments stored in bfloat16. It may also
	// round the weights that values are multiplied with, and their slopes.
	RoundIfStored
)

// Len is the number of values of the argument.
func (a Arg) Len() int {
	n := 1
	for _, d := range a.Shape {
		n *= d
	}
	return n
}

// Words is how many float32 values take as much memory.
func (a Arg) Words() int {
	if a.BF16 {
		return (a.Len() + 1) / 2
	}
	return a.Len()
}

// Spec names a computation and its sizes. Implementations are small comparable
// structs: two equal Specs are the same kernel.
type Spec interface {
	// Validate says what is wrong with the sizes and what would be legal.
	Validate() error
	// Args lists the arguments in the order of Run: results first.
	Args() []Arg
	// FLOPs counts floating-point operations, a multiply-add as two, whatever
	// the implementation skips or repeats.
	FLOPs() int64
	// Define computes the results from the other arguments in plain Go with
	// float64 accumulation. The lengths are those of Args.
	Define(args ...[]float32)
	// Grads are the gradients of the result, the first argument, with respect to the other
	// ones. Nil: there are none, as of fused forms and of most gradients.
	Grads() []Grad

	cpu(*CPU) []stage
	cuda(*Launches)
}

// Grad is the gradient of a Spec's result with respect to one of its arguments, as data.
type Grad struct {
	Of   string   // the argument
	Spec Spec     // what computes it; nil: it is the gradient of the result, unchanged
	Args []string // what Spec reads, in its order: arguments and the result by name, and the gradient of the result, whose name is "d" and that of the result
}

// ZeroArg is the name of zeros among a Grad's Args.
const ZeroArg = "0"

func grad(of string, s Spec, args ...string) Grad { return Grad{of, s, args} }

// Traffic is the bytes that a kernel moves if it reads and writes the argument at most once each.
func (a Arg) Traffic() int64 {
	bytes := 4 * int64(a.Words())
	if a.Read {
		bytes *= 2
	}
	return bytes / int64(max(1, a.Every))
}

// Bytes is the memory traffic of a Spec if every argument is read and written at most once.
func Bytes(s Spec) int64 {
	var n int64
	for _, a := range s.Args() {
		n += a.Traffic()
	}
	return n
}

// Name is a Spec's text: its type and sizes, as errors and benchmarks show it.
func Name(s Spec) string {
	if s, ok := s.(Stored); ok {
		return s.name()
	}
	return fmt.Sprintf("%T%+v", s, s)[len("kernels."):]
}
