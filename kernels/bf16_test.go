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
	for _, k := range []kernels.ConvKernels{kernels.AutoKernels, kernels.ExactKernels} {
		be.UseConvKernels(k)
		for _, c := range productCases() {
			r, err := kerneltest.Check(be, c)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK {
				t.Errorf("%v, %v kernels: %v", c, k, r.Err)
			}
		}
	}
}

// A backend in BF16 takes float32 where that is as fast: by Winograd's filtering, by Fourier
// transforms, and for pixels of few channels. With exact kernels it takes bfloat16 always.
func TestPrecisionFor(t *testing.T) {
	spatial := kernels.Conv{N: 2, T: 8, H: 16, W: 16, C: 64, O: 64, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	strided, point, wide, stem := spatial, spatial, spatial, spatial
	strided.SH, strided.SW = 2, 2
	point.KT, point.KH, point.KW, point.PT, point.PH, point.PW = 1, 1, 1, 0, 0, 0
	wide = point
	wide.C = 256
	stem.C, stem.KH, stem.KW, stem.PH, stem.PW = 3, 7, 7, 3, 3
	be := inBF16(t, 1)
	for _, c := range []struct {
		spec kernels.Spec
		want kernels.Precision
		form string
	}{
		{spatial, kernels.F32, "winograd F(4×4,3×3)"}, {kernels.ConvGradX{Conv: spatial}, kernels.F32, "winograd F(4×4,3×3)"},
		{kernels.ConvGradW{Conv: spatial}, kernels.F32, "winograd F(4×4,3×3)"}, {kernels.ConvGradWB{Conv: spatial}, kernels.F32, ""},
		{strided, kernels.BF16, "direct in bf16"}, {kernels.ConvGradX{Conv: strided}, kernels.BF16, "direct in bf16"},
		{point, kernels.F32, "direct"}, {wide, kernels.BF16, "direct in bf16"}, {kernels.ConvGEGLU{Conv: wide}, kernels.BF16, ""},
		{kernels.ConvGradX{Conv: wide}, kernels.F32, "direct"}, {kernels.ConvGradW{Conv: wide}, kernels.F32, "direct"}, {kernels.ConvGradGEGLU{Conv: wide}, kernels.F32, ""},
		{stem, kernels.F32, "fourier 14×22"},
	} {
		be.UseConvKernels(kernels.AutoKernels)
		if got, form := be.PrecisionFor(c.spec), be.FormOf(c.spec); got != c.want || form != c.form {
			t.Errorf("%s in %v by %q, want %v by %q", kernels.Name(c.spec), got, form, c.want, c.form)
		}
		be.UseConvKernels(kernels.ExactKernels)
		if got := be.PrecisionFor(c.spec); got != kernels.BF16 {
			t.Errorf("%s with exact kernels in %v", kernels.Name(c.spec), got)
		}
		f32 := kernels.NewCPU(1)
		if got := f32.PrecisionFor(c.spec); got != kernels.F32 {
			t.Errorf("%s in %v of a backend in float32", kernels.Name(c.spec), got)
		}
		f32.Close()
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
