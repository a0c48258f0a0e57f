package machine

import (
	"fmt"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// evaluate runs a program by definitions. values has those of inputs.
func evaluate(t *testing.T, prog []instr, values map[*G.Node][]float32) {
	t.Helper()
	for _, in := range prog {
		var args [][]float32
		for i, a := range in.spec.Args() {
			n := in.args[i]
			if a.Out {
				values[n] = make([]float32, size(n))
			}
			if values[n] == nil || len(values[n]) != a.Len() {
				t.Fatalf("%s: %s has %d values, want %d", kernels.Name(in.spec), a.Name, len(values[n]), a.Len())
			}
			args = append(args, values[n])
		}
		in.spec.Define(args...)
	}
}

// lowered is the program of y and of the loss's gradients with respect to wrt.
func lowered(t *testing.T, y, loss *G.Node, wrt G.Nodes) (p *Plan, prog []instr, outputs G.Nodes) {
	t.Helper()
	grads, err := G.Grad(loss, wrt...)
	if err != nil {
		t.Fatal(err)
	}
	outputs = append(G.Nodes{y}, grads...)
	nodes, err := Reachable(outputs)
	if err != nil {
		t.Fatal(err)
	}
	p = &Plan{be: cpu(t, 1), buffers: map[*G.Node]kernels.Buffer{}, zeros: map[int]*G.Node{}}
	if prog, err = p.lower(nodes); err != nil {
		t.Fatal(err)
	}
	return p, prog, outputs
}

func setOf(nodes G.Nodes) map[*G.Node]bool {
	set := map[*G.Node]bool{}
	for _, n := range nodes {
		set[n] = true
	}
	return set
}

// inputs are random values of a program's inputs, and its constants.
func inputs(p *Plan, prog []instr) map[*G.Node][]float32 {
	values := map[*G.Node][]float32{}
	for n, b := range p.buffers {
		values[n] = draw(n.Name(), b.Len())
	}
	for _, in := range prog {
		for _, n := range in.args {
			if n.Value() != nil {
				values[n] = []float32{n.Value().Data().(float32)}
			}
		}
	}
	return values
}

// feedForward is the program of feed-forward networks of 9, 16 and 10 hidden channels, one after
// another, and its gradients.
func feedForward(t *testing.T) (p *Plan, prog []instr, outputs G.Nodes) {
	t.Helper()
	const rows, c = 5, 4
	g := G.NewGraph()
	shape := func(channels int) []int { return []int{1, 1, 1, rows, channels} }
	conv := func(from, to int) kernels.Conv {
		return kernels.Conv{N: 1, T: 1, H: 1, W: rows, C: from, O: to, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	}
	x := Input(g, "x", shape(c)...)
	y, wrt := x, G.Nodes{x}
	for _, inner := range []int{9, 16, 10} {
		w1, b1 := Input(g, fmt.Sprint("w1 ", inner), 2*inner, 1, 1, 1, c), Input(g, fmt.Sprint("b1 ", inner), 2*inner)
		w2, b2 := Input(g, fmt.Sprint("w2 ", inner), c, 1, 1, 1, inner), Input(g, fmt.Sprint("b2 ", inner), c)
		h := apply(t, conv(c, 2*inner), shape(2*inner), y, w1, b1)
		h = apply(t, kernels.GEGLU{Rows: rows, C: inner}, shape(inner), h)
		y = apply(t, kernels.Add{Len: rows * c}, shape(c), y, apply(t, conv(inner, c), shape(c), h, w2, b2))
		wrt = append(wrt, w1, b1, w2, b2)
	}
	loss := apply(t, kernels.SumSquares{Len: rows * c}, []int{}, y)
	return lowered(t, y, loss, wrt)
}

// Feed-forward networks with whole chunks of hidden channels compute the same bits: outputs,
// and gradients of the parameters in their own sizes.
func TestPadHidden(t *testing.T) {
	p, prog, outputs := feedForward(t)
	keep := setOf(outputs)
	prog = fuse(p.be, prog, keep)
	padded := roundWeights(padHidden(geglus(slices.Clone(prog)), keep, p.buffers), p.buffers)
	pads, channels := 0, map[string]int{}
	for _, in := range padded {
		switch s := in.spec.(type) {
		case kernels.ConvGEGLU:
			channels["ConvGEGLU"] += s.O / 2
		case kernels.ConvGradGEGLU:
			channels["ConvGradGEGLU"] += s.C
		case kernels.PadRows:
			pads++
		}
	}
	// Of two networks two weights and a bias, and three gradients. These weights are rounded where
	// they are padded; of the third network the second convolution has whole chunks.
	if channels["ConvGEGLU"] != 3*16 || channels["ConvGradGEGLU"] != 3*16 || pads != 2*6+1 {
		t.Errorf("%v, %d of PadRows; want 48 channels and 13", channels, pads)
	}
	want, got := inputs(p, prog), inputs(p, prog)
	evaluate(t, prog, want)
	evaluate(t, padded, got)
	for i, n := range outputs {
		if !slices.Equal(got[n], want[n]) || slices.Max(want[n]) == 0 {
			t.Errorf("output %d differs, or is zero", i)
		}
	}
	outside := map[*G.Node]bool{prog[0].args[0]: true}
	for _, in := range prog {
		if _, ok := in.spec.(kernels.GEGLU); ok {
			outside[in.args[0]] = true
		}
	}
	if same := padHidden(slices.Clone(prog), outside, p.buffers); len(same) >= len(padded) {
		t.Errorf("a network whose hidden values are outputs has %d instructions, want as many as without padding of the forward pass", len(same))
	}
}

// Weights that several convolutions read are rounded once, in front of the first.
func TestRoundWeights(t *testing.T) {
	conv := kernels.Conv{N: 1, T: 1, H: 1, W: 2, C: 8, O: 8, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	odd := conv
	odd.C = 9
	w, b, once, x, y := value(64), value(8), value(64), value(16), value(16)
	bound := map[*G.Node]kernels.Buffer{w: kernels.Host{}, once: kernels.Host{}}
	prog := []instr{
		{conv, []*G.Node{y, x, w, b}}, {kernels.ConvGradX{Conv: conv}, []*G.Node{value(16), y, w}}, // two reads
		{conv, []*G.Node{value(16), x, once, b}},     // one
		{odd, []*G.Node{value(16), value(18), w, b}}, // no whole chunks
	}
	got := roundWeights(prog, bound)
	if len(got) != 5 || got[0].spec != (kernels.PadRows{Rows: 1, From: 64, To: 64}) || got[0].args[1] != w {
		t.Fatalf("%v, want the rounding of w in front", got)
	}
	rounded := got[0].args[0]
	for i, want := range []*G.Node{rounded, rounded, once, w} {
		if got[i+1].args[2] != want {
			t.Errorf("convolution %d reads other weights", i)
		}
	}
	if prog[0].args[2] != w {
		t.Error("the program that was given has changed")
	}
}
