package op_test

import (
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"magvit/kernels"
	"magvit/model/op"
)

func input(g *G.ExprGraph, name string, shape ...int) *G.Node {
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name))
}

// gorgonia merges nodes whose operation and inputs are equal: every attribute must count.
func TestEqualKernelsAreOneNode(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 2, 3)
	apply := func(s kernels.Spec) *G.Node {
		n, err := op.Apply(s, []int{2, 3}, x)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a, b := apply(kernels.Affine{Len: 6, Mul: 2}), apply(kernels.Affine{Len: 6, Mul: 2})
	if a != b {
		t.Error("two equal operations on one input are two nodes")
	}
	if c := apply(kernels.Affine{Len: 6, Mul: 2, Add: 1}); c == a {
		t.Error("operations that differ in an attribute are one node")
	}
}

func TestApplyErrors(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 2, 3)
	for want, apply := range map[string]func() (*G.Node, error){
		"1 inputs, want 2":     func() (*G.Node, error) { return op.Apply(kernels.Add{Len: 6}, []int{2, 3}, x) },
		"has 5 values, want 6": func() (*G.Node, error) { return op.Apply(kernels.Add{Len: 6}, []int{5}, x, x) },
		"want 7 values":        func() (*G.Node, error) { return op.Apply(kernels.Add{Len: 7}, []int{7}, x, x) },
		"Add{Len:0}":           func() (*G.Node, error) { return op.Apply(kernels.Add{}, nil, x, x) },
	} {
		if _, err := apply(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestOpsDoNotRunThemselves(t *testing.T) {
	g := G.NewGraph()
	n, err := op.Apply(kernels.Act{Kind: kernels.ELU, Len: 6}, []int{2, 3}, input(g, "x", 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Op().Do(); err == nil || !strings.Contains(err.Error(), "package machine") {
		t.Errorf("Do returned %v", err)
	}
}

// Indices and gradients of gradients are not differentiable, and say so.
func TestWhatHasNoGradient(t *testing.T) {
	g := G.NewGraph()
	x := input(g, "x", 4, 4)
	idx, err := op.Apply(kernels.LFQIndex{LFQ: kernels.LFQ{Tokens: 4, Books: 1, Bits: 4}}, []int{4, 1}, x)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := op.Apply(kernels.SumSquares{Len: 4}, []int{}, idx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := G.Grad(sum, x); err == nil {
		t.Error("code indices have a gradient")
	}
}
