// packed.cuh: elementwise kernels whose threads process 8 contiguous values each.
#pragma once
#include "common.cuh"

// Whether all pointers allow 16-byte access. Views into the parameter arena need not.
template <class... P>
__device__ inline bool aligned(const P*... p) {
  return ((... | (size_t)p) & 15) == 0;
}

// The values from index i: 8 with vectorized access (FULL), or count <= 8 one at a time.
template <bool FULL>
struct Packed8 {
  unsigned i, count;

  __device__ bool has(unsigned e) const { return FULL || e < count; }

  // Values past count are 0.
  template <class T>
  __device__ void load(float (&v)[8], const T* x) const {
    if constexpr (FULL) {
      load8(v, x + i);
    } else {
#pragma unroll
      for (unsigned e = 0; e < 8; e++) v[e] = has(e) ? ::load(x[i + e]) : 0;
    }
  }

  template <class T>
  __device__ void store(T* y, const float (&v)[8]) const {
    if constexpr (FULL) {
      store8(y + i, v);
    } else {
#pragma unroll
      for (unsigned e = 0; e < 8; e++)
        if (has(e)) y[i + e] = as<T>(v[e]);
    }
  }
};

// Calls f with the Packed8 at index i of n values; wide: pointers are aligned.
template <class F>
__device__ inline void packed8(unsigned i, unsigned n, bool wide, F f) {
  if (wide && i + 8 <= n)
    f(Packed8<true>{i, 8});
  else if (i < n)
    f(Packed8<false>{i, min(8u, n - i)});
}

// Calls f with this thread's Packed8 of n values.
template <class F>
__device__ inline void elementwise8(unsigned n, bool wide, F f) {
  packed8(8 * global_thread_id(), n, wide, f);
}
