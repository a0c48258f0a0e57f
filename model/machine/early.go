package machine

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// early orders a program such that less is needed at the same time. Where the last to read a value
// has a smaller result, and the last but one can be written over the value, the former runs first:
// as the shortcut of a residual block with fewer channels than its input does, in front of the norm.
// Between the two the result is needed then and not the value, and the other result takes the value's place.
func early(prog []instr, keep map[*G.Node]bool, bound map[*G.Node]kernels.Buffer) (out []instr) {
	readers, maker := map[*G.Node][]int{}, usageOf(prog, nil).maker
	for i, in := range prog {
		for _, n := range in.sources() {
			readers[n] = append(readers[n], i)
		}
	}
	moved, before := map[int]bool{}, map[int][]instr{}
	for i, in := range prog {
		for _, n := range in.sources() {
			last := len(readers[n]) - 1
			if last < 1 || readers[n][last] != i || keep[n] || bound[n] != nil || size(in.args[0]) >= size(n) || moved[i] {
				continue
			}
			j := readers[n][last-1]
			known := func(n *G.Node) bool { k, made := maker[n]; return !made || k < j }
			if overwrites(prog[j].spec) == 1 && prog[j].args[1] == n && !slices.ContainsFunc(in.sources(), func(n *G.Node) bool { return !known(n) }) {
				moved[i], before[j] = true, append(before[j], in)
			}
		}
	}
	for i, in := range prog {
		out = append(out, before[i]...)
		if !moved[i] {
			out = append(out, in)
		}
	}
	return out
}
