package machine

import (
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// store decides which values are stored as bfloat16, and marks them in the instructions:
// all that every kernel that makes or reads them can store so on this backend. Inputs, parameters, outputs and constants stay float32.
func (p *Plan) store(prog []instr, keep map[*G.Node]bool) (half map[*G.Node]bool) {
	if !kernels.StoresBF16(p.be) {
		return nil
	}
	next := map[*G.Node]*G.Node{} // union-find of values that are stored alike, towards their root
	var root func(n *G.Node) *G.Node
	root = func(n *G.Node) *G.Node {
		if next[n] == nil {
			return n
		}
		next[n] = root(next[n])
		return next[n]
	}
	full := map[*G.Node]bool{} // what cannot be half
	for _, in := range prog {
		args := in.spec.Args()
		var tied *G.Node
		for i, n := range in.args {
			if args[i].Store == kernels.StoreFloat32 || p.buffers[n] != nil || keep[n] {
				full[n] = true
			}
			if args[i].Store != kernels.StoreUniform {
				continue
			}
			if r := root(n); tied == nil {
				tied = r
			} else if r != root(tied) {
				next[r] = root(tied)
			}
		}
	}
	for n := range full {
		if n != root(n) {
			full[root(n)] = true // a map may grow while it is read; what comes late is a root already
		}
	}
	half = map[*G.Node]bool{}
	for i, in := range prog {
		args := in.spec.Args()
		var names []string
		for j, n := range in.args {
			if !full[root(n)] {
				half[n] = true
				names = append(names, args[j].Name)
			}
		}
		prog[i].spec = kernels.StoreBF16(in.spec, names...)
	}
	return half
}

// geglus lets convolutions give the GEGLU of their results, too, which is read once less. It comes after
// recompute, which makes values again that their kernels make alone.
func geglus(prog []instr) []instr {
	maker := usageOf(prog, nil).maker
	gone := make([]bool, len(prog))
	for i, in := range prog {
		s, ok := in.spec.(kernels.GEGLU)
		if !ok {
			continue
		}
		j, ok := maker[in.args[1]]
		if !ok {
			continue
		}
		if c, ok := prog[j].spec.(kernels.Conv); ok && c.Act == kernels.None && !c.Residual && c.O == 2*s.C {
			prog[j] = instr{kernels.ConvGEGLU{Conv: c}, slices.Insert(slices.Clone(prog[j].args), 0, in.args[0])}
			gone[i] = true
		}
	}
	return without(prog, gone)
}

// sumBiases lets the gradient of a convolution's weights give that of its bias too, the sum of the
// same gradient's rows, where that is stored in bfloat16: both read the same values then, and
// once. The joint instruction takes the place of the later one.
func sumBiases(prog []instr, half map[*G.Node]bool) []instr {
	weights := map[*G.Node]int{} // the instruction, by the gradient that it reads
	for i, in := range prog {
		if s, _ := kernels.Plain(in.spec); half[dyOf(s, in)] {
			weights[dyOf(s, in)] = i
		}
	}
	gone := make([]bool, len(prog))
	for i, in := range prog {
		plain, _ := kernels.Plain(in.spec)
		sum, ok := plain.(kernels.SumRows)
		if !ok {
			continue
		}
		dy := in.args[1]
		j, ok := weights[dy]
		if !ok || readBetween(prog, min(i, j), max(i, j)) {
			continue
		}
		plain, _ = kernels.Plain(prog[j].spec)
		s := kernels.ConvGradWB(plain.(kernels.ConvGradW))
		if s.O != sum.C {
			continue
		}
		names := []string{"dy"}
		if half[prog[j].args[2]] {
			names = append(names, "x")
		}
		prog[max(i, j)] = instr{kernels.StoreBF16(s, names...), slices.Insert(slices.Clone(prog[j].args), 1, in.args[0])}
		gone[min(i, j)] = true
		delete(weights, dy)
	}
	return without(prog, gone)
}

// dyOf is what a gradient of the weights of a convolution reads, nil for other instructions.
func dyOf(s kernels.Spec, in instr) *G.Node {
	if _, ok := s.(kernels.ConvGradW); ok {
		return in.args[1]
	}
	return nil
}
