package gpu

import (
	"slices"
	"testing"

	"magvit/kernels"
)

// A convolution on tensor cores: both operands are read in float32 and written in
// bfloat16, half the size, then read again; channels of weights fill up chunks of 8.
func TestLaunches(t *testing.T) {
	s := cube(1, 1, 16, 16, 64, 60, 1, 1)
	const pixels, weights = 256 * 64, 60 * 64
	got, err := Launches(s, kernels.BF16, hopper)
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
	got, err = Launches(kernels.SumRows{Rows: 7, C: 3}, kernels.F32, "sm_80")
	if want := []Launch{{"sum_rows", 4 * (21 + 3), false}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
