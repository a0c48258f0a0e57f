package kernels_test

import (
	"reflect"
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
				p, err := kernels.LaunchesOf(c.Spec, precision, arch)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range p.List {
					most = max(most, l.Shared)
					if n := l.Block[0] * l.Block[1] * l.Block[2]; l.Shared > shared<<10 || n < 1 || n > 1024 {
						t.Errorf("%s on %s: %s has %d bytes of shared memory and %d threads", c, arch, l.Kernel, l.Shared, n)
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
func TestTraffic(t *testing.T) {
	s := kernels.Conv{N: 1, T: 1, H: 16, W: 16, C: 64, O: 60, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	const pixels, weights = 256 * 64, 60 * 64
	strided := kernels.Conv{N: 1, T: 1, H: 32, W: 32, C: 64, O: 64, KT: 1, KH: 3, KW: 3, ST: 1, SH: 2, SW: 2, DT: 1, PH: 1, PW: 1}
	phase := kernels.Traffic{Kernel: "conv_grad_x_sm90a", Bytes: 2*1024*64/4 + 2*256*64 + 2*9*64*64} // a quarter of dx, all of dy and w
	for _, c := range []struct {
		spec      kernels.Spec
		precision kernels.Precision
		arch      string
		want      []kernels.Traffic
	}{
		{s, kernels.BF16, "sm_90", []kernels.Traffic{
			{Kernel: "pack_bf16", Bytes: 6 * pixels, Passes: true}, {Kernel: "pack_bf16", Bytes: 6 * weights, Passes: true},
			{Kernel: "conv_sm90a", Bytes: 2*pixels + 2*weights + 4*60 + 4*256*60},
		}},
		{kernels.StoreAllBF16(kernels.ConvGradX{Conv: strided}), kernels.BF16, "sm_90", []kernels.Traffic{phase, phase, phase, phase}},
		{kernels.StoreAllBF16(kernels.Add{Len: 7}), kernels.BF16, "sm_90", []kernels.Traffic{{Kernel: "add_half", Bytes: 3 * 16}}},
		{kernels.AdamW{Len: 16}, kernels.F32, "sm_80", []kernels.Traffic{{Kernel: "adam_w", Bytes: 4 * (2*4*16 + 16 + 1 + kernels.HyperLen)}}}, // p, m, v, ema are read and written
		{kernels.AdamW{Len: 16, EMAEvery: 4}, kernels.F32, "sm_80", []kernels.Traffic{{Kernel: "adam_w", Bytes: 4 * (2*3*16 + 2*16/4 + 16 + 1 + kernels.HyperLen)}}},
		{kernels.RunningUpdate{Len: 16, Rate: .5}, kernels.F32, "sm_80", []kernels.Traffic{{Kernel: "running_update", Bytes: 4 * (2*16 + 16 + 1)}}},
		{kernels.SumRows{Rows: 7, C: 3}, kernels.F32, "sm_80", []kernels.Traffic{{Kernel: "sum_rows", Bytes: 4 * (21 + 3)}}},
	} {
		l, err := kernels.LaunchesOf(c.spec, c.precision, c.arch)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Traffic(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", kernels.Name(c.spec), got, c.want)
		}
	}
}

// The precision is that of products; everything else runs as in float32.
func TestOnlyProductsDependOnThePrecision(t *testing.T) {
	for _, c := range kerneltest.Cases() {
		f32, err := kernels.LaunchesOf(c.Spec, kernels.F32, "")
		if err != nil {
			t.Fatal(err)
		}
		bf16, err := kernels.LaunchesOf(c.Spec, kernels.BF16, "")
		if err != nil {
			t.Fatal(err)
		}
		if same, product := reflect.DeepEqual(f32.List, bf16.List), kernels.RoundedArgs(c.Spec) != nil; same == product {
			t.Errorf("%v: the same launches in both precisions: %v", c, same)
		}
	}
}
