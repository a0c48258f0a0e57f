package kernels_test

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// Each gradient names arguments that there are and is computed from as many values as its
// Spec wants: also those of a Spec that embeds another one, which must not inherit any.
func TestGradsFitTheirSpecs(t *testing.T) {
	differentiable := map[string]bool{}
	for _, c := range kerneltest.Cases() {
		args := c.Spec.Args()
		sizes := map[string]int{"d" + args[0].Name: args[0].Len(), kernels.ZeroArg: -1}
		for _, a := range args {
			sizes[a.Name] = a.Len()
		}
		for _, g := range c.Spec.Grads() {
			differentiable[kernels.Name(c.Spec)] = true
			if !slices.ContainsFunc(args[1:], func(a kernels.Arg) bool { return a.Name == g.Of }) {
				t.Errorf("%v: a gradient with respect to %q, which is no input", c, g.Of)
				continue
			}
			if g.Spec == nil {
				if sizes[g.Of] != args[0].Len() {
					t.Errorf("%v: the gradient of %s has %d values, %s has %d", c, args[0].Name, args[0].Len(), g.Of, sizes[g.Of])
				}
				continue
			}
			if err := g.Spec.Validate(); err != nil {
				t.Errorf("%v: the gradient with respect to %s: %v", c, g.Of, err)
			}
			want := g.Spec.Args()
			if len(g.Args) != len(want)-1 || want[0].Len() != sizes[g.Of] {
				t.Errorf("%v: %s reads %v and gives %d values, want %d arguments and %d values", c, kernels.Name(g.Spec), g.Args, want[0].Len(), len(want)-1, sizes[g.Of])
				continue
			}
			for i, name := range g.Args {
				if n, ok := sizes[name]; !ok || n >= 0 && n != want[i+1].Len() {
					t.Errorf("%v: %s reads %s of %d values as %s of %d", c, kernels.Name(g.Spec), name, n, want[i+1].Name, want[i+1].Len())
				}
			}
		}
	}
	if len(differentiable) < 50 {
		t.Errorf("only %d cases have gradients", len(differentiable))
	}
}
