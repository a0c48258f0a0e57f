//go:build emul && linux

package emul

import (
	"math"
	"testing"
)

// matrices are shared arrays of bfloat16, and their product in d as fragments say.
// a[i,k] = i + 16·(k mod 3), b[k,n] = k - n: whole numbers below 2^7, exact.
const matrices = `
  __shared__ unsigned short a[16 * 16], at[16 * 16], b[16 * 8], bt[8 * 16];
  unsigned lane = threadIdx.x % 32, quad = lane / 4, pair = lane % 4 * 2;
  auto bf16 = [](int v) { return (unsigned short)(__float_as_uint(v) >> 16); };
  if (threadIdx.x == 0)
    for (int k = 0; k < 16; k++) {
      for (int i = 0; i < 16; i++) at[k * 16 + i] = a[i * 16 + k] = bf16(i + 16 * (k % 3));
      for (int n = 0; n < 8; n++) b[k * 8 + n] = bt[n * 16 + k] = bf16(k - n);
    }
  __syncthreads();
  unsigned ra[4], both[4], rb[2];
  float d[4] = {1000, 1000, 1000, 1000};
  unsigned i = lane / 8, j = lane % 8;
`

// upper writes rows 0 to 7 of d, lower the others, to y[8,8].
const (
	upper = "y[quad * 8 + pair] = d[0]; y[quad * 8 + pair + 1] = d[1];"
	lower = "y[quad * 8 + pair] = d[2]; y[quad * 8 + pair + 1] = d[3];"
)

// entry is value i of rows from first on of 1000 + a·b.
func entry(first int) func(i int) float64 {
	return func(i int) float64 {
		sum := 1000.
		for k := range 16 {
			sum += float64(first+i/8+16*(k%3)) * float64(k-i%8)
		}
		return sum
	}
}

// Matrix instructions and asynchronous copies do what the PTX manual says.
func TestMatrices(t *testing.T) {
	const (
		loadA  = "ldmatrix_x4<false>(ra, a + (i % 2 * 8 + j) * 16 + i / 2 * 8);"
		loadAT = "ldmatrix_x4<true>(ra, at + (i / 2 * 8 + j) * 16 + i % 2 * 8);"
		loadB  = "ldmatrix_x4<false>(both, bt + j * 16 + i % 2 * 8); rb[0] = both[0], rb[1] = both[1];"
		loadBT = "ldmatrix_x4<true>(both, b + (i % 2 * 8 + j) * 8); rb[0] = both[0], rb[1] = both[1];"
		times  = "mma_m16n8k16(d, ra, rb[0], rb[1]);"
	)
	is := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	// one gives a 1 to two values of fragments, 0 to the others: d is 1 in one place.
	one := func(la, ra, ha, lb, rb, hb string) string {
		return `unsigned a[4] = {}, b[2] = {}; float d[4] = {}; unsigned lane = threadIdx.x % 32, quad = lane / 4, pair = lane % 4 * 2;
		if (lane == ` + la + `) a[` + ra + `] = 0x3f80u << ` + ha + `; if (lane == ` + lb + `) b[` + rb + `] = 0x3f80u << ` + hb + `; mma_m16n8k16(d, a, b[0], b[1]);`
	}
	at := func(place int) func(int) float64 {
		return func(i int) float64 {
			if i == place {
				return 1
			}
			return 0
		}
	}
	cases := []valued{
		{"a product, upper half", matrices + loadA + loadB + times + upper, entry(0)},
		{"a product, lower half", matrices + loadA + loadB + times + lower, entry(8)},
		{"of transposed matrices", matrices + loadAT + loadBT + times + upper, entry(0)},
		{"of transposed matrices, lower half", matrices + loadAT + loadBT + times + lower, entry(8)},
		// a[2,5] of lane 10, register 0, upper half; b[5,6] of lane 26.
		{"places in fragments", one("10", "0", "16", "26", "0", "16") + upper, at(2*8 + 6)},
		// a[11,12] of lane 14, register 3, lower half; b[12,1] of lane 6, register 1.
		{"places in the other half", one("14", "3", "0", "6", "1", "0") + lower, at(3*8 + 1)},
		{"other terms of the sum", one("14", "2", "0", "6", "0", "0") + upper, is(0)},
		// 1 + 1.5·2^-24 would round to 1 + 2^-23.
		{"sums cut off", "float d[4] = {1, -1, 1, -1}; unsigned a[4] = {0x3980, 0x3980, 0, 0}, lane = threadIdx.x % 32; mma_m16n8k16(d, a, lane % 4 ? 0 : lane / 4 % 2 ? 0xb9c0 : 0x39c0, 0); y[threadIdx.x] = d[0] - d[1] - 2;", is(0)},
		{"a copy, waited for", copies + "cp_async_wait<0>(); y[threadIdx.x] = s[threadIdx.x * 4];", func(i int) float64 { return float64(i + 1) }},
		{"a copy of nothing", copies + "cp_async(s + threadIdx.x * 4, x, false); cp_async_commit(); cp_async_wait<0>(); y[threadIdx.x] = s[threadIdx.x * 4];", is(0)},
		{"a copy, not waited for", copies + "cp_async_commit(); cp_async_wait<2>(); y[threadIdx.x] = s[threadIdx.x * 4]; cp_async_wait<0>();", is(math.NaN())},
		{"the older of two groups", copies + "cp_async_commit(); cp_async_wait<1>(); y[threadIdx.x] = s[threadIdx.x * 4];", func(i int) float64 { return float64(i + 1) }},
		{"copies of no group", "static __attribute__((aligned(16))) float x[4] = {1}; __shared__ float s[256]; cp_async(s + threadIdx.x * 4, x, true); cp_async_wait<0>(); y[threadIdx.x] = s[threadIdx.x * 4]; cp_async_commit(); cp_async_wait<0>();", is(math.NaN())},
	}
	mustGive(t, cases)
}

// copies has each thread copy four values of x, the first of them its number plus 1.
const copies = `
  static __attribute__((aligned(16))) float x[256];
  __shared__ float s[256];
  x[threadIdx.x * 4] = threadIdx.x + 1;
  cp_async(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
  cp_async_commit();
`

func TestMisuseOfMatricesIsReported(t *testing.T) {
	cases := []violation{
		{"copies that nobody waits for", copies, "returns without waiting for its cp.async"},
		{"a copy from anywhere", "static __attribute__((aligned(16))) float x[8]; __shared__ float s[8]; cp_async(s, x + 1, true);", "multiple of 16"},
		{"a copy to anywhere", "static __attribute__((aligned(16))) float x[8]; __shared__ float s[8]; cp_async(s + 2, x, true);", "multiple of 16"},
		{"a copy of 4 bytes from anywhere", "static __attribute__((aligned(16))) char x[8]; __shared__ float s[8]; cp_async4(s, x + 2, true);", "multiple of 4"},
		{"a matrix at any place", matrices + "ldmatrix_x4<false>(ra, a + 1);", "multiple of 16"},
		{"a product of half a warp", matrices + "if (lane < 16) { rb[0] = rb[1] = ra[0] = ra[1] = ra[2] = ra[3] = 0; mma_m16n8k16(d, ra, rb[0], rb[1]); }", "32 in a warp's collective"},
		{"two instructions at once", matrices + "if (lane < 16) ldmatrix_x4<false>(ra, a); else ldmatrix_x4<true>(ra, a);", "different masks or collectives"},
	}
	mustReport(t, trials, cases)
}
