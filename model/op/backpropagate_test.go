package op_test

import (
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/op"
)

// A graph may be differentiated again and again, and gradients have gradients: of
// sum (2·max(x, x/10))² at once and twice.
func TestBackpropagateTwice(t *testing.T) {
	g := G.NewGraph()
	x, one := input(g, "x", 3), input(g, "one")
	apply := func(s kernels.Spec, shape []int, in ...*G.Node) *G.Node {
		n, err := op.Apply(s, shape, in...)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	back := func(y, seed *G.Node) *G.Node {
		ds, err := op.Backpropagate(G.Nodes{y}, G.Nodes{seed}, G.Nodes{x})
		if err != nil {
			t.Fatal(err)
		}
		return ds[0]
	}
	y := apply(kernels.SumSquares{Len: 3}, []int{}, apply(kernels.Affine{Len: 3, Mul: 2}, []int{3}, apply(kernels.Act{Kind: kernels.LeakyReLU, Len: 3}, []int{3}, x)))
	first := back(y, one)
	if again := back(y, one); again != first {
		t.Error("the same gradient asked for again is another node")
	}
	if d := back(apply(kernels.SumSquares{Len: 3}, []int{}, x), one); d == first {
		t.Error("another function has the same gradient")
	}
	// SumSquaresGrad has no gradient of its own.
	_, err := op.Backpropagate(G.Nodes{first}, G.Nodes{x}, G.Nodes{x})
	if err == nil || !strings.Contains(err.Error(), "SumSquaresGrad{Len:3} has no gradient") {
		t.Errorf("a path through what has no gradient: %v", err)
	}
	if ds, err := op.Backpropagate(G.Nodes{y}, G.Nodes{one}, G.Nodes{input(g, "z", 2)}); err != nil || ds[0] != nil {
		t.Errorf("the gradient of what nothing depends on: %v, %v", ds, err)
	}
}
