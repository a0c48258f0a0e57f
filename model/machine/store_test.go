package machine

import (
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/op"
)

// halves is a backend without memory that stores activations in bfloat16.
type halves struct {
	kernels.NullBackend
	specs []kernels.Spec
}

func (h *halves) Prepare(s kernels.Spec) (kernels.Kernel, error) {
	h.specs = append(h.specs, s)
	return nil, nil
}

func (h *halves) StoresBF16() bool { return true }

// A value that every kernel around it can store in bfloat16 is stored so and takes half
// the memory; the summands of an output are stored as the output is.
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
	conv := func(k kernels.Activation) kernels.Conv {
		return kernels.Conv{N: 1, T: 1, H: 1, W: n, C: 1, O: 1, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1, Act: k}
	}
	w, bias := Input(g, "w", 1), Input(g, "b", 1)
	apply1 := func(k kernels.Activation, x *G.Node) *G.Node { return apply(conv(k), x, w, bias) }
	a := apply1(kernels.ELU, x)                            // x is an input
	b := apply(kernels.Act{Kind: kernels.Tanh, Len: n}, a) // both in bf16
	sum := apply(kernels.Add{Len: n}, a, b)                // all in bf16
	c := apply1(kernels.GELU, sum)                         // as the output
	out := apply(kernels.Add{Len: n}, c, c)                // an output
	f := apply1(kernels.SiLU, sum)                         // read by a kernel of float32
	squares := apply(kernels.SumSquares{Len: n}, f)        // an output too
	h := &halves{}
	p, err := Compile(h, G.Nodes{out, squares}, nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	stored := func(s kernels.Spec) (half uint32) {
		for i, a := range s.Args() {
			if a.BF16 {
				half |= 1 << i
			}
		}
		return half
	}
	got := map[string]uint32{}
	for _, s := range h.specs {
		plain, _ := kernels.Plain(s)
		got[kernels.Name(plain)] = stored(s)
	}
	for _, want := range []struct {
		spec kernels.Spec
		half uint32
	}{
		{conv(kernels.ELU), 0b01}, {kernels.Act{Kind: kernels.Tanh, Len: n}, 0b11}, {conv(kernels.GELU), 0b10},
		{conv(kernels.SiLU), 0b10}, {kernels.SumSquares{Len: n}, 0},
	} {
		if half, ok := got[kernels.Name(want.spec)]; !ok || half != want.half {
			t.Errorf("%s: in bf16 %b, want %b", kernels.Name(want.spec), half, want.half)
		}
	}
	adds := map[uint32]int{}
	for _, s := range p.steps {
		if plain, _ := kernels.Plain(s.spec); plain == (kernels.Add{Len: n}) {
			adds[stored(s.spec)]++
		}
	}
	if len(adds) != 2 || adds[0b111] != 1 || adds[0] != 1 {
		t.Errorf("sums by what is in bf16 of them: %v, want one with all, one with nothing", adds)
	}
	if p.Buffer(a).Len() != n/2 || p.Buffer(out).Len() != n {
		t.Errorf("buffers of %d and %d words, want %d and %d", p.Buffer(a).Len(), p.Buffer(out).Len(), n/2, n)
	}
}

// The gradient of a bias joins that of the weights which reads the same values in bfloat16, in
// the later one's place, unless something in between reads what would be late.
func TestSumBiases(t *testing.T) {
	const pixels, c, o = 6, 3, 2
	conv := kernels.Conv{N: 1, T: 1, H: 1, W: pixels, C: c, O: o, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	dw, db, dy, x, sum := value(o*c), value(o), value(pixels*o), value(pixels*c), value(o)
	both := map[*G.Node]bool{dy: true, x: true}
	weights := instr{kernels.StoreBF16(kernels.ConvGradW{Conv: conv}, "dy", "x"), []*G.Node{dw, dy, x}}
	bias := instr{kernels.StoreBF16(kernels.SumRows{Rows: pixels, C: o}, "x"), []*G.Node{db, dy}}
	reads := instr{kernels.Add{Len: o}, []*G.Node{sum, db, db}}
	joint := kernels.ConvGradWB{Conv: conv}
	for _, c := range []struct {
		name string
		prog []instr
		half map[*G.Node]bool
		want []kernels.Spec
	}{
		{"weights first", []instr{weights, bias, reads}, both, []kernels.Spec{kernels.StoreBF16(joint, "dy", "x"), reads.spec}},
		{"bias first", []instr{bias, weights, reads}, both, []kernels.Spec{kernels.StoreBF16(joint, "dy", "x"), reads.spec}},
		{"an input", []instr{bias, weights}, map[*G.Node]bool{dy: true}, []kernels.Spec{kernels.StoreBF16(joint, "dy")}},
		{"the bias is read before", []instr{bias, reads, weights}, both, []kernels.Spec{bias.spec, reads.spec, weights.spec}},
		{"float32", []instr{bias, weights}, nil, []kernels.Spec{bias.spec, weights.spec}},
		{"rows of another length", []instr{{kernels.SumRows{Rows: pixels * o, C: 1}, bias.args}, weights}, both, []kernels.Spec{kernels.SumRows{Rows: pixels * o, C: 1}, weights.spec}},
	} {
		got := sumBiases(slices.Clone(c.prog), c.half)
		if !slices.EqualFunc(got, c.want, func(in instr, s kernels.Spec) bool { return in.spec == s }) {
			t.Errorf("%s: %v", c.name, got)
			continue
		}
		for _, in := range got {
			if results(in.spec) == 2 && !slices.Equal(in.args, []*G.Node{dw, db, dy, x}) {
				t.Errorf("%s: arguments %v", c.name, in.args)
			}
		}
	}
}
