package gpu

import (
	"slices"
	"strings"

	"magvit/kernels"
)

// Launch is a kernel that a Spec's program launches.
type Launch struct {
	Kernel string
	Bytes  int64 // of memory, if each operand moves once
	Passes bool  // it only packs operands or adds up parts, which the Spec does not count as work
}

// Architectures are those that code is compiled for and plans are made for.
var Architectures = []string{"sm_80", "sm_86", "sm_89", hopper, "sm_100", "sm_120"}

// Launches tells what a device of an architecture launches for a Spec, and how many bytes
// of scratch memory that takes, which all Specs share. No device need be there.
func Launches(s kernels.Spec, precision kernels.Precision, arch string) (all []Launch, scratch int64, err error) {
	p, err := plan(s, precision, arch)
	if err != nil {
		return nil, 0, err
	}
	sizes := p.sizes(s)
	for i, l := range p.launches {
		operands := slices.Clone(l.pointers)
		for _, m := range l.maps {
			operands = append(operands, m.operand)
		}
		x := Launch{Kernel: l.kernel, Passes: passes(l.kernel) && (i > 0 || l.kernel != "sum_rows")}
		for _, o := range operands {
			x.Bytes += sizes[o]
		}
		all = append(all, x)
	}
	return all, 4 * int64(p.scratch), nil
}

// Storage is what a device in that precision can keep in bfloat16 of a Spec's arguments.
func Storage(s kernels.Spec, precision kernels.Precision) kernels.Storage {
	if precision != kernels.BF16 {
		return kernels.Storage{}
	}
	return storage(s)
}

func passes(kernel string) bool {
	return slices.ContainsFunc([]string{"pack_", "unfold_", "transpose_", "sum_rows", "conv_sum_", "conv_grad_x_sum_"}, func(p string) bool { return strings.HasPrefix(kernel, p) })
}

// sizes are the bytes of each operand. What is reserved ends where the next begins.
func (p *program) sizes(s kernels.Spec) map[operand]int64 {
	sizes := map[operand]int64{}
	for i, a := range s.Args() {
		sizes[arg(i)] = 4 * int64(a.Words())
	}
	starts := []int{p.scratch}
	for _, l := range p.launches {
		for _, o := range l.pointers {
			starts = append(starts, o.scratch()...)
		}
		for _, m := range l.maps {
			starts = append(starts, m.operand.scratch()...)
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	for i, from := range starts[:len(starts)-1] {
		sizes[operand{inScratch, from}] = 4 * int64(starts[i+1]-from)
	}
	return sizes
}

// scratch is where an operand begins in scratch memory, if it is there.
func (o operand) scratch() []int {
	if o.arg != inScratch {
		return nil
	}
	return []int{o.from}
}
