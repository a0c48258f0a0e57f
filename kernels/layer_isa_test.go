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
			space, AttentionGrad{space}, AttentionGradMem{space}, AttentionStats{space}, AttentionBackward{space},
			time, AttentionGrad{time}, AttentionGradMem{time}, AttentionStats{time}, AttentionBackward{time},
			linear, LinearAttentionGradQ{linear}, LinearAttentionGradKV{linear},
		} {
			args := values(s, uint64(i))
			want := clone(args)
			s.Define(want...)
			execute(t, c, s, args)
			for j, a := range s.Args() {
				if e := nmse(args[j], want[j]); a.Out && !(e < 1e-11) { // as kerneltest has it
					t.Errorf("%v: %s: NMSE of %s %.3g", isa, Name(s), a.Name, e)
				}
			}
		}
	}
}
