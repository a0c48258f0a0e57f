package kernels

import (
	"slices"
	"testing"
)

// fourierCases have odd sizes, tiles that reach over the border, single frames, frames
// that read nothing, clips cut in time, and channels in panels of both widths.
func fourierCases() []Conv {
	return []Conv{
		conv(1, 18, 9, 11, 3, 32, 7, 7, 7),
		conv(2, 3, 13, 6, 3, 48, 7, 7, 7),
		conv(1, 1, 5, 5, 2, 16, 3, 5, 5),
		conv(1, 40, 6, 5, 1, 16, 5, 5, 7),
		conv(2, 2, 1, 1, 8, 16, 2, 7, 5),
		conv(1, 2, 9, 8, 3, 16, 1, 6, 5),
		conv(1, 7, 5, 6, 3, 16, 4, 5, 5).with(func(s *Conv) { s.PT = 0 }),
		conv(1, 2, 6, 7, 3, 32, 3, 5, 5).with(func(s *Conv) { s.PT, s.T = 6, 1 }),
		conv(1, 4, 16, 17, 3, 32, 3, 7, 7).with(func(s *Conv) { s.PH, s.PW = 0, 5 }),
	}
}

// Transforms of up to 38 values and sums of up to 200 products in float32 err by some
// 1e-13; direct sums are held to 1e-12 too.
const fourierTolerance = 1e-12

func TestFourierMatchesDefinition(t *testing.T) {
	for i, c := range fourierCases() {
		for _, s := range []Spec{c, c.with(func(s *Conv) { s.Act, s.Residual = SiLU, true }), ConvGradW{c}} {
			in := values(s, uint64(i))
			want := clone(in)
			s.Define(want...)
			for _, isa := range sets(t) {
				be := cpuWith(t, isa, 2)
				be.conv = fourierOnly
				if _, _, ok := be.fourier(s); !ok {
					t.Fatalf("%s: not by Fourier transforms", Name(s))
				}
				matchesWithin(t, be, s, in, want[0], fourierTolerance)
			}
		}
	}
}

func TestFourierSameBitsForAnyWorkers(t *testing.T) {
	c := conv(2, 5, 20, 21, 3, 32, 3, 7, 7)
	for _, s := range []Spec{c, ConvGradW{c}} {
		in := values(s, 0)
		var want []float32
		for _, workers := range []int{1, 2, 3, 7} {
			got := clone(in)
			be := cpuWith(t, machineISA(), workers)
			be.conv = fourierOnly
			execute(t, be, s, got)
			if want == nil {
				want = got[0]
			}
			if !slices.Equal(got[0], want) {
				t.Errorf("%s: %d workers give other bits than one", Name(s), workers)
			}
		}
	}
}
