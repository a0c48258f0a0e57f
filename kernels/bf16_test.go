package kernels_test

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// inBF16 is a backend in BF16; the test is skipped where there can be none.
func inBF16(t testing.TB, workers int) *kernels.CPU {
	if err := kernels.CanBF16(); err != nil {
		t.Skip(err)
	}
	c, err := kernels.NewCPUIn(kernels.BF16, workers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// productCases are those cases that BF16 changes.
func productCases() []kerneltest.Case {
	return slices.DeleteFunc(kerneltest.Cases(), func(c kerneltest.Case) bool { return kernels.RoundedArgs(c.Spec) == nil })
}

// The tolerances are those of float32: the definition gets the same rounded operands,
// their products are exact in float32, and sums are float32 in both.
func TestCPUMatchesDefinitionsInBF16(t *testing.T) {
	be := inBF16(t, 1)
	for _, c := range productCases() {
		r, err := kerneltest.Check(be, c)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK {
			t.Errorf("%v: %v", c, r.Err)
		}
	}
}

func TestCPUGivesTheSameBitsForAnyNumberOfWorkersInBF16(t *testing.T) {
	cpus := []*kernels.CPU{inBF16(t, 1), inBF16(t, 2), inBF16(t, 7)}
	for _, c := range productCases() {
		want, err := kerneltest.Outputs(cpus[0], c)
		if err != nil {
			t.Fatal(err)
		}
		for _, be := range cpus[1:] {
			got, err := kerneltest.Outputs(be, c)
			if err != nil {
				t.Fatal(err)
			}
			for a := range got {
				if !slices.Equal(bits(got[a]), bits(want[a])) {
					t.Errorf("%v: argument %d differs between 1 and %d workers", c, a, be.Workers())
				}
			}
		}
	}
}
