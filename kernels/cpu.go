package kernels

import (
	"fmt"
	"runtime"
)

// CPU is the backend that runs on this machine's cores.
//
// A kernel is a list of stages, a stage a fixed number of independent tasks. The
// split into tasks depends on the Spec alone, so results are the same bits for
// any number of workers.
type CPU struct {
	workers int
	isa     ISA
	prec    Precision
	pool    workerPool
	scratch [][]float32 // one for each worker
	shared  []float32   // of all workers, for one kernel at a time
	conv    ConvKernels
	largeU  int // values of U that Winograd's filtering has in memory at once, about; 0: maxWinogradU
}

// stage is a number of independent tasks; do runs one of them on the worker.
type stage struct {
	tasks int
	do    func(args [][]float32, task, worker int)
}

// Host is a Buffer in this machine's memory, the kind that CPU uses.
type Host []float32

func (h Host) Len() int                  { return len(h) }
func (h Host) Slice(from, to int) Buffer { return h[from:to:to] }

// NewCPU is NewCPUIn in F32 for tests. It panics where DetectISA fails.
func NewCPU(workers int) *CPU {
	c, err := NewCPUIn(F32, workers)
	if err != nil {
		panic(err)
	}
	return c
}

// NewCPUIn starts a backend in a precision; 0 workers means GOMAXPROCS. Its instruction set
// is chosen by DetectISA. The error says what BF16 needs that this machine lacks, or that
// MAGVIT_ISA is wrong.
func NewCPUIn(p Precision, workers int) (*CPU, error) {
	isa, err := DetectISA()
	if err != nil {
		return nil, err
	}
	if p == BF16 {
		if err := CanBF16(); err != nil {
			return nil, err
		}
	}
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	c := &CPU{workers: workers, isa: isa, prec: p, scratch: make([][]float32, workers)}
	c.pool.start(workers - 1)
	return c, nil
}

func (c *CPU) Name() string {
	return fmt.Sprintf("cpu (%s, %d workers)", c.Instructions(), c.workers)
}

// Instructions are the instruction sets that the backend's kernels use, in words.
func (c *CPU) Instructions() string {
	if c.prec == BF16 {
		return c.isa.String() + " with BF16"
	}
	return c.isa.String()
}

// Precision is what the products of convolutions are computed in, unless PrecisionFor says otherwise.
func (c *CPU) Precision() Precision { return c.prec }

// tilesIn are the tiles for the products of convolutions in a precision.
func (c *CPU) tilesIn(p Precision) tiles {
	if p == BF16 {
		return bf16Tiles
	}
	return isaTiles[c.isa]
}

// ISA is the instruction set that the backend's kernels use.
func (c *CPU) ISA() ISA { return c.isa }

// Workers is how many cores the backend uses.
func (c *CPU) Workers() int { return c.workers }

func (c *CPU) Alloc(n int) (Buffer, error) {
	if n < 0 {
		return nil, fmt.Errorf("kernels: cpu: alloc of %d values", n)
	}
	return Host(alignedFloats(n)), nil
}

func (c *CPU) Write(dst Buffer, src []float32) error {
	if len(src) > dst.Len() {
		return fmt.Errorf("kernels: cpu: write of %d values to a buffer of %d", len(src), dst.Len())
	}
	copy(dst.(Host), src)
	return nil
}

func (c *CPU) Read(dst []float32, src Buffer) error {
	if len(dst) > src.Len() {
		return fmt.Errorf("kernels: cpu: read of %d values from a buffer of %d", len(dst), src.Len())
	}
	copy(dst, src.(Host))
	return nil
}

func (c *CPU) Sync() error { return nil }

// Close ends the workers.
func (c *CPU) Close() error {
	c.pool.stop()
	return nil
}

func (c *CPU) Prepare(s Spec) (Kernel, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("kernels: cpu: %s: %w", Name(s), err)
	}
	if _, stored := Plain(s); stored {
		return nil, fmt.Errorf("kernels: cpu: %s: values are stored in float32 here", Name(s))
	}
	k := &cpuKernel{cpu: c, spec: s, stages: s.cpu(c)}
	for _, a := range s.Args() {
		k.lens = append(k.lens, a.Len())
	}
	k.args = make([][]float32, len(k.lens))
	return k, nil
}

type cpuKernel struct {
	cpu    *CPU
	spec   Spec
	stages []stage
	lens   []int
	args   [][]float32
}

func (k *cpuKernel) Run(args ...Buffer) {
	if len(args) != len(k.lens) {
		panic(fmt.Sprintf("kernels: %s: %d arguments, want %d", Name(k.spec), len(args), len(k.lens)))
	}
	for i, a := range args {
		if a.Len() != k.lens[i] {
			panic(fmt.Sprintf("kernels: %s: argument %d (%s) has %d values, want %d", Name(k.spec), i, k.spec.Args()[i].Name, a.Len(), k.lens[i]))
		}
		k.args[i] = a.(Host)
	}
	for i := range k.stages {
		k.cpu.run(&k.stages[i], k.args)
	}
}

// run does all tasks of a stage on all workers.
func (c *CPU) run(s *stage, args [][]float32) {
	if s.tasks <= 1 || c.workers == 1 {
		for t := range s.tasks {
			s.do(args, t, 0)
		}
		return
	}
	c.pool.run(s, args)
}

// reserveShared makes sure that the memory shared by the workers holds n values, for a
// kernel that uses c.shared[:n] when it runs.
func (c *CPU) reserveShared(n int) {
	if len(c.shared) < n {
		c.shared = alignedFloats(n)
	}
}

// reserve makes sure that every worker's scratch holds n values. Kernels call
// it when they are prepared and use c.scratch[worker][:n] when they run.
func (c *CPU) reserve(n int) {
	for w := range c.scratch {
		if len(c.scratch[w]) < n {
			c.scratch[w] = alignedFloats(n)
		}
	}
}
