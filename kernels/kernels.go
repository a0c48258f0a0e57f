// Package kernels is the contract of every computation of a training step.
//
// A Spec names a computation and its sizes; its Define method is plain Go that
// says what the computation means. A Backend runs Specs on a device. Every
// backend is held to the definitions by package kerneltest.
//
// Values are float32; Stored says which of a Spec's lie in memory as bfloat16.
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
	Out   bool // the kernel writes it; an Out argument that is also read says so in its Spec's doc
	Half  bool // it lies in bfloat16; only a Stored Spec has such
}

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
	if a.Half {
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

	cpu(*CPU) []stage
}

// Bytes is the memory traffic of a Spec if every argument moves once.
func Bytes(s Spec) int64 {
	var n int64
	for _, a := range s.Args() {
		n += 4 * int64(a.Words())
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

// Buffer is a stretch of memory that belongs to a backend, counted in float32 words.
// What a Stored Spec keeps in bfloat16 lies two to a word.
type Buffer interface {
	Len() int
	// Slice is the part [from,to) of the buffer; it shares the memory.
	Slice(from, to int) Buffer
}

// Kernel is a Spec prepared for a backend.
type Kernel interface {
	// Run enqueues the computation; arguments as in Spec.Args. A wrong number of
	// arguments or a wrong length is a programmer's error and panics.
	// An argument written must not overlap another one, unless the Spec's doc allows it.
	Run(args ...Buffer)
}

// Backend runs kernels on one device. It is used by one goroutine at a time.
type Backend interface {
	// Name tells the device in a few words, for the first line of a run.
	Name() string
	// Alloc returns n zeros.
	Alloc(n int) (Buffer, error)
	// Prepare chooses how to run s: tile, instruction set, precision. It fails,
	// naming s, if this backend cannot run it; nothing falls back.
	Prepare(s Spec) (Kernel, error)
	// Write copies src to the start of dst, Read the start of src to dst; both
	// keep the order of enqueued kernels. src may be changed after the call.
	Write(dst Buffer, src []float32) error
	Read(dst []float32, src Buffer) error
	// Sync waits for everything enqueued and returns the first error of it.
	Sync() error
	Close() error
}
