// mma.cuh: copies and products in hardware, from compute capability 8.0 on. The
// emulator has these functions in emul/mma.h.
#pragma once

#ifdef __CUDACC__
// Copies 16 bytes of global into shared memory; unless inside, zeros, whatever lies at
// from. The line of 128 bytes comes to the second cache. Both addresses are multiples of 16. The bytes have arrived when copy_wait says
// so, for other threads after a barrier.
__device__ inline void copy_async(void* to, const void* from, bool inside) {
  unsigned address = __cvta_generic_to_shared(to), bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

// Ends a group of copies.
__device__ inline void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all but the last Groups groups of this thread.
template <int Groups>
__device__ inline void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory"); }

// Loads four 8×8 matrices of 16-bit values, transposed or not. Lane 8i+j gives the
// address of row j of the i-th.
template <bool Transposed>
__device__ inline void load_matrices(unsigned (&r)[4], const void* row) {
  unsigned address = __cvta_generic_to_shared(row);
  if (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// d[16,8] += a[16,16]·b[16,8], a and b in bfloat16.
__device__ inline void multiply_add(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif
