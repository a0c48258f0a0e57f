// mma.cuh: cp.async, ldmatrix and mma.sync, for compute capability 8.0 and higher. The
// emulator has its own definitions in emul/mma.h.
#pragma once

#ifdef __CUDACC__
// Copies 16 bytes from global to shared memory, or writes zeros if not inside: from is then
// not read. Prefetches the 128-byte line into L2. Both addresses are multiples of 16. The
// bytes are visible to this thread after cp_async_wait, to others after a barrier too.
__device__ inline void cp_async(void* to, const void* from, bool inside) {
  unsigned address = __cvta_generic_to_shared(to), bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

// The same of 4 bytes, of addresses that are multiples of 4.
__device__ inline void cp_async4(void* to, const void* from, bool inside) {
  unsigned address = __cvta_generic_to_shared(to), bytes = inside ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}

// Closes the current group of copies.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all groups of this thread but the latest Groups.
template <int Groups>
__device__ inline void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory"); }

// ldmatrix.x4: loads four 8×8 matrices of 16-bit values, transposed or not. Lane 8i+j passes
// the address of row j of matrix i.
template <bool Transposed>
__device__ inline void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  unsigned address = __cvta_generic_to_shared(row);
  if (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// d[16,8] += a[16,16]·b[16,8], a and b bfloat16, d float32.
__device__ inline void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
#endif
