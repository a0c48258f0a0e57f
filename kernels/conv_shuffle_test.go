package kernels_test

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// The smallest cases, worked out by hand: four pixels of two channels become one of eight, in the order of
// the pixels. SiLU'(0) is ½, and that of 1 is .9276705.
func TestConvGradShuffleLiterals(t *testing.T) {
	s := kernels.ConvGradShuffle{Conv: kernels.Conv{N: 1, T: 1, H: 2, W: 2, C: 2, O: 1, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1, Act: kernels.SiLU}, FT: 1, FH: 2, FW: 2}
	checkLiterals(t, literal{s, [][]float32{{1, 2, 3, 4}, {2, -2}, {0, 1, 0, 0, 0, 0, 1, 0}}, []float32{1, -1.855341, 2, -2, 3, -3, 7.421364, -4}})
	s.W, s.C, s.Residual = 4, 1, true // two lines of two squares
	checkLiterals(t, literal{s, [][]float32{{1, 2, 3, 4, 5, 6, 7, 8}, {2}, {0, 1, 0, 0, 0, 0, 0, 0}, {10, 20, 30, 40, 50, 60, 70, 80}},
		[]float32{6, 22.264092, 30, 36, 18, 24, 42, 48}})
}

func TestConvGradShuffleValidate(t *testing.T) {
	s := kernels.ConvGradShuffle{Conv: kernels.Conv{N: 1, T: 2, H: 6, W: 4, C: 2, O: 2, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1, Act: kernels.GELU}, FT: 1, FH: 2, FW: 4}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	none, output, three, divides, zero, empty := s, s, s, s, s, s
	none.Act, output.Act, three.FH, divides.FT, zero.FW, empty.N = kernels.None, kernels.ELU, 3, 4, 0, 0
	checkRefusals(t,
		refusal{none, "Act is None, want SiLU or GELU"},
		refusal{output, "Act is ELU, want SiLU or GELU"},
		refusal{three, "FH is 3, H is 6: want a power of two that divides H"},
		refusal{divides, "FT is 4, T is 2: want a power of two that divides T"},
		refusal{zero, "FW is 0, W is 4"},
		refusal{empty, "N is 0"},
	)
}

// On a CPU it has the bits of the two that it replaces, where these compute direct sums.
func TestConvGradShuffleKeepsBits(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	be.UseConvKernels(kernels.ExactKernels)
	for _, c := range []int{5, 16} {
		s := kernels.Conv{N: 2, T: 4, H: 6, W: 8, C: c, O: 12, KT: 2, KH: 3, KW: 3, ST: 1, SH: 2, SW: 1, DT: 1, PT: 1, PH: 1, PW: 1, Residual: true}
		plain := s
		s.Act = kernels.SiLU
		whole := kernels.ConvGradShuffle{Conv: s, FT: 2, FH: 1, FW: 4}
		in := kerneltest.Arguments(kerneltest.Case{Spec: whole})[1:]
		got := runOn(t, be, whole, in...)
		d := runOn(t, be, kernels.ConvGradX{Conv: plain}, in[0], in[1], in[3])
		back := kernels.ShuffleGrad{Shuffle: kernels.Shuffle{N: 2, T: 2, H: 6, W: 2, C: c, FT: 2, FH: 1, FW: 4, Act: kernels.SiLU, PhaseFirst: true}}
		if want := runOn(t, be, back, d, in[2]); !slices.Equal(got, want) {
			t.Errorf("%d channels: other bits than those of ConvGradX and ShuffleGrad", c)
		}
	}
}
