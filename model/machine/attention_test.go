package machine

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// The gradients of attention are one kernel, which reads what the forward pass knows of its
// softmax, with and without a memory; where the memory's is not asked for, nothing is fused.
func TestAttentionFusion(t *testing.T) {
	fused := map[string]int{"AttentionStats": 1, "AttentionBackward": 1}
	single := map[string]int{"Attention": 1, "AttentionGrad": 1}
	for memory, want := range []map[string]int{fused, fused} {
		for _, how := range []Recompute{RecomputeNone, RecomputeMax} {
			t.Run(fmt.Sprintf("memory of %d, recompute %d", memory, how), func(t *testing.T) { attentionFusion(t, memory, true, how, want) })
		}
	}
	t.Run("without the memory's gradient", func(t *testing.T) { attentionFusion(t, 1, false, RecomputeNone, single) })
}

func attentionFusion(t *testing.T, memory int, learned bool, how Recompute, want map[string]int) {
	s := kernels.Attention{N: 2, T: 3, P: 2, Heads: 2, Dim: 3, Memory: memory, Over: kernels.Time, Causal: true}
	const rows, width = 2 * 3 * 2, 2 * 3
	g := G.NewGraph()
	qkv, target, each := Input(g, "qkv", rows, 3*width), Input(g, "target", rows, width), Input(g, "each", rows)
	in, inputs, wrt := G.Nodes{qkv}, G.Nodes{qkv, target}, G.Nodes{qkv}
	if memory > 0 {
		mem := Input(g, "mem", 2, s.Heads, memory, s.Dim)
		in, inputs = append(in, mem), append(inputs, mem)
		if learned {
			wrt = append(wrt, mem)
		}
	}
	y := apply(t, s, []int{rows, width}, in...)
	loss := apply(t, kernels.ReconLoss{Pixels: rows, C: width, Kind: kernels.MSE, Overshoot: 1}, []int{}, y, target, each)
	grads, err := G.Grad(loss, wrt...)
	if err != nil {
		t.Fatal(err)
	}
	be := cpu(t, 1)
	plan, err := Compile(be, grads, nil, how)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, s := range plan.steps {
		kinds[kind(s.spec)]++
	}
	want = maps.Clone(want)
	want["ReconLossGrad"] = 1
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error("(-want +got):", diff)
	}
	given := map[*G.Node][]float32{each: make([]float32, rows)}
	for i := range given[each] {
		given[each][i] = 1
	}
	for _, n := range inputs {
		given[n] = draw(n.Name(), size(n))
	}
	asDefined(t, be, plan, grads, given)
}
