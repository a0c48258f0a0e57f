package machine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Squeeze-excite after an activation, and what goes around it: forward the gate takes
// the sum along, backward one kernel gives the gradient in front of the activation.
func TestSqueezeExciteFusion(t *testing.T) {
	const f, p, c, n = 2, 3, 4, 2 * 3 * 4
	g, be := G.NewGraph(), cpu(t, 1)
	x, k, target, each := Input(g, "x", f, p, c), Input(g, "k", c), Input(g, "target", f, p, c), Input(g, "each", f*p)
	frames := []int{f, p, c}
	h := apply(t, kernels.Act{Kind: kernels.ELU, Len: n}, frames, x)
	ctx := apply(t, kernels.FramePool{F: f, P: p, C: c}, []int{f, c}, h, k)
	gain := apply(t, kernels.Act{Kind: kernels.Sigmoid, Len: f * c}, []int{f, c}, ctx)
	y := apply(t, kernels.Add{Len: n}, frames, apply(t, kernels.FrameGate{F: f, P: p, C: c}, frames, h, gain), target)
	loss := apply(t, kernels.ReconLoss{Pixels: f * p, C: c, Kind: kernels.MSE, Overshoot: 1}, []int{}, y, target, each)
	grads, err := G.Grad(loss, x, k)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Compile(be, grads, nil, RecomputeNone)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, s := range plan.steps {
		if e, ok := s.spec.(kernels.SqueezeExciteGradX); ok && e.Act != kernels.ELU {
			t.Errorf("%s, want the slope of ELU in it", kernels.Name(e))
		}
		kinds[kind(s.spec)]++
	}
	// The activation in front and the gain's, and the gain's slope.
	want := map[string]int{"Act": 2, "ActGrad": 1, "FramePool": 1, "FrameGate": 1, "ReconLossGrad": 1, "SqueezeExciteGradX": 1, "FrameGateGradG": 1, "FramePoolGradK": 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error("(-want +got):", diff)
	}
	given := map[*G.Node][]float32{each: make([]float32, f*p)}
	for i := range given[each] {
		given[each][i] = 1
	}
	for _, n := range []*G.Node{x, k, target} {
		given[n] = draw(n.Name(), size(n))
	}
	for n, v := range given {
		if err := be.Write(plan.Buffer(n), v); err != nil {
			t.Fatal(err)
		}
	}
	if err := plan.Run(); err != nil {
		t.Fatal(err)
	}
	nodes, err := Reachable(grads)
	if err != nil {
		t.Fatal(err)
	}
	define(t, nodes, given)
	for _, n := range grads {
		if diff, norm := distance(read(t, be, plan.Buffer(n)), given[n]); !(diff <= 1e-11*norm) || norm == 0 {
			t.Errorf("%v: normalised squared error %g", n, diff/norm)
		}
	}
}
