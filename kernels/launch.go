package kernels

import (
	"errors"
	"fmt"
	"math"
)

// Launches is how a GPU computes a Spec: CUDA kernels launched one after another.
//
// Each Spec plans its own in its method cuda, in the file x_cuda.go next to x.cu. Why long
// sums are split by their Spec alone, never by what a device has: a run then gives the
// same bits on every device of a kind.
type Launches struct {
	List      []Launch
	Workspace int // float32 values that the kernels need besides the Spec's arguments

	args      []Arg
	precision Precision
	arch      string
	smCount   int
	always    bool // every convolution runs on Hopper's tensor cores, also if it fills them badly
	bf16      bool // the arguments of StoreUniform are stored in bfloat16
}

// Launch is one CUDA kernel with its geometry and parameters.
type Launch struct {
	Kernel      string
	Grid, Block [3]uint32
	Shared      int // bytes of dynamic shared memory
	Phases      int // of a gradient of strides, 0 for one: the launch moves one in Phases of the values of dx, and of what is like dx
	Args        any // a struct with a field for each parameter of the kernel, see Params
}

// Operand is what a pointer parameter refers to. The zero value is the null pointer.
type Operand struct {
	Memory Memory
	Index  int // of an argument of the Spec, or of the first float32 value in the workspace
}

// Memory is where an operand is.
type Memory int

const (
	NullMemory      Memory = iota
	ArgMemory              // an argument of the Spec
	WorkspaceMemory        // memory that all kernels of a device share
)

const (
	hopper    = "sm_90" // the architecture that runs code for sm_90a, and no other does
	threads   = 256     // of a CTA, where nothing asks for another number
	smCount   = 132     // of an H100: the SMs that work is divided for
	wave      = 2 * smCount
	sumWave   = 4 * wave // CTAs of sums of rows: each waits for memory alone, so that an SM wants more
	maxGridX  = math.MaxInt32
	maxGridYZ = math.MaxUint16
)

// ErrNoKernel says that a Spec has no CUDA kernels.
var ErrNoKernel = errors.New("there is no GPU kernel for it; the CPU has one")

// LaunchesOf plans a Spec for an architecture. The precision is that of products and of
// stored activations. No device needs to be present.
func LaunchesOf(s Spec, precision Precision, arch string) (*Launches, error) {
	return launchesOf(s, &Launches{precision: precision, arch: arch, smCount: smCount})
}

// LaunchesOnHopper is LaunchesOf in BF16 for a device of sm_90 that has that many SMs and
// runs every convolution by conv_sm90a.cu, also those that fill its tiles badly, except
// those that TMA copies cannot load. It is for checks of these kernels at small sizes.
func LaunchesOnHopper(s Spec, sms int) (*Launches, error) {
	return launchesOf(s, &Launches{precision: BF16, arch: hopper, smCount: sms, always: true})
}

func launchesOf(s Spec, p *Launches) (*Launches, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	p.args = s.Args()
	for _, a := range p.args {
		if a.Len() > math.MaxInt32 {
			return nil, fmt.Errorf("%s has %d values, want at most 2^31-1", a.Name, a.Len())
		}
		if a.BF16 && p.precision != BF16 {
			return nil, fmt.Errorf("%s is stored in bf16, in precision %v activations are float32", a.Name, p.precision)
		}
		p.bf16 = p.bf16 || a.BF16 && a.Store == StoreUniform
	}
	s.cuda(p)
	if len(p.List) == 0 {
		return nil, ErrNoKernel
	}
	for _, l := range p.List {
		if l.Grid[0] > maxGridX || l.Grid[1] > maxGridYZ || l.Grid[2] > maxGridYZ {
			return nil, fmt.Errorf("kernel %s needs a grid of %v CTAs, want at most 2^31-1, 65535, 65535", l.Kernel, l.Grid)
		}
	}
	return p, nil
}

// arg is the Spec's argument of that name.
func (p *Launches) arg(name string) Operand {
	o := p.optional(name)
	if o == (Operand{}) {
		panic("kernels: no argument " + name)
	}
	return o
}

// optional is the Spec's argument of that name, null if it has none.
func (p *Launches) optional(name string) Operand {
	for i, a := range p.args {
		if a.Name == name {
			return Operand{ArgMemory, i}
		}
	}
	return Operand{}
}

// isBF16 reports whether an operand is an argument stored in bfloat16.
func (p *Launches) isBF16(o Operand) bool { return o.Memory == ArgMemory && p.args[o.Index].BF16 }

// workspace reserves n float32 values.
func (p *Launches) workspace(n int) Operand {
	o := Operand{WorkspaceMemory, p.Workspace}
	p.Workspace += (n + 31) / 32 * 32
	return o
}

// add appends a launch.
func (p *Launches) add(kernel string, grid, block [3]uint32, args any) *Launch {
	p.List = append(p.List, Launch{Kernel: kernel, Grid: grid, Block: block, Args: args})
	return &p.List[len(p.List)-1]
}

// typed is the name of the kernel for the type that uniform activations are stored in.
func (p *Launches) typed(kernel string) string {
	if p.bf16 {
		return kernel + "_half"
	}
	return kernel
}

func grid1D(n int) [3]uint32       { return [3]uint32{uint32(n), 1, 1} }
func grid2D(x, y int) [3]uint32    { return [3]uint32{uint32(x), uint32(y), 1} }
func grid3D(x, y, z int) [3]uint32 { return [3]uint32{uint32(x), uint32(y), uint32(z)} }

// elementwise adds a kernel with n threads.
func (p *Launches) elementwise(kernel string, n int, args any) {
	p.add(kernel, grid1D(ceilDiv(n, threads)), grid1D(threads), args)
}

// elementwise8 adds a kernel with a thread for every eight of n values.
func (p *Launches) elementwise8(kernel string, n int, args any) {
	p.elementwise(kernel, ceilDiv(n, 8), args)
}

// oneCTA adds a kernel of a single CTA.
func (p *Launches) oneCTA(kernel string, args any) { p.add(kernel, grid1D(1), grid1D(threads), args) }

// vectorThreads is the number of threads for n values in rows of c: one for eight values
// where c is a multiple of eight, else one for each.
func vectorThreads(n, c int) int {
	if c%8 == 0 {
		return n / 8
	}
	return n
}

// splitK divides the n terms of a sum among CTAs if the CTAs for its results do not fill a
// wave. No split but the last has fewer than least terms; sizes are multiples of 16.
func splitK(n, ctas, least int) (splits, size int) { return splitInto(wave, n, ctas, least) }

// splitInto is splitK for waves of another size.
func splitInto(wave, n, ctas, least int) (splits, size int) {
	splits = max(1, min(ceilDiv(wave, ctas), n/least))
	size = ceilDiv(ceilDiv(n, splits), 16) * 16
	return ceilDiv(n, size), size
}

// fullWaves is the smallest number of splits, at most most, whose CTAs fill nine tenths of
// six waves or fewer, or the one that fills them best.
func fullWaves(wave, ctas, most int) (splits int) {
	best := 0.
	for waves := 1; waves <= 6 && best < .9; waves++ {
		k := min(most, max(1, waves*wave/ctas))
		if full := float64(k*ctas) / float64(ceilDiv(k*ctas, wave)*wave); waves == 1 || full > best+.02 {
			best, splits = full, k
		}
	}
	return splits
}

// chunks divides n values among CTAs that sum them: enough to keep the memory of a large
// device busy, none with fewer than 4096 values, all with a multiple of 8.
func chunks(n int) (ctas, size int) {
	size = ceilDiv(ceilDiv(n, max(1, min(4*wave, n/4096))), 8) * 8
	return ceilDiv(n, size), size
}

// flag is a bool as a kernel reads it.
func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}
