//go:build emul && linux

package gpu_test

import (
	"testing"

	"magvit/gpu"
	"magvit/kernels"
	"magvit/kernels/emul"
	"magvit/kernels/kerneltest"
)

// Kernels whose arguments lie in bfloat16 compute what the definition says of them.
func TestStoredMatchDefinitions(t *testing.T) {
	be := gpu.Emulated(emul.Open(emul.Forward), kernels.BF16)
	defer be.Close()
	matchDefinitions(t, kernels.BF16, kerneltest.Stored(be, kerneltest.Cases()))
}

// What a kernel cannot store is refused.
func TestStorageIsChecked(t *testing.T) {
	f32, bf16 := gpu.Emulated(emul.Open(emul.Forward), kernels.F32), gpu.Emulated(emul.Open(emul.Forward), kernels.BF16)
	defer f32.Close()
	defer bf16.Close()
	for _, c := range []struct {
		be   kernels.Backend
		spec kernels.Stored
	}{
		{f32, kernels.Stored{Spec: kernels.Add{Len: 3}, Half: 7}},
		{bf16, kernels.Stored{Spec: kernels.Add{Len: 3}, Half: 3}},
		{bf16, kernels.Stored{Spec: kernels.Add{Len: 3}, Half: 15}},
		{bf16, kernels.Stored{Spec: kernels.SumSquares{Len: 3}, Half: 2}},
	} {
		if _, err := c.be.Prepare(c.spec); err == nil {
			t.Errorf("%s: no error", kernels.Name(c.spec))
		}
	}
	if s := kernels.StorageOf(f32, kernels.Add{Len: 3}); s != (kernels.Storage{}) {
		t.Errorf("in float32 %+v may be half", s)
	}
}
