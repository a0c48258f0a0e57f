//go:build emul && linux

package gpu_test

import (
	"slices"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// products are the suite's cases whose operands a device in bfloat16 rounds.
func products() []kerneltest.Case {
	return slices.DeleteFunc(kerneltest.Cases(), func(c kerneltest.Case) bool { return kernels.RoundedArgs(c.Spec) == nil })
}

// In bfloat16 products are those of rounded operands.
func TestProductsMatchDefinitionsInBF16(t *testing.T) { matchDefinitions(t, kernels.BF16, products()) }

// Wide blocks are for what fills waves better with them: 264 of them here, which fill one.
func TestWideBlocksInBF16(t *testing.T) {
	forward := kernels.Conv{N: 1, T: 1, H: 1, W: 16833, C: 5, O: 66, KT: 1, KH: 2, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1, PH: 1}
	back := forward
	back.H, back.C, back.O, back.PH = 2, forward.O, forward.C, 0
	be := gpu.Emulated(emul.Open(emul.Shuffled), kernels.BF16)
	defer be.Close()
	for _, s := range []kernels.Spec{forward, kernels.ConvGradX{Conv: back}} {
		r, err := kerneltest.Check(be, kerneltest.Case{Spec: s, Tol: 1e-12, Why: "sums of some ten products in float32"})
		check(t, err)
		if !r.OK {
			t.Errorf("%s: %v", kernels.Name(s), r.Err)
		}
	}
}
