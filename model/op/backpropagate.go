package op

import (
	"fmt"
	"sort"
	"strings"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Backpropagate returns the gradients of sum seeds·outputs with respect to the nodes wrt,
// nil for one that no output depends on. seeds have the shapes of outputs. Gradients are
// nodes of the graph, so they have gradients again.
//
// Why not gorgonia's: it keeps one gradient for each node, so that a graph can be
// differentiated once, and leaves out paths through operations without gradients, which
// here are an error.
func Backpropagate(outputs, seeds, wrt G.Nodes) (G.Nodes, error) {
	above := dependents(wrt, outputs)
	grads := map[*G.Node]*G.Node{}
	add := func(n, d *G.Node) error {
		if d == nil || !above[n] {
			return nil
		}
		if grads[n] == nil {
			grads[n] = d
			return nil
		}
		sum, err := Apply(kernels.Add{Len: size(n.Shape())}, n.Shape(), grads[n], d)
		grads[n] = sum
		return err
	}
	for i, n := range outputs {
		if err := add(n, seeds[i]); err != nil {
			return nil, err
		}
	}
	var order G.Nodes
	for n := range above {
		order = append(order, n)
	}
	sort.Slice(order, func(i, j int) bool { return order[i].ID() > order[j].ID() }) // a node is made after its inputs
	for _, n := range order {
		in := Inputs(n)
		if grads[n] == nil || len(in) == 0 || !anyOf(above, in) {
			continue
		}
		var ds G.Nodes
		switch o := n.Op().(type) {
		case *Op:
			var err error
			if ds, err = o.SymDiff(in, n, grads[n]); err != nil {
				return nil, err
			}
		default:
			if len(in) != 2 || !strings.HasPrefix(o.String(), "+") { // gorgonia's own sum
				return nil, fmt.Errorf("op: %v has no gradient", o)
			}
			ds = G.Nodes{grads[n], grads[n]}
		}
		for i, d := range ds {
			if err := add(in[i], d); err != nil {
				return nil, err
			}
		}
	}
	found := make(G.Nodes, len(wrt))
	for i, n := range wrt {
		found[i] = grads[n]
	}
	return found, nil
}

// dependents are the nodes among outputs and what these are made of that depend on one of wrt.
func dependents(wrt, outputs G.Nodes) map[*G.Node]bool {
	known := map[*G.Node]bool{}
	for _, n := range wrt {
		known[n] = true
	}
	var visit func(n *G.Node) bool
	visit = func(n *G.Node) bool {
		depends, ok := known[n]
		if !ok {
			for _, in := range Inputs(n) {
				depends = visit(in) || depends
			}
			known[n] = depends
		}
		return depends
	}
	for _, n := range outputs {
		visit(n)
	}
	above := map[*G.Node]bool{}
	for n, depends := range known {
		if depends {
			above[n] = true
		}
	}
	return above
}

func anyOf(set map[*G.Node]bool, nodes G.Nodes) bool {
	for _, n := range nodes {
		if set[n] {
			return true
		}
	}
	return false
}

// Inputs are a node's inputs in order.
func Inputs(n *G.Node) (in G.Nodes) {
	for it := n.Graph().From(n.ID()); it != nil && it.Next(); {
		in = append(in, it.Node().(*G.Node))
	}
	return in
}
