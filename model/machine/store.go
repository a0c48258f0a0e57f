package machine

import (
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
