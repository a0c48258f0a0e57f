//go:build emul && linux

package gpu_test

import (
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// Kernels whose arguments are stored in bfloat16 compute what the definition says of them.
func TestStoredMatchDefinitions(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Forward), kernels.BF16)
	defer be.Close()
	matchDefinitions(t, kernels.BF16, kerneltest.Stored(be, kerneltest.Cases()))
}

// Storage that no kernel has is refused.
func TestStorageIsChecked(t *testing.T) {
	f32, bf16 := gpu.Emulated(emul.Open(emul.Forward), kernels.F32), gpu.Emulated(emul.Open(emul.Forward), kernels.BF16)
	defer f32.Close()
	defer bf16.Close()
	for _, c := range []struct {
		be   kernels.Backend
		spec kernels.Spec
	}{
		{f32, kernels.StoreBF16(kernels.Add{Len: 3}, "y", "a", "b")},
		{bf16, kernels.StoreBF16(kernels.Add{Len: 3}, "y", "a")},
		{bf16, kernels.StoreBF16(kernels.SumSquares{Len: 3}, "x")},
	} {
		if _, err := c.be.Prepare(c.spec); err == nil {
			t.Errorf("%s: no error", kernels.Name(c.spec))
		}
	}
	if kernels.StoresBF16(f32) || !kernels.StoresBF16(bf16) {
		t.Errorf("stores bf16 in f32: %v, in bf16: %v", kernels.StoresBF16(f32), kernels.StoresBF16(bf16))
	}
}
