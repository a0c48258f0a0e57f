package machine

import (
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/op"
)

// halves is a backend without memory that can keep what Act makes of anything, and all
// of Add or nothing.
type halves struct {
	kernels.NullBackend
	specs []kernels.Spec
}

func (h *halves) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	h.specs = append(h.specs, s)
	return nil, nil
}

func (h *halves) Storage(s kernels.Spec) kernels.Storage {
	switch s.(type) {
	case kernels.Act:
		return kernels.Storage{Free: 0b11}
	case kernels.Add:
		return kernels.Storage{Tied: 0b111}
	}
	return kernels.Storage{}
}

// What every kernel around a value can keep in bfloat16 lies so and takes half the
// place; a sum with an output is as the output is.
func TestStorage(t *testing.T) {
	const n = 32
	g := G.NewGraph()
	x := Input(g, "x", n)
	apply := func(s kernels.Spec, in ...*G.Node) *G.Node {
		y, err := op.Apply(s, nil, in...)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	act := func(k kernels.Activation, x *G.Node) *G.Node { return apply(kernels.Act{Kind: k, Len: n}, x) }
	a := act(kernels.ELU, x)                        // x is an input
	b := act(kernels.Tanh, a)                       // both half
	sum := apply(kernels.Add{Len: n}, a, b)         // all half
	c := act(kernels.GELU, sum)                     // tied to the output
	out := apply(kernels.Add{Len: n}, c, c)         // an output
	f := act(kernels.SiLU, sum)                     // read by what cannot
	squares := apply(kernels.SumSquares{Len: n}, f) // an output too
	h := &halves{}
	p, err := Compile(h, G.Nodes{out, squares}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint32{}
	for _, s := range h.specs {
		plain, half := kernels.Plain(s)
		got[kernels.Name(plain)] = half
	}
	for _, want := range []struct {
		spec kernels.Spec
		half uint32
	}{
		{kernels.Act{Kind: kernels.ELU, Len: n}, 0b01}, {kernels.Act{Kind: kernels.Tanh, Len: n}, 0b11}, {kernels.Act{Kind: kernels.GELU, Len: n}, 0b10},
		{kernels.Act{Kind: kernels.SiLU, Len: n}, 0b10}, {kernels.SumSquares{Len: n}, 0},
	} {
		if half, ok := got[kernels.Name(want.spec)]; !ok || half != want.half {
			t.Errorf("%s: half %b, want %b", kernels.Name(want.spec), half, want.half)
		}
	}
	adds := map[uint32]int{}
	for _, s := range p.steps {
		if plain, half := kernels.Plain(s.spec); plain == (kernels.Add{Len: n}) {
			adds[half]++
		}
	}
	if len(adds) != 2 || adds[0b111] != 1 || adds[0] != 1 {
		t.Errorf("sums by what is half of them: %v, want one whole, one not", adds)
	}
	if p.Buffer(a).Len() != n/2 || p.Buffer(out).Len() != n {
		t.Errorf("places of %d and %d words, want %d and %d", p.Buffer(a).Len(), p.Buffer(out).Len(), n/2, n)
	}
}
