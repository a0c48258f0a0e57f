// Operands of products in bfloat16. All of it is precision.go's RoundBF16, and moves.
//
//   round_bf16      y[i] = x[i] rounded, still a float32
//
// A thread makes one value.
#include "common.cuh"

// The upper half of the bits of the bfloat16 nearest to x, ties to the even one.
__device__ inline unsigned bf16(float x) {
  unsigned u = __float_as_uint(x);
  return (x != x ? u | 1u << 22 : u + 0x7fff + (u >> 16 & 1)) >> 16;
}

extern "C" __global__ void round_bf16(float* y, const float* x, unsigned n) {
  unsigned i = thread_number();
  if (i < n) y[i] = __uint_as_float(bf16(x[i]) << 16);
}
