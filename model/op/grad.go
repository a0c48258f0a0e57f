package op

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// DiffWRT says which inputs have a gradient.
func (o *Op) DiffWRT(n int) []bool {
	d := make([]bool, n)
	for i := range d {
		_, d[i] = o.grad(i)
	}
	return d
}

// grad is the gradient with respect to input i.
func (o *Op) grad(i int) (kernels.Grad, bool) {
	grads, name := o.spec.Grads(), o.spec.Args()[i+1].Name
	at := slices.IndexFunc(grads, func(g kernels.Grad) bool { return g.Of == name })
	if at < 0 {
		return kernels.Grad{}, false
	}
	return grads[at], true
}

// SymDiff returns the gradient of each input, nil for one that has none, given the result
// y and its gradient dy.
func (o *Op) SymDiff(in G.Nodes, y, dy *G.Node) (G.Nodes, error) {
	if o.spec.Grads() == nil {
		return nil, fmt.Errorf("op: %s has no gradient; of fused forms, which belong to package machine, there is none", kernels.Name(o.spec))
	}
	args := o.spec.Args()
	values := map[string]*G.Node{args[0].Name: y, "d" + args[0].Name: dy}
	for i, n := range in {
		values[args[i+1].Name] = n
	}
	d := make(G.Nodes, len(in))
	for i := range in {
		g, ok := o.grad(i)
		if !ok {
			continue
		}
		if g.Spec == nil {
			d[i] = dy
			continue
		}
		var read G.Nodes
		for j, name := range g.Args {
			n := values[name]
			if name == kernels.ZeroArg {
				var err error
				if n, err = zeros(g.Spec.Args()[j+1].Len(), in); err != nil {
					return nil, err
				}
			}
			read = append(read, n)
		}
		var err error
		if d[i], err = Apply(g.Spec, in[i].Shape(), read...); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// zeros are n zeros, made of the first node with a multiple of n values.
func zeros(n int, in G.Nodes) (*G.Node, error) {
	i := slices.IndexFunc(in, func(x *G.Node) bool { return size(x.Shape())%n == 0 })
	if i < 0 {
		return nil, fmt.Errorf("op: no input has a multiple of %d values to make zeros of", n)
	}
	sums, err := Apply(kernels.SumRows{Rows: size(in[i].Shape()) / n, C: n}, []int{n}, in[i])
	if err != nil {
		return nil, err
	}
	return Apply(kernels.Affine{Len: n}, []int{n}, sums)
}
