//go:build emul && linux

package emul

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
)

// trials compiles kernels of one argument, float* y, and returns what runs one of them
// in two blocks of 64 threads on 64 zeros.
func trials(t *testing.T, sources []string) func(i int, order Order) ([]float32, error) {
	t.Helper()
	var main, table strings.Builder
	main.WriteString("#define SOURCE \"emul_shared_trials\"\n#include \"mma.h\"\nSHARED_OF(trials)\n")
	for i, source := range sources {
		fmt.Fprintf(&main, "extern \"C\" __global__ void k%d(float* y) {\n%s\n}\n", i, source)
		fmt.Fprintf(&table, "KERNEL(trials, k%d), ", i)
	}
	fmt.Fprintf(&main, "static const emul::Entry table[] = {%s};\nLIBRARY(table)\n", table.String())
	lib, err := Compile(t.TempDir(), main.String())
	if err != nil {
		t.Fatal(err)
	}
	return func(i int, order Order) ([]float32, error) {
		d, err := Load(lib, order)
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Function(fmt.Sprintf("k%d", i))
		if err != nil {
			t.Fatal(err)
		}
		y, err := d.Alloc(64)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Free(y)
		err = d.Launch(f, [3]uint32{2, 1, 1}, [3]uint32{64, 1, 1}, 256, binary.LittleEndian.AppendUint64(nil, y))
		got := make([]float32, 64)
		if err := d.Read(got, y); err != nil {
			t.Fatal(err)
		}
		return got, err
	}
}

// violation is the body of a kernel that must not run, and what its error must say.
type violation struct{ name, source, want string }

// mustReport runs each of the bodies with threads in every order.
func mustReport(t *testing.T, trials func(*testing.T, []string) func(int, Order) ([]float32, error), cases []violation) {
	t.Helper()
	var sources []string
	for _, c := range cases {
		sources = append(sources, c.source)
	}
	run := trials(t, sources)
	for i, c := range cases {
		for _, order := range []Order{Forward, Reverse, Shuffled} {
			if _, err := run(i, order); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %v: error %v, want one with %q", c.name, order, err, c.want)
			}
		}
	}
}

// valued is the body of a kernel and what it must give; NaN for what must not be there.
type valued struct {
	name, source string
	want         func(i int) float64
}

// mustGive runs each of the bodies with threads in every order.
func mustGive(t *testing.T, cases []valued) {
	t.Helper()
	var sources []string
	for _, c := range cases {
		sources = append(sources, c.source)
	}
	run := trials(t, sources)
	for i, c := range cases {
		for _, order := range []Order{Forward, Reverse, Shuffled} {
			got, err := run(i, order)
			if err != nil {
				t.Errorf("%s, %v: %v", c.name, order, err)
				continue
			}
			for i, v := range got {
				if want := c.want(i); float64(v) != want && !(v != v && want != want) {
					t.Errorf("%s, %v: value %d is %v, want %v", c.name, order, i, v, want)
					break
				}
			}
		}
	}
}

// What a kernel must not do is an error that says what and where.
func TestViolationsAreReported(t *testing.T) {
	cases := []violation{
		{"a barrier that half of the threads pass by", "if (threadIdx.x < 32) __syncthreads();",
			",0,0): hang: of 64 threads 32 wait at __syncthreads (line 5), 0 in a warp's collective, 32 have returned"},
		{"two barriers at once", "if (threadIdx.x < 32) __syncthreads(); else\n__syncthreads();", "barriers of lines"},
		{"a shuffle that a lane passes by", "if (threadIdx.x) y[threadIdx.x] = __shfl_xor_sync(~0u, 1.f, 1);", "hang: of 64 threads 0 wait at __syncthreads, 31 in a warp's collective, 33 have returned"},
		{"different masks", "__ballot_sync(threadIdx.x % 2 ? 0x3u : ~0u, 1);", "mask"},
		{"16 bytes read from between", "float4 v = *reinterpret_cast<const float4*>(y + 2); y[threadIdx.x] = v.x;", "an access of 16 bytes at an address that ends in 8"},
		{"16 bytes written between", "*reinterpret_cast<float4*>(y + 1) = {1, 2, 3, 4};", "an access of 16 bytes at an address that ends in 4"},
		{"8 bytes read from between", "float2 v = *reinterpret_cast<const float2*>(y + 1); y[threadIdx.x] = v.x;", "an access of 8 bytes at an address that ends in 4"},
		{"a shuffle from outside of the mask", "if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 1.f, 20);", "reads a lane outside of its mask"},
	}
	mustReport(t, trials, cases)
}

// Shared memory is NaN at the start of each block, barriers hold, collectives give
// what CUDA's give, and atomics add up.
func TestBlocks(t *testing.T) {
	cases := []valued{
		{"shared memory, unset", "__shared__ float s[64]; y[threadIdx.x] = s[threadIdx.x]; s[threadIdx.x] = 1;", func(int) float64 { return math.NaN() }},
		{"dynamic shared memory, unset", "DYNAMIC_SHARED(float, s); y[threadIdx.x] = s[threadIdx.x]; s[threadIdx.x] = 1;", func(int) float64 { return math.NaN() }},
		{"a barrier", "__shared__ float s[64]; s[threadIdx.x] = threadIdx.x; __syncthreads(); y[threadIdx.x] = s[63 - threadIdx.x];", func(i int) float64 { return float64(63 - i) }},
		{"exclusive or", "y[threadIdx.x] = __shfl_xor_sync(~0u, (float)threadIdx.x, 5);", func(i int) float64 { return float64(i ^ 5) }},
		{"down", "y[threadIdx.x] = __shfl_down_sync(~0u, (float)threadIdx.x, 30);", func(i int) float64 {
			if i%32 < 2 {
				return float64(i + 30)
			}
			return float64(i)
		}},
		{"half a warp", "if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_sync(0xffffu, (double)threadIdx.x, 3);", func(i int) float64 {
			if i%32 < 16 {
				return float64(i/32*32 + 3)
			}
			return 0
		}},
		{"ballot", "y[threadIdx.x] = __ballot_sync(~0u, threadIdx.x % 32 == 3 || threadIdx.x == 32);", func(i int) float64 {
			return []float64{8, 9}[i/32]
		}},
		{"atomics over both blocks", "atomicAdd(y, 1.f); atomicMax(y + 1, (float)threadIdx.x);", func(i int) float64 {
			if i < 2 {
				return []float64{128, 63}[i]
			}
			return 0
		}},
	}
	mustGive(t, cases)
}

// At least one order shows that a barrier is missing.
func TestOrdersShowMissingBarriers(t *testing.T) {
	sources := []string{
		"__shared__ float s[64]; s[threadIdx.x] = 1; y[threadIdx.x] = s[63 - threadIdx.x];",
		"__shared__ float s[64]; s[threadIdx.x] = 1; y[threadIdx.x] = s[threadIdx.x / 2];",
		"__shared__ float s[64]; s[threadIdx.x] = 1; y[threadIdx.x] = s[min(threadIdx.x * 2u, 63u)];",
	}
	run := trials(t, sources)
	for i, source := range sources {
		shown := false
		for _, order := range []Order{Forward, Reverse, Shuffled} {
			got, err := run(i, order)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range got {
				shown = shown || v != 1
			}
		}
		if !shown {
			t.Errorf("no order shows it: %s", source)
		}
	}
}

func TestLaunchChecksItsArguments(t *testing.T) {
	d := Open(Forward)
	f, err := d.Function("sum_values")
	if err != nil {
		t.Fatal(err)
	}
	one := [3]uint32{1, 1, 1}
	for _, c := range []struct {
		grid, block [3]uint32
		args        int
		want        string
	}{
		{one, one, 12, "takes 24 bytes of arguments, got 12"},
		{one, [3]uint32{1025, 1, 1}, 24, "1 to 1024 threads"},
		{[3]uint32{1, 65536, 1}, one, 24, "65535"},
		{[3]uint32{1, 0, 1}, one, 24, "a grid has"},
	} {
		if err := d.Launch(f, c.grid, c.block, 0, make([]byte, c.args)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	if _, err := d.Function("nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("error %v", err)
	}
}
