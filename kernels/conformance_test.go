package kernels_test

import (
	"slices"
	"testing"
	"unsafe"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// The CPU backend passes every case, and gives the same bits for any number of
// workers.
func TestCPUMatchesDefinitions(t *testing.T) {
	one := kernels.NewCPU(1)
	defer one.Close()
	kerneltest.Run(t, one)
}

// The other instruction sets pass the cases without products of convolutions, which
// have tests of their own.
func TestEveryInstructionSetMatchesDefinitions(t *testing.T) {
	best, err := kernels.DetectISA()
	if err != nil {
		t.Fatal(err)
	}
	for isa, name := range map[kernels.ISA]string{kernels.Generic: "generic", kernels.AVX2: "avx2"} {
		if isa >= best {
			continue
		}
		t.Setenv("MAGVIT_ISA", name)
		be := kernels.NewCPU(2)
		defer be.Close()
		for _, c := range kerneltest.Cases() {
			if c.Spec.FLOPs() > 1e7 || len(kernels.RoundedArgs(c.Spec)) > 0 {
				continue
			}
			r, err := kerneltest.Check(be, c)
			if err != nil {
				t.Error(err)
			} else if !r.OK {
				t.Errorf("%v: %v: %v", isa, c, r.Err)
			}
		}
	}
}

func TestCPUGivesTheSameBitsForAnyNumberOfWorkers(t *testing.T) {
	var cpus []*kernels.CPU
	for _, n := range []int{1, 2, 3, 7} {
		c := kernels.NewCPU(n)
		defer c.Close()
		cpus = append(cpus, c)
	}
	for _, c := range kerneltest.Cases() {
		args := kerneltest.Arguments(c)
		var want [][]float32
		for i, be := range cpus {
			got, err := kerneltest.OutputsOf(be, c, args, 2)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = got
				continue
			}
			for a := range got {
				if !slices.Equal(bits(got[a]), bits(want[a])) {
					t.Errorf("%v: argument %d differs between 1 and %d workers", c, a, be.Workers())
				}
			}
		}
	}
}

func bits(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func TestCPURunAllocatesNothing(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, c := range kerneltest.Cases() {
		k, err := be.Prepare(c.Spec)
		if err != nil {
			t.Fatal(err)
		}
		args := make([]kernels.Buffer, 0, 8)
		for _, values := range kerneltest.Arguments(c) {
			args = append(args, kernels.Host(values))
		}
		if n := testing.AllocsPerRun(2, func() { k.Run(args...) }); n != 0 {
			t.Errorf("%v: %g allocations a run", c, n)
		}
	}
}
