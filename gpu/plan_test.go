package gpu

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// No launch asks for more than a block may have of an architecture that make gpu compiles
// for, in the CUDA programming guide's table: shared memory, threads.
func TestLaunchesFitTheirArchitecture(t *testing.T) {
	cases := slices.Concat(kerneltest.Cases(), kerneltest.Wide(), kerneltest.Bench())
	for arch, shared := range map[string]int{"sm_80": 163, "sm_86": 99, "sm_89": 99, "sm_90": 227, "sm_100": 227, "sm_120": 99} {
		most := 0
		for _, precision := range []kernels.Precision{kernels.F32, kernels.BF16} {
			for _, c := range cases {
				p, err := plan(c.Spec, precision, arch)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range p.launches {
					most = max(most, l.shared)
					if n := l.block[0] * l.block[1] * l.block[2]; l.shared > shared<<10 || n < 1 || n > 1024 {
						t.Errorf("%s on %s: %s has %d bytes of shared memory and %d threads", c, arch, l.kernel, l.shared, n)
					}
				}
			}
		}
		if most == 0 {
			t.Errorf("%s: no launch has shared memory", arch)
		}
	}
}

// A convolution on tensor cores: both operands are read in float32 and written in
// bfloat16, half the size, then read again; channels of weights fill up chunks of 8.
func TestLaunches(t *testing.T) {
	s := cube(1, 1, 16, 16, 64, 60, 1, 1)
	const pixels, weights = 256 * 64, 60 * 64
	got, _, err := Launches(s, kernels.BF16, hopper)
	if err != nil {
		t.Fatal(err)
	}
	want := []Launch{
		{"pack_bf16", 6 * pixels, true}, {"pack_bf16", 6 * weights, true},
		{"conv_sm90a", 2*pixels + 2*weights + 4*60 + 4*256*60, false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	got, _, err = Launches(kernels.Stored{Spec: kernels.Add{Len: 7}, Half: 7}, kernels.BF16, hopper)
	if want := []Launch{{"add_half", 3 * 16, false}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	got, _, err = Launches(kernels.SumRows{Rows: 7, C: 3}, kernels.F32, "sm_80")
	if want := []Launch{{"sum_rows", 4 * (21 + 3), false}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
