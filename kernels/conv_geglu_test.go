package kernels_test

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// The smallest cases, worked out by hand: the values of GEGLU's test, which weights, a bias and a dy of
// two channels give.
func TestConvGEGLULiterals(t *testing.T) {
	s := kernels.Conv{N: 1, T: 1, H: 1, W: 1, C: 2, O: 2, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	forward := s
	forward.O = 4
	checkLiterals(t, literal{kernels.ConvGEGLU{Conv: forward}, [][]float32{{2, 1}, {1, 1, 1, 0, 0, 1, -1, 0}, {0, 0, 0, 1}}, []float32{2.5240342, -.3173105, 3, 2, 1, -1}},
		literal{kernels.ConvGradGEGLU{Conv: s}, [][]float32{{2, 1}, {1, 0, -1, 1}, {3, 2, 1, -1}}, []float32{.8413447, -.1586553, 3.2499464, -.1666309}})
}

func TestConvGEGLUValidate(t *testing.T) {
	s := kernels.Conv{N: 1, T: 1, H: 1, W: 1, C: 2, O: 2, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	act, residual, wide := s, s, s
	act.Act, residual.Residual = kernels.ELU, true
	wide.W, wide.C, wide.O = 1<<20, 1<<10, 1
	odd := s
	odd.O = 3
	checkRefusals(t,
		refusal{kernels.ConvGEGLU{Conv: odd}, "want an even O"},
		refusal{kernels.ConvGEGLU{Conv: act}, "Act ELU"},
		refusal{kernels.ConvGEGLU{Conv: residual}, "Residual true"},
		refusal{kernels.ConvGEGLU{}, "N is 0"},
		refusal{kernels.ConvGradGEGLU{Conv: act}, "Act and Residual must be unset"},
		refusal{kernels.ConvGradGEGLU{Conv: residual}, "Act and Residual must be unset"},
		refusal{kernels.ConvGradGEGLU{Conv: wide}, "would have 2^31 values or more"},
		refusal{kernels.ConvGradGEGLU{}, "N is 0"},
	)
}

// On a CPU the gradient has the bits of the two that it replaces: a plan gives the same with and without it.
func TestConvGradGEGLUKeepsBits(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, c := range []int{32, 33, 170} {
		s := kernels.Conv{N: 1, T: 1, H: 1, W: 101, C: c, O: 48, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
		in := kerneltest.Arguments(kerneltest.Case{Spec: kernels.ConvGradGEGLU{Conv: s}})[1:]
		got := runOn(t, be, kernels.ConvGradGEGLU{Conv: s}, in...)
		d := runOn(t, be, kernels.ConvGradX{Conv: s}, in[:2]...)
		if want := runOn(t, be, kernels.GEGLUGrad{Rows: 101, C: c}, d, in[2]); !slices.Equal(got, want) {
			t.Errorf("%d channels: other bits than those of ConvGradX and GEGLUGrad", c)
		}
	}
}
