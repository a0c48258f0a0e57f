package machine

import (
	"fmt"
	"math"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// upsampled is the program of two upsamplings in space, then one in time, and its gradients. A residual unit follows each but
// the second.
func upsampled(t *testing.T) (p *Plan, prog []instr, outputs G.Nodes) {
	t.Helper()
	g := G.NewGraph()
	conv := func(s []int, o, k int) kernels.Conv {
		return kernels.Conv{N: s[0], T: s[1], H: s[2], W: s[3], C: s[4], O: o, KT: k, KH: k, KW: k, ST: 1, SH: 1, SW: 1, DT: 1, PT: k - 1, PH: k / 2, PW: k / 2}
	}
	shape := []int{2, 2, 3, 2, 8}
	y := Input(g, "y", shape...)
	wrt := G.Nodes{y}
	weights := func(s kernels.Conv) (w, b *G.Node) {
		name := fmt.Sprint(len(wrt))
		w, b = Input(g, "w"+name, s.O, s.KT, s.KH, s.KW, s.C), Input(g, "b"+name, s.O)
		wrt = append(wrt, w, b)
		return w, b
	}
	for i, f := range [][3]int{{1, 2, 2}, {1, 1, 2}, {2, 1, 1}} {
		c, factor := 3+i, f[0]*f[1]*f[2]
		s := conv(shape, c*factor, 1)
		deep := append(slices.Clone(shape[:4]), c*factor)
		w, b := weights(s)
		x := apply(t, s, deep, y, w, b)
		x = apply(t, kernels.Act{Kind: kernels.SiLU, Len: x.Shape().TotalSize()}, deep, x)
		up := kernels.Shuffle{N: shape[0], T: shape[1], H: shape[2], W: shape[3], C: c, FT: f[0], FH: f[1], FW: f[2]}
		shape = []int{shape[0], shape[1] * f[0], shape[2] * f[1], shape[3] * f[2], c}
		if y = apply(t, up, shape, x); i == 1 {
			continue
		}
		s = conv(shape, c, 3)
		w, b = weights(s)
		y = apply(t, kernels.Add{Len: y.Shape().TotalSize()}, shape, y, apply(t, s, shape, y, w, b))
	}
	loss := apply(t, kernels.SumSquares{Len: y.Shape().TotalSize()}, []int{}, y)
	return lowered(t, y, loss, wrt)
}

// Gradients of upsamplings are computed where those of the convolutions behind them end, and parameters and
// their gradients keep their order: up to the rounding of sums in another order, nothing changes.
func TestShuffleGrads(t *testing.T) {
	p, prog, outputs := upsampled(t)
	keep := setOf(outputs)
	prog = fuse(p.be, prog, keep)
	joined := shuffleGrads(prog, keep)
	// The second upsampling is followed by a 1x1x1 convolution, whose gradient joins it as well.
	if got := count[kernels.ConvGradShuffle](joined); got != 3 || count[kernels.ShuffleGrad](joined) != 0 {
		t.Fatalf("%d of ConvGradShuffle, want 3 and no ShuffleGrad", got)
	}
	// A weight, a bias and both of their gradients each.
	if got := count[kernels.Shuffle](joined); got != 3+3*4 {
		t.Errorf("%d of Shuffle, want those of the forward pass, and four for each of them", got)
	}
	want, got := inputs(p, prog), inputs(p, prog)
	evaluate(t, prog, want)
	evaluate(t, joined, got)
	for i, n := range outputs {
		var size, diff float64
		for j := range want[n] {
			size += math.Pow(float64(want[n][j]), 2)
			diff += math.Pow(float64(got[n][j]-want[n][j]), 2)
		}
		if size == 0 || diff > 1e-13*size {
			t.Errorf("output %d differs by %g of %g, or is zero", i, diff, size)
		}
	}
}

// What something else reads keeps its order.
func TestShuffleGradsOfValuesInUse(t *testing.T) {
	p, prog, outputs := upsampled(t)
	keep := setOf(outputs)
	prog = fuse(p.be, prog, keep)
	for _, in := range prog {
		s, ok := in.spec.(kernels.ShuffleGrad)
		if !ok {
			continue
		}
		for _, position := range []int{0, 1, 2} {
			other := instr{kernels.SumSquares{Len: size(in.args[position])}, []*G.Node{value(1), in.args[position]}}
			if got := count[kernels.ConvGradShuffle](shuffleGrads(append(slices.Clone(prog), other), keep)); got != 2 {
				t.Errorf("argument %d of %s is read elsewhere, and %d gradients are joined, want 2", position, kernels.Name(s), got)
			}
			kept := map[*G.Node]bool{in.args[position]: true}
			if got := count[kernels.ConvGradShuffle](shuffleGrads(prog, kept)); got != 2 {
				t.Errorf("argument %d of %s is an output, and %d gradients are joined, want 2", position, kernels.Name(s), got)
			}
		}
	}
}

func count[S kernels.Spec](prog []instr) (n int) {
	for _, in := range prog {
		if _, ok := in.spec.(S); ok {
			n++
		}
	}
	return n
}
