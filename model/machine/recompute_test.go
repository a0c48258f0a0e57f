package machine

import (
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// value is a node of n values.
func value(n int) *G.Node { return Input(G.NewGraph(), "value", n) }

// A chain of activations is needed again in reverse order: where kernels are cheap, the
// values in between are made again, and the peak falls. Every argument is made before it
// is read, and results keep their makers' arguments.
func TestRecomputeLowersThePeak(t *testing.T) {
	const n, length = 1000, 8
	x := value(n)
	bound := map[*G.Node]kernels.Buffer{x: kernels.Host(make([]float32, n))}
	values := []*G.Node{x}
	var prog []instr
	for range length {
		y := value(n)
		prog = append(prog, instr{kernels.Act{Kind: kernels.ELU, Len: n}, []*G.Node{y, values[len(values)-1]}})
		values = append(values, y)
	}
	big := value(4 * n) // held over the middle, as a loss of many values is
	prog = append(prog, instr{kernels.Act{Kind: kernels.ELU, Len: 4 * n}, []*G.Node{big, value(4 * n)}})
	dy := big
	bound[prog[len(prog)-1].args[1]] = kernels.Host(make([]float32, 4*n))
	for i := length; i > 0; i-- {
		dx := value(n)
		prog = append(prog, instr{kernels.ActGrad{Kind: kernels.ELU, Len: n}, []*G.Node{dx, dy, values[i]}})
		dy = dx
	}
	keep := map[*G.Node]bool{dy: true}
	before := newLiveness(prog, keep, bound).peak
	original := slices.Clone(prog)
	got := recompute(prog, keep, bound, RecomputeMax)
	after := newLiveness(got, keep, bound).peak
	if after >= before {
		t.Errorf("the peak is %d values, before %d", after, before)
	}
	made := map[*G.Node]bool{}
	for i, in := range got {
		for _, a := range in.args[1:] {
			if !made[a] && bound[a] == nil {
				t.Errorf("instruction %d of %d reads a value that is not made yet", i, len(got))
			}
		}
		if made[in.args[0]] {
			t.Errorf("instruction %d makes a value that is already there", i)
		}
		made[in.args[0]] = true
	}
	if same := recompute(original, keep, bound, RecomputeNone); len(same) != len(original) {
		t.Errorf("none: %d instructions, want %d", len(same), len(original))
	}
}
