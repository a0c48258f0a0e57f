package machine

import (
	"cmp"
	"math"
	"math/rand"
	"slices"
	"testing"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// A large value at the end of a network of smaller ones, of which three are needed at once: with the
// largest first the one in front of it finds no place among them.
func TestArrangeClimbs(t *testing.T) {
	all := []*life{
		{size: 10, from: 0, to: 2}, {size: 10, from: 1, to: 2}, {size: 10, from: 2, to: 4},
		{size: 10, from: 3, to: 4}, {size: 10, from: 4, to: 5}, {size: 11, from: 5, to: 6},
	}
	if got := arrange(all, 7); got != 30 {
		t.Errorf("an arena of %d, want 30", got)
	}
}

// Lives that meet have places apart, in an arena of the size that was said and no larger than with
// the largest first.
func TestArrange(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	equal := 0
	for range 200 {
		var all []*life
		for range 1 + r.Intn(30) {
			from := r.Intn(20)
			all = append(all, &life{size: 1 + r.Intn(20), from: from, to: min(from+r.Intn(6), 19)})
		}
		bySize := slices.Clone(all)
		slices.SortStableFunc(bySize, func(a, b *life) int { return cmp.Compare(b.size, a.size) })
		most := arrangeIn(bySize)
		arena, end := arrange(all, 20), 0
		for i, a := range all {
			for _, b := range all[:i] {
				if a.from <= b.to && b.from <= a.to && a.off < b.off+b.size && b.off < a.off+a.size {
					t.Fatalf("%+v and %+v overlap", *a, *b)
				}
			}
			end = max(end, a.off+a.size)
		}
		if arena != end || arena > most {
			t.Fatalf("an arena of %d for values up to %d, %d with the largest first", arena, end, most)
		}
		if arena == most {
			equal++
		}
	}
	if equal == 0 || equal == 200 {
		t.Errorf("the largest first was as good %d times of 200, want some", equal)
	}
}

// A clip with more frames in front is around the clip, of which there is no second copy. Nothing is written
// over either of them as long as the other is needed.
func TestFramesInFrontAreAroundTheClip(t *testing.T) {
	const frame, frames, front = 16, 4, 2
	for _, pad := range []kernels.Spec{
		kernels.PadFront{N: 1, T: frames, Inner: frame, P: front},
		kernels.Pad{N: 1, T: frames, H: 1, W: frame, C: 1, PT: front, Mode: kernels.Replicate},
		kernels.Pad{N: 1, T: frames, H: 1, W: frame, C: 1, PT: front, Mode: kernels.Reflect},
	} {
		type wanted struct {
			outputs func(x, y *G.Node) G.Nodes
			frames  int // in memory, and a line for each sum
			sums    int
		}
		sum := func(x *G.Node) *G.Node {
			return apply(t, kernels.SumRows{Rows: size(x) / frame, C: frame}, []int{frame}, x)
		}
		act := func(x *G.Node) *G.Node {
			return apply(t, kernels.Act{Kind: kernels.SiLU, Len: size(x)}, x.Shape(), x)
		}
		for name, c := range map[string]wanted{
			"both read":                 {func(x, y *G.Node) G.Nodes { return G.Nodes{sum(y), sum(x)} }, frames + front, 2},
			"the clip written over":     {func(x, y *G.Node) G.Nodes { a := sum(y); return G.Nodes{a, sum(act(x))} }, frames + front, 2},
			"the longer one, too":       {func(x, y *G.Node) G.Nodes { a := sum(x); return G.Nodes{a, sum(act(y))} }, frames + front, 2},
			"the clip is changed first": {func(x, y *G.Node) G.Nodes { a := act(x); return G.Nodes{sum(y), sum(a)} }, frames + front + frames, 1},
			"the longer one, first":     {func(x, y *G.Node) G.Nodes { a := act(y); return G.Nodes{sum(x), sum(a)} }, 2 * (frames + front), 1},
		} {
			g, be := G.NewGraph(), cpu(t, 2)
			in := Input(g, "in", frames, frame)
			x := apply(t, kernels.Affine{Len: size(in), Mul: 3}, in.Shape(), in)
			outputs := c.outputs(x, apply(t, pad, []int{frames + front, frame}, x))
			p, err := Compile(be, outputs, nil, RecomputeNone)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := p.Stats().ArenaBytes, int64(4*frame*(c.frames+c.sums)); got != want {
				t.Errorf("%s, %s: an arena of %d bytes, want %d", kernels.Name(pad), name, got, want)
			}
			nodes, err := Reachable(outputs)
			if err != nil {
				t.Fatal(err)
			}
			values := map[*G.Node][]float32{in: draw("in", size(in))}
			if err := be.Write(p.Buffer(in), values[in]); err != nil {
				t.Fatal(err)
			}
			define(t, nodes, values)
			if err := p.Run(); err != nil {
				t.Fatal(err)
			}
			for _, n := range outputs {
				for i, v := range read(t, be, p.Buffer(n)) {
					if d := math.Abs(float64(v - values[n][i])); !(d <= 1e-5) { // sums of six values, a few roundings
						t.Fatalf("%s, %s: value %d is %v, want %v", kernels.Name(pad), name, i, v, values[n][i])
					}
				}
			}
		}
	}
}
