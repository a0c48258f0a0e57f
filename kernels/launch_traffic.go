package kernels

import (
	"slices"
	"strings"
)

// Traffic is what a launch moves.
type Traffic struct {
	Kernel string
	Bytes  int64 // of memory, if each operand is read and written at most once
	Passes bool  // it only packs operands or adds up splits, which the Spec does not count as work
}

// Architectures are those that code is compiled for and launches are planned for.
var Architectures = []string{"sm_80", "sm_86", "sm_89", hopper, "sm_100", "sm_120"}

// Traffic is that of each launch.
func (p *Launches) Traffic() (all []Traffic) {
	sizes := p.sizes()
	for i, l := range p.List {
		t := Traffic{Kernel: l.Kernel, Passes: passes(l.Kernel) && (i > 0 || l.Kernel != "sum_rows")}
		for _, o := range l.operands() {
			if n := int64(l.Phases); n > 1 && o.Memory == ArgMemory && p.args[o.Index].Len() == p.args[0].Len() && !l.isMap(o) {
				t.Bytes += sizes[o] / n
				continue
			}
			t.Bytes += sizes[o]
		}
		all = append(all, t)
	}
	return all
}

func passes(kernel string) bool {
	return slices.ContainsFunc([]string{"pack_", "unfold_", "transpose_", "sum_rows", "conv_sum_", "conv_grad_x_sum_", "conv_grad_geglu_sum_", "conv_grad_shuffle_sum_", "conv_geglu_sum_"}, func(p string) bool { return strings.HasPrefix(kernel, p) })
}

// isMap reports whether a launch reads an operand by a tensor map.
func (l Launch) isMap(o Operand) bool {
	return slices.ContainsFunc(l.Params().Maps, func(m TensorMap) bool { return m.Operand == o })
}

// operands are all that a launch reads and writes.
func (l Launch) operands() []Operand {
	p := l.Params()
	for _, m := range p.Maps {
		p.Pointers = append(p.Pointers, m.Operand)
	}
	return p.Pointers
}

// sizes are the bytes that move of each operand. What is reserved ends where the next begins.
func (p *Launches) sizes() map[Operand]int64 {
	sizes := map[Operand]int64{}
	for i, a := range p.args {
		sizes[Operand{ArgMemory, i}] = a.Traffic()
	}
	starts := []int{p.Workspace}
	for _, l := range p.List {
		for _, o := range l.operands() {
			if o.Memory == WorkspaceMemory {
				starts = append(starts, o.Index)
			}
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	for i, from := range starts[:len(starts)-1] {
		sizes[Operand{WorkspaceMemory, from}] = 4 * int64(starts[i+1]-from)
	}
	return sizes
}
