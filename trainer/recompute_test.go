package trainer

import (
	"testing"
)

// A run whose backward pass makes values again computes the same bits.
func TestRecomputeKeepsBits(t *testing.T) {
	var want []map[string]any
	for _, how := range []string{"none", "auto", "max"} {
		o := tiny(t, 4)
		o.Config.Train.Recompute, o.Config.Train.LogEvery = how, 1
		run(t, t.Context(), o)
		steps, _ := logged(t, o.Out)
		if want == nil {
			want = steps
		}
		for i := range want {
			for _, key := range []string{"loss", "grad_norm"} {
				if a, b := steps[i][key], want[i][key]; a == nil || a != b {
					t.Errorf("train.recompute %s: step %d: %s is %v, without %v", how, i+1, key, a, b)
				}
			}
		}
	}
}
