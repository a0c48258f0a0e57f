package machine

import (
	"math"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// The shortcut of a block whose result is narrower runs before the norm, which is then written over
// the block's input; where the shortcut is as wide or the input is needed later, it stays in its place.
func TestNarrowShortcutRunsEarly(t *testing.T) {
	const rows = 16
	for _, c := range []struct {
		name     string
		width    int
		keep     bool // the input is an output of the plan
		pictures int  // of the least width, in memory
	}{
		{"narrower", 16, false, 4}, // input 2, shortcut 1; norm over the input, shortcut, convolution
		{"as wide", 32, false, 6},  // input, norm, convolution, 2 each
		{"kept", 16, true, 5},      // input 2, norm 2, convolution 1
	} {
		g, be := G.NewGraph(), cpu(t, 1)
		in, gamma, beta := Input(g, "in", rows, 32), Input(g, "gamma", 32), Input(g, "beta", 32)
		given := []*G.Node{in, gamma, beta}
		conv := func(name string, x *G.Node, channels int) *G.Node {
			w, b := Input(g, "w"+name, c.width, channels), Input(g, "b"+name, c.width)
			given = append(given, w, b)
			s := kernels.Conv{N: 1, T: 1, H: 1, W: rows, C: channels, O: c.width, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
			return apply(t, s, []int{rows, c.width}, x, w, b)
		}
		x := apply(t, kernels.Affine{Len: rows * 32, Mul: 3}, in.Shape(), in)
		y := apply(t, kernels.LayerNorm{Rows: rows, C: 32, Eps: 1e-6}, in.Shape(), x, gamma, beta)
		y = conv("2", conv("1", y, 32), c.width)
		sum := apply(t, kernels.Add{Len: rows * c.width}, []int{rows, c.width}, conv("0", x, 32), y)
		outputs := G.Nodes{apply(t, kernels.SumRows{Rows: rows, C: c.width}, []int{c.width}, sum)}
		if c.keep {
			outputs = append(outputs, x)
		}
		p, err := Compile(be, outputs, nil, RecomputeNone)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := p.Stats().ArenaBytes, int64(4*rows*16*c.pictures); got != want {
			t.Errorf("%s: an arena of %d bytes, want %d", c.name, got, want)
		}
		values := map[*G.Node][]float32{}
		for _, n := range given {
			values[n] = draw(n.Name(), size(n))
			if err := be.Write(p.Buffer(n), values[n]); err != nil {
				t.Fatal(err)
			}
		}
		nodes, err := Reachable(outputs)
		if err != nil {
			t.Fatal(err)
		}
		define(t, nodes, values)
		if err := p.Run(); err != nil {
			t.Fatal(err)
		}
		for i, v := range read(t, be, p.Buffer(outputs[0])) {
			if d := math.Abs(float64(v - values[outputs[0]][i])); !(d <= 1e-4) { // sums of 16 values up to 10, a few roundings
				t.Errorf("%s: result %d is %v, want %v", c.name, i, v, values[outputs[0]][i])
			}
		}
	}
}
