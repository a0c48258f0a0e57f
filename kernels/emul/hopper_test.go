//go:build emul && linux

package emul

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"magvit/kernels"
)

// hopperRows and hopperChannels are the size of the tensor that hopperTrials copies
// from: value (r,c) is (7r+3c)%16-8, exact in bfloat16.
const hopperRows, hopperChannels = 300, 80

func hopperValue(r, c int) float64 {
	if r < 0 || r >= hopperRows || c < 0 || c >= hopperChannels {
		return 0
	}
	return float64((7*r+3*c)%16 - 8)
}

// hopperTrials compiles kernels of a map m of boxes of 64 rows of 64 values and float*
// y, with the ring's address in ring and threads 0 to 255, and returns what runs one of
// them in a block on 64·256 zeros.
func hopperTrials(t *testing.T, sources []string) func(i int, order Order) ([]float32, error) {
	t.Helper()
	var main, table strings.Builder
	main.WriteString("#define SOURCE \"emul_shared_trials\"\n#include \"emul.h\"\n#include \"hopper.h\"\n#include \"../hopper.cuh\"\nSHARED_OF(trials)\n")
	for i, source := range sources {
		fmt.Fprintf(&main, `extern "C" __global__ void k%d(const __grid_constant__ TensorMap m, float* y) {
  DYNAMIC_SHARED(char, memory);
  unsigned thread = threadIdx.x, ring = (smem_address(memory) + 1023) / 1024 * 1024, bar = ring + 48 * 1024;
  if (thread == 0) { mbarrier_init(bar, 1), mbarrier_init(bar + 8, 4); fence_proxy_async(); }
  __syncthreads();
  float d[128];
  (void)d, (void)bar, (void)thread, (void)m;
  // Copies five boxes of 64 rows to the ring: the first from (r,c), then four from (0,0) on.
  auto copies = [&](int r, int c, unsigned bytes) {
    if (thread) return;
    mbarrier_arrive_expect_tx(bar, bytes);
    for (int i = 0; i < 5; i++) tma_load(ring + i * 8192, &m, bar, i ? 0 : c, i ? i * 64 - 64 : r, 0, 0, 0);
  };
  auto store = [&] {
    for (int i = 0; i < 128; i++) y[(thread / 32 * 16 + thread %% 32 / 4 + i / 2 %% 2 * 8) * 256 + i / 4 * 8 + thread %% 4 * 2 + i %% 2] = d[i];
  };
  (void)copies, (void)store;
  %s
}
`, i, source)
		fmt.Fprintf(&table, "KERNEL(trials, k%d), ", i)
	}
	fmt.Fprintf(&main, "static const emul::Entry table[] = {%s};\nLIBRARY(table)\n", table.String())
	dir := t.TempDir()
	if err := os.CopyFS(dir, kernels.Source); err != nil { // for hopper.cuh
		t.Fatal(err)
	}
	lib, err := Compile(dir, main.String())
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
		x, err := d.Alloc(hopperRows * hopperChannels / 2)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Free(x)
		pairs := make([]float32, hopperRows*hopperChannels/2)
		for j := range pairs {
			half := func(i int) uint32 {
				return math.Float32bits(float32(hopperValue(i/hopperChannels, i%hopperChannels))) >> 16
			}
			pairs[j] = math.Float32frombits(half(2*j) | half(2*j+1)<<16)
		}
		if err := d.Write(x, pairs); err != nil {
			t.Fatal(err)
		}
		y, err := d.Alloc(64 * 256)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Free(y)
		row := uint64(2 * hopperChannels)
		m, err := d.TensorMap(x, []uint64{hopperChannels, hopperRows, 1, 1, 1}, []uint64{row, row * hopperRows, row * hopperRows, row * hopperRows}, []uint32{64, 64, 1, 1, 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = d.Launch(f, [3]uint32{1, 1, 1}, [3]uint32{256, 1, 1}, 60<<10, binary.LittleEndian.AppendUint64(m[:], y))
		got := make([]float32, 64*256)
		if err := d.Read(got, y); err != nil {
			t.Fatal(err)
		}
		return got, err
	}
}

const allBytes = "5 * 8192"

// A wgmma of the first warpgroup reads swizzled boxes as K-major and MN-major operands. The
// part of a box outside of the tensor is 0.
func TestWGMMA(t *testing.T) {
	const product = `copies(%d, %d, ` + allBytes + `);
  if (thread >= 128) return;
  mbarrier_wait(bar, 0);
  wgmma_fence();
  for (int k = 0; k < 4; k++) wgmma<Major::%v, Major::%v>(d, smem_descriptor(ring + k * %d, 8192, 1024), smem_descriptor(ring + 8192 + k * %d, 8192, 1024), k > 0);
  wgmma_commit();
  wgmma_wait<0>(d);
  store();`
	step := map[string]int{"K": 32, "MN": 2048} // bytes from 16 k to the next
	type c struct {
		r, c           int
		majorA, majorB string
	}
	cases := []c{{0, 0, "K", "K"}, {9, 3, "MN", "K"}, {-5, -9, "K", "MN"}, {290, 70, "MN", "MN"}}
	var sources []string
	for _, c := range cases {
		sources = append(sources, fmt.Sprintf(product, c.r, c.c, c.majorA, c.majorB, step[c.majorA], step[c.majorB]))
	}
	run := hopperTrials(t, sources)
	for i, c := range cases {
		for _, order := range []Order{Forward, Reverse, Shuffled} {
			got, err := run(i, order)
			if err != nil {
				t.Fatalf("%+v, %v: %v", c, order, err)
			}
			for j, v := range got {
				want := 0.
				for k := range 64 {
					a, b := hopperValue(c.r+j/256, c.c+k), hopperValue(j%256, k)
					if c.majorA == "MN" {
						a = hopperValue(c.r+k, c.c+j/256)
					}
					if c.majorB == "MN" { // 64 columns from each box
						b = hopperValue(j%256/64*64+k, j%64)
					}
					want += a * b
				}
				if float64(v) != want {
					t.Errorf("%+v, %v: value %d,%d is %v, want %v", c, order, j/256, j%256, v, want)
					break
				}
			}
		}
	}
}

// Misuse of TMA, mbarriers and WGMMA is reported as an error.
func TestHopperViolationsAreReported(t *testing.T) {
	const all = "copies(0, 0, " + allBytes + "); "
	const group = "if (thread >= 128) return; mbarrier_wait(bar, 0); "
	const multiply = "wgmma<Major::K, Major::K>(d, smem_descriptor(ring, 1, 1024), smem_descriptor(ring + 8192, 1, 1024), false); "
	cases := []violation{
		{"a wait for nobody", "mbarrier_wait(bar, 0);", "hang: of 256 threads 0 wait at __syncthreads, 0 in a warp's collective, 256 at an mbarrier"},
		{"a wait at no barrier", "mbarrier_wait(bar + 16, 0);", "there is no mbarrier"},
		{"a second arrival", all + "if (thread == 0) mbarrier_arrive(bar);", "more threads arrive"},
		{"a barrier inside of another", "if (thread == 0) mbarrier_init(bar + 4, 1);", "not at 8 bytes"},
		{"a barrier that copies do not see", "if (thread == 0) mbarrier_init(bar + 16, 1), tma_load(ring, &m, bar + 16, 0, 0, 0, 0, 0);", "not fenced"},
		{"a copy that nobody waits for", all, "the block ends while 5 copies are in flight"},
		{"a copy where one is writing", all + "if (thread == 0) tma_load(ring, &m, bar, 0, 0, 0, 0, 0);", "a copy to 0x400 while another one is writing there"},
		{"a copy to the middle of a swizzle", "if (thread == 0) tma_load(ring + 128, &m, bar, 0, 0, 0, 0, 0);", "starts at 1024 bytes"},
		{"a copy over a barrier", "if (thread == 0) tma_load(ring + 44 * 1024, &m, bar, 0, 0, 0, 0, 0);", "over an mbarrier"},
		{"a copy beyond the end", "if (thread == 0) tma_load(ring + 56 * 1024, &m, bar, 0, 0, 0, 0, 0);", "shared memory ends before"},
		{"fewer bytes expected than come", "copies(0, 0, 8192); " + group + "wgmma_fence(); " + multiply, ""},
		{"more bytes expected than come", "copies(0, 0, 6 * 8192); mbarrier_wait(bar, 0);", "hang"},
		{"a wgmma of data in flight", all + "if (thread >= 128) return; wgmma_fence(); " + multiply, "while a copy is writing it"},
		{"a copy where a wgmma reads", all + group + "wgmma_fence(); " + multiply + "wgmma_commit(); copies(0, 0, " + allBytes + ");", "while a wgmma is reading there"},
		{"a wgmma without a fence", all + group + multiply, "without wgmma_fence"},
		{"a wgmma that nobody waits for", all + group + "wgmma_fence(); " + multiply + "wgmma_commit();", "the block ends before its wgmmas"},
		{"a wgmma that is not committed", all + group + "wgmma_fence(); " + multiply + "wgmma_wait<0>(d);", "the block ends before its wgmmas"},
		{"a wgmma of half a warpgroup", all + group + "wgmma_fence(); if (thread < 64) " + multiply, "hang"},
		{"two wgmmas at once", all + group + "wgmma_fence(); wgmma<Major::K, Major::K>(d, smem_descriptor(ring + thread / 32 * 32, 1, 1024), smem_descriptor(ring + 8192, 1, 1024), false);", "threads of a warpgroup meet at wgmma"},
		{"an operand that starts within a row", all + group + "wgmma_fence(); wgmma<Major::K, Major::K>(d, smem_descriptor(ring + 128, 1, 1024), smem_descriptor(ring + 8192, 1, 1024), false);", "does not start with a row"},
		{"more registers than there are", "setmaxnreg_inc<256>(); if (thread >= 128) setmaxnreg_inc<264>();", "66560 registers, an SM has 65536"},
	}
	mustReport(t, hopperTrials, cases)
}

// Accumulators are NaN until wgmma_wait.
func TestAccumulatorsAreUndefinedBeforeWait(t *testing.T) {
	run := hopperTrials(t, []string{`copies(0, 0, ` + allBytes + `);
  if (thread >= 128) return;
  mbarrier_wait(bar, 0);
  wgmma_fence();
  wgmma<Major::K, Major::K>(d, smem_descriptor(ring, 1, 1024), smem_descriptor(ring + 8192, 1, 1024), false);
  wgmma_commit();
  wgmma_wait<1>(d);
  store();
  wgmma_wait<0>(d);`})
	got, err := run(0, Forward)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v == v {
			t.Fatalf("value %d is %v, want NaN", i, v)
		}
	}
}

// A map is refused for what cuTensorMapEncodeTiled refuses.
func TestTensorMapChecksItsArguments(t *testing.T) {
	d := Open(Forward)
	good := func() (uint64, []uint64, []uint64, []uint32, []uint32) {
		return 1 << 20, []uint64{64, 8, 1, 1, 1}, []uint64{128, 1024, 1024, 1024}, []uint32{64, 8, 1, 1, 1}, []uint32{1, 2, 1, 8, 1}
	}
	if a, dims, strides, box, steps := good(); true {
		if _, err := d.TensorMap(a, dims, strides, box, steps); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		spoil      func(address *uint64, dims, strides []uint64, box, steps []uint32)
	}{
		{"address", "multiple of 16", func(a *uint64, _, _ []uint64, _, _ []uint32) { *a += 8 }},
		{"stride", "multiples of 16", func(_ *uint64, _, s []uint64, _, _ []uint32) { s[1] += 8 }},
		{"wide stride", "below 2^40", func(_ *uint64, _, s []uint64, _, _ []uint32) { s[3] = 1 << 40 }},
		{"no values", "1 to 2^32", func(_ *uint64, d, _ []uint64, _, _ []uint32) { d[2] = 0 }},
		{"large box", "1 to 256", func(_ *uint64, _, _ []uint64, b, _ []uint32) { b[1] = 257 }},
		{"wide box", "up to 128", func(_ *uint64, _, _ []uint64, b, _ []uint32) { b[0] = 72 }},
		{"wide step", "1 to 8", func(_ *uint64, _, _ []uint64, _, s []uint32) { s[3] = 9 }},
		{"step inside", "1 inside", func(_ *uint64, _, _ []uint64, _, s []uint32) { s[0] = 2 }},
		{"half a chunk", "multiple of 16", func(_ *uint64, _, _ []uint64, b, _ []uint32) { b[0] = 12 }},
	} {
		a, dims, strides, box, steps := good()
		c.spoil(&a, dims, strides, box, steps)
		if _, err := d.TensorMap(a, dims, strides, box, steps); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
