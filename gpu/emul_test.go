//go:build emul && linux

package gpu_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// withoutKernel are the Specs that have no .cu form, by type. A test fails if one of
// them has, or if another one has not.
var withoutKernel = []string{
	"AdaptiveRMSNorm", "AdaptiveRMSNormGradGamma", "AdaptiveRMSNormGradX",
	"Attention", "AttentionGrad", "AttentionGradMem",
	"Blur", "GEGLU", "GEGLUGrad", "GateLoop", "GateLoopGrad", "LFQLossFloored", "LFQLossFlooredGrad",
	"LinearAttention", "LinearAttentionGradKV", "LinearAttentionGradQ",
	"ModConv", "ModConvGradW", "ModConvGradX", "Modulate", "ModulateGradS", "ModulateGradW",
	"Normalize", "NormalizeGrad", "Pad", "PadGrad", "TokenShift",
}

func kind(s kernels.Spec) string { return fmt.Sprintf("%T", s)[len("kernels."):] }

// cases are the suite's, without those that have no .cu form.
func cases() []kerneltest.Case {
	return slices.DeleteFunc(kerneltest.Cases(), func(c kerneltest.Case) bool { return slices.Contains(withoutKernel, kind(c.Spec)) })
}

// Every kernel passes the suite of all backends, and gives the same bits whatever the
// order of threads.
func TestKernelsMatchDefinitions(t *testing.T) { matchDefinitions(t, kernels.F32, cases()) }

func matchDefinitions(t *testing.T, p kernels.Precision, cases []kerneltest.Case) {
	be := gpu.Emulated(emul.Open(emul.Forward), p)
	defer be.Close()
	others := []*gpu.Device{gpu.Emulated(emul.Open(emul.Reverse), p), gpu.Emulated(emul.Open(emul.Shuffled), p)}
	for _, other := range others {
		defer other.Close()
	}
	for _, c := range cases {
		r, err := kerneltest.Check(be, c)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
		want, err := kerneltest.Outputs(be, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range others {
			got, err := kerneltest.Outputs(other, c)
			if err != nil {
				t.Fatal(err)
			}
			for a := range got {
				if !slices.EqualFunc(got[a], want[a], sameBits) {
					t.Errorf("%v on %s: argument %d differs from that of threads in forward order", c, other.Name(), a)
				}
			}
		}
	}
}

func sameBits(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }

// What cannot run says so, and nothing else is missing.
func TestWhatHasNoKernel(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Forward), kernels.F32)
	defer be.Close()
	for _, c := range kerneltest.Cases() {
		_, err := be.Prepare(c.Spec)
		if want := slices.Contains(withoutKernel, kind(c.Spec)); errors.Is(err, gpu.ErrNoKernel) != want {
			t.Errorf("%v: error %v; listed as without a kernel: %v", c, err, want)
		}
	}
}
