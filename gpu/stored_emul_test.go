//go:build emul && linux

package gpu_test

import (
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// storedProducts are convolutions with everything in them, of channels that fill chunks
// and of others, with each of their activations in bfloat16 or not.
func storedProducts() (cases []kerneltest.Case) {
	whole := kernels.Conv{N: 2, T: 2, H: 5, W: 6, C: 16, O: 24, KT: 2, KH: 3, KW: 3, ST: 1, SH: 2, SW: 1, DT: 1, PT: 1, PH: 1, PW: 1}
	odd := whole
	odd.C, odd.O = 13, 10
	for _, s := range []kernels.Conv{whole, odd} {
		full := s
		full.Act, full.Residual = kernels.ELU, true
		moved := full
		moved.Act = kernels.SiLU
		specs := []kernels.Spec{full, kernels.ConvGradX{Conv: full}, kernels.ConvGradW{Conv: s}, kernels.ConvGEGLU{Conv: s}, kernels.ConvGradGEGLU{Conv: s},
			kernels.ModConv{Conv: s}, kernels.ModConvGradX{Conv: s}, kernels.ModConvGradW{Conv: s}}
		if s == odd { // what is a multiple of 8 is read as by ConvGradX
			specs = append(specs, kernels.ConvGradShuffle{Conv: moved, FT: 2, FH: 1, FW: 2})
		}
		for _, spec := range specs {
			var either []string
			weights := false // may be in bfloat16 too
			for _, a := range spec.Args() {
				switch {
				case a.Name == "w":
					weights = a.Store == kernels.StoreEither
				case a.Store == kernels.StoreEither:
					either = append(either, a.Name)
				}
			}
			for subset := 1<<len(either) - 1; subset > 0; subset-- {
				var names []string
				for i, name := range either {
					if subset>>i&1 != 0 {
						names = append(names, name)
					}
				}
				if len(names) == len(either) && weights {
					names = append(names, "w")
				}
				cases = append(cases, kerneltest.Case{Spec: kernels.StoreBF16(spec, names...), Tol: 1e-11, Why: "float32 sums of some hundred products",
					Draw: map[string]kerneltest.Draw{"s": kerneltest.Mixed(-1, 1, 0)}})
			}
		}
	}
	return cases
}

var storedMutations = []mutation{
	{"a result as the summand", "conv_mma.cu", "void fprop(", "half & HALF_Y", "half & (HALF_Y | HALF_R)", "Conv ModConv"},
	{"a summand as the result", "conv_mma.cu", "void fprop(", "half & HALF_R", "half & (HALF_R | HALF_Y)", "Conv ModConv"},
	{"a gradient as the summand", "conv_mma.cu", "void dgrad(", "half & HALF_Y", "half & (HALF_Y | HALF_R)", "ConvGradX ModConvGradX"},
	{"a slope as the gradient", "conv_mma.cu", "void dgrad(", "half & HALF_S", "half & (HALF_S | HALF_Y)", "ConvGradX ModConvGradX"},
	{"what GEGLU reads as what it gives", "conv_mma.cu", "void fprop_geglu(", "half & HALF_S", "half & (HALF_S | HALF_Y)", "ConvGEGLU"},
	{"what GEGLU read as the gradient", "conv_mma.cu", "void dgrad_geglu(", "half & HALF_S", "half & (HALF_S | HALF_Y)", "ConvGradGEGLU"},
	{"halves of a row beyond its end", "pack.cu", "void pack_rows(", "c + 8 <= C && ", "", all},
}

func TestMutationsOfStorageAreCaught(t *testing.T) {
	catch(t, storedMutations, kernels.BF16, storedProducts(), mmaKernels)
}

func TestAnyActivationOfProductsMayBeHalf(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Shuffled), kernels.BF16)
	defer be.Close()
	for _, c := range storedProducts() {
		r, err := kerneltest.Check(be, c)
		check(t, err)
		if !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
	}
}

// A Spec with activations in bfloat16 is timed with buffers of their sizes.
func TestTimeOfStoredActivations(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Forward), kernels.BF16)
	defer be.Close()
	for _, c := range kerneltest.Halved(be, []kerneltest.Case{{Spec: kernels.Act{Kind: kernels.ELU, Len: 33}}}) {
		if _, err := kerneltest.Time(be, c, 0); err != nil {
			t.Error(err)
		}
	}
}
