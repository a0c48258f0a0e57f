// hopper.cuh: instructions of compute capability 9.0a under their PTX names: mbarrier, TMA
// (cp.async.bulk.tensor), WGMMA and setmaxnreg. Shared memory addresses are 32-bit numbers,
// as in PTX. The emulator has its own definitions in emul/hopper.h.
#pragma once
#include <cstdint>

#ifdef __CUDACC__

// The operand's contiguous dimension: K, or M (of A) and N (of B).
enum class Major { K, MN };

// A tensor map of cuTensorMapEncodeTiled. A kernel takes it by value, as __grid_constant__.
struct alignas(64) TensorMap { uint64_t words[16]; };

__device__ inline unsigned smem_address(const void* p) { return __cvta_generic_to_shared(p); }

// A phase of the barrier completes when count threads have arrived and all expected bytes have
// been copied.
__device__ inline void mbarrier_init(unsigned address, unsigned count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(count) : "memory"); }

// Makes initialized barriers visible to the async proxy.
__device__ inline void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ inline void mbarrier_arrive(unsigned address) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address) : "memory"); }

// Arrives and adds bytes to those that the phase expects.
__device__ inline void mbarrier_arrive_expect_tx(unsigned address, unsigned bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes) : "memory"); }

// Waits until the phase of this parity is complete. The first phase has parity 0; waiting for
// parity 1 of a new barrier returns at once. A missing arrival would hang the device, so
// after 2^26 tries (about a second or more; a normal wait takes microseconds) a store to
// address 0 fails the launch. A trap instead would be an exit of the loop: ptxas then assumes
// diverged warps after it, and spills.
__device__ inline void mbarrier_wait(unsigned address, unsigned parity) {
  unsigned done, tries = 0;
  do asm volatile("{\n.reg .pred p, q;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%2], %3;\nselp.u32 %0, 1, 0, p;\n"
                  "add.u32 %1, %1, 1;\nsetp.eq.u32 q, %1, 1 << 26;\n@q st.global.u32 [%4], %1;\n}"
                  : "=r"(done), "+r"(tries) : "r"(address), "r"(parity), "l"(0ull) : "memory");
  while (!done);
}

// TMA load: copies the map's box at (c,w,h,t,n) to shared memory, zeros for coordinates
// outside of the tensor, and completes the box's bytes on the barrier.
__device__ inline void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int c, int w, int h, int t, int n) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];"
               ::"r"(to), "l"(map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(t), "r"(n) : "memory");
}

// A named barrier of the 128 threads of a warpgroup.
__device__ inline void warpgroup_sync(int warpgroup) { asm volatile("bar.sync %0, 128;" ::"r"(warpgroup + 1) : "memory"); }

// Orders register accesses before the next wgmma: required if accumulators were accessed since
// the last wgmma_wait.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits for all groups but the latest N. With N = 0 the accumulators d may be read.
template <int N>
__device__ inline void wgmma_wait(float (&d)[128]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
  if (N == 0)
#pragma unroll
    for (int i = 0; i < 128; i++) asm volatile("" : "+f"(d[i])::"memory");  // keeps the compiler from moving reads of d above the wait
}

#define FLOATS4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define FLOATS16(d, i) FLOATS4(d, i), FLOATS4(d, i + 4), FLOATS4(d, i + 8), FLOATS4(d, i + 12)
#define FLOATS64(d, i) FLOATS16(d, i), FLOATS16(d, i + 16), FLOATS16(d, i + 32), FLOATS16(d, i + 48)

// wgmma m64n256k16: d = a·b (+ d if accumulate), with bfloat16 operands a [64,16] and b
// [16,256] in shared memory, given by descriptors. Accumulator i of thread t of the warpgroup
// is at row 16·(t/32) + t%32/4 + 8·(i/2%2), column 8·(i/4) + 2·(t%4) + i%2.
template <Major MajorA, Major MajorB>
__device__ inline void wgmma(float (&d)[128], uint64_t a, uint64_t b, bool accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\nwgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"
      "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"
      "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"
      "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"
      "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, "
      "%128, %129, p, 1, 1, %131, %132;\n}"
      : FLOATS64(d, 0), FLOATS64(d, 64)
      : "l"(a), "l"(b), "r"(int(accumulate)), "n"(int(MajorA)), "n"(int(MajorB)));
}

// Changes the registers per thread of a warpgroup to N.
template <int N>
__device__ inline void setmaxnreg_inc() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N>
__device__ inline void setmaxnreg_dec() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

#endif

// The shared memory descriptor of an operand that TMA loaded with the 128-byte swizzle: rows
// of 64 values, 128 bytes apart. Offsets are in bytes. K-major: stride is the offset between
// groups of 8 rows (1024 if dense), leading is unused. MN-major: leading is the offset between
// groups of 64 rows (M or N), stride that between groups of 8 k.
__device__ inline uint64_t smem_descriptor(unsigned address, unsigned leading, unsigned stride) {
  return uint64_t(address >> 4 & 0x3fff) | uint64_t(leading >> 4) << 16 | uint64_t(stride >> 4) << 32 | uint64_t(1) << 62;
}
