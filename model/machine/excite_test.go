package machine

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// fusing is a CPU that has kernels for several gradients at once, as GPUs do.
type fusing struct{ *kernels.CPU }

func (fusing) FusesGradients() bool { return true }

// Squeeze-excite after an activation, and what goes around it: forward the gate takes
// the sum along, backward one kernel gives the gradient in front of the activation, and where
// the backend fuses gradients that of the keys too.
func TestSqueezeExciteFusion(t *testing.T) {
	apart := map[string]int{"FramePool": 1, "SqueezeExciteGradX": 1, "FramePoolGradK": 1}
	t.Run("cpu", func(t *testing.T) { squeezeExciteFusion(t, cpu(t, 1), RecomputeNone, apart) })
	together := map[string]int{"FramePoolStats": 1, "SqueezeExciteGrad": 1}
	for name, how := range map[string]Recompute{"gpu": RecomputeNone, "gpu that recomputes": RecomputeMax} {
		t.Run(name, func(t *testing.T) { squeezeExciteFusion(t, fusing{cpu(t, 1)}, how, together) })
	}
}

func squeezeExciteFusion(t *testing.T, be kernels.Backend, how Recompute, want map[string]int) {
	const f, p, c, n = 2, 3, 4, 2 * 3 * 4
	g := G.NewGraph()
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
	plan, err := Compile(be, grads, nil, how)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, s := range plan.steps {
		switch e := s.spec.(type) {
		case kernels.SqueezeExciteGradX:
			if e.Act != kernels.ELU {
				t.Errorf("%s, want the slope of ELU in it", kernels.Name(e))
			}
		case kernels.SqueezeExciteGrad:
			if e.Act != kernels.ELU {
				t.Errorf("%s, want the slope of ELU in it", kernels.Name(e))
			}
		}
		kinds[kind(s.spec)]++
	}
	// The activation in front and the gain's, and the gain's slope.
	maps.Copy(want, map[string]int{"Act": 2, "ActGrad": 1, "FrameGate": 1, "ReconLossGrad": 1, "FrameGateGradG": 1})
	if how != RecomputeNone {
		kinds["Act"] = min(kinds["Act"], 2)
	}
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
	asDefined(t, be, plan, grads, given)
}
