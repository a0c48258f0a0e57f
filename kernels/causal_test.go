package kernels_test

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// What a frame becomes does not depend on later ones; with attention over space,
// not on any other. Frame 2 of 5 changes.
func TestFramesDependOnlyOnWhatTheySee(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	attention := kernels.Attention{N: 2, T: 5, P: 3, Heads: 2, Dim: 4, Memory: 2}
	over, causal := attention, attention
	over.Over, causal.Over, causal.Causal = kernels.Time, kernels.Time, true
	const all, later, itself, next = "01234", "234", "2", "23"
	for _, c := range []struct {
		spec kernels.Spec
		want string // the frames that change
	}{
		{attention, itself}, {over, all}, {causal, later},
		{kernels.GateLoop{N: 2, T: 5, P: 3, C: 8}, later},
		{kernels.TokenShift{N: 2, T: 5, P: 3, C: 8}, next},
	} {
		args := kerneltest.Arguments(kerneltest.Case{Spec: c.spec})
		before := runOn(t, be, c.spec, args[1:]...)
		x := args[1]
		frame := len(x) / 10 // two clips of five frames
		for i := range frame {
			x[5*frame+2*frame+i] += 1 // of the second clip
		}
		after := runOn(t, be, c.spec, args[1:]...)
		changed, size := "", len(after)/10
		for f := range 10 {
			if slices.Equal(before[f*size:(f+1)*size], after[f*size:(f+1)*size]) {
				continue
			}
			if f < 5 {
				t.Errorf("%s: the first clip changes with the second", kernels.Name(c.spec))
			}
			changed += string(rune('0' + f%5))
		}
		if changed != c.want {
			t.Errorf("%s: frames %q change with frame 2, want %q", kernels.Name(c.spec), changed, c.want)
		}
	}
}
