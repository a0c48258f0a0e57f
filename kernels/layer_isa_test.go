package kernels

import "testing"

// Tiles of every instruction set, whose widths differ, give attention's products.
func TestAttentionOnEveryInstructionSet(t *testing.T) {
	space := Attention{N: 1, T: 2, P: 37, Heads: 2, Dim: 9, Memory: 3}
	time := Attention{N: 1, T: 37, P: 2, Heads: 2, Dim: 9, Memory: 3, Over: Time, Causal: true}
	linear := LinearAttention{F: 2, P: 70, Heads: 2, Dim: 5}
	for _, isa := range sets(t) {
		c := cpuWith(t, isa, 2)
		for i, s := range []Spec{
			space, AttentionGrad{space}, AttentionGradMem{space}, time, AttentionGrad{time}, AttentionGradMem{time},
			linear, LinearAttentionGradQ{linear}, LinearAttentionGradKV{linear},
		} {
			args := values(s, uint64(i))
			want := clone(args)
			s.Define(want...)
			execute(t, c, s, args)
			if e := nmse(args[0], want[0]); !(e < 1e-11) { // as kerneltest has it
				t.Errorf("%v: %s: NMSE %.3g", isa, Name(s), e)
			}
		}
	}
}
