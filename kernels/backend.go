package kernels

// Buffer is a stretch of memory that belongs to a backend, counted in float32 words.
// A word holds two values stored in bfloat16.
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
	// Name is the device in a few words, for the first line of a run.
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

// The interfaces below are optional abilities of a Backend. A backend that wraps another
// one forwards those that it wants to keep.

// Preciser is a Backend that computes products in a precision of its choice.
type Preciser interface{ Precision() Precision }

// PrecisionOf is what a backend computes products in: F32 unless it is a Preciser.
func PrecisionOf(be Backend) Precision {
	if b, ok := be.(Preciser); ok {
		return b.Precision()
	}
	return F32
}

// SpecPreciser is a Preciser whose precision may differ by Spec.
type SpecPreciser interface{ PrecisionFor(s Spec) Precision }

// PrecisionFor is what a backend computes the products of a Spec in: PrecisionOf unless it is
// a SpecPreciser.
func PrecisionFor(be Backend, s Spec) Precision {
	if b, ok := be.(SpecPreciser); ok {
		return b.PrecisionFor(s)
	}
	return PrecisionOf(be)
}

// BF16Storer is a Backend that may store activations in bfloat16: arguments of
// StoreUniform and StoreEither.
type BF16Storer interface{ StoresBF16() bool }

// StoresBF16 reports whether a backend stores activations in bfloat16.
func StoresBF16(be Backend) bool {
	b, ok := be.(BF16Storer)
	return ok && b.StoresBF16()
}

// GradientFuser is a Backend with kernels for several gradients at once that read the same
// activations, such as SqueezeExciteGrad, which are faster than one kernel for each.
type GradientFuser interface{ FusesGradients() bool }

// FusesGradients reports whether a backend has such kernels.
func FusesGradients(be Backend) bool {
	b, ok := be.(GradientFuser)
	return ok && b.FusesGradients()
}

// ConvChooser is a Backend that has several kernels for convolutions, of different
// errors.
type ConvChooser interface{ UseConvKernels(ConvKernels) }

// Instructed is a Backend whose results depend on an instruction set, which it names.
type Instructed interface{ Instructions() string }

// InstructionsOf names what decides on the last bits of a backend's results: its instruction set, or else the device.
func InstructionsOf(be Backend) string {
	if b, ok := be.(Instructed); ok {
		return b.Instructions()
	}
	return be.Name()
}

// Allocator is a Backend that knows the memory in use, in bytes.
type Allocator interface{ Allocated() int64 }

// WorkspaceSizer is a Backend whose kernels need memory besides their arguments, in bytes.
// All kernels share the largest.
type WorkspaceSizer interface{ WorkspaceBytes(Spec) int64 }

// WorkEstimator is a Backend with kernels that take less time than a Spec's FLOPs do: Work
// is the operations that take as long as its kernel.
type WorkEstimator interface{ Work(Spec) int64 }

// WorkOf is a Spec's work on a backend: FLOPs unless it is a WorkEstimator.
func WorkOf(be Backend, s Spec) int64 {
	if b, ok := be.(WorkEstimator); ok {
		return b.Work(s)
	}
	return s.FLOPs()
}

// PeakMeasurer is a Backend that measures what it can do at most, in 10^9 floating-point
// operations a second.
type PeakMeasurer interface{ PeakGFLOPS() float64 }

// Collective is a Backend that exchanges its memory with those of other ranks of a training.
// Each method enqueues; all ranks enqueue the same ones, of the same lengths, in the same order.
type Collective interface {
	// Ranks is this backend's rank, from 0, and their number; 1 without others.
	Ranks() (rank, size int)
	// AllReduce replaces b by its sum over all ranks, in an order that the backend chooses, the same on
	// all ranks. With bf16 a word of b is two values.
	AllReduce(b Buffer, bf16 bool)
	// ReduceScatter leaves part i of such a sum of src in rank i's dst, which may be that part.
	ReduceScatter(dst, src Buffer, bf16 bool)
	// AllGather copies rank i's src, which may be that part, to part i of every rank's dst.
	AllGather(dst, src Buffer)
	// Exchange copies part j of rank i's src to part i of rank j's dst.
	Exchange(dst, src Buffer)
	// Overlap enqueues what run enqueues to run after all before it, and at the same time as what
	// follows, up to Join. Kernels with a workspace must not be among it.
	Overlap(run func())
	// Join makes what follows wait for all that overlaps.
	Join()
}

// Recorder is a Backend that can record the kernels that run enqueues, and enqueue them
// again at once. run must do nothing else with the backend, and may be called again.
type Recorder interface {
	Record(run func()) (replay func() error, err error)
}

// Record returns a function that enqueues the kernels that run enqueues: on a Recorder at
// once, elsewhere one after another. Recorder says what run must be.
func Record(be Backend, run func()) (replay func() error, err error) {
	if r, ok := be.(Recorder); ok {
		return r.Record(run)
	}
	return func() error { run(); return nil }, nil
}
