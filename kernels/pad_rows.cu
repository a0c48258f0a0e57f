// Rows of another length: y[r,c] = x[r,c] for c < from, else 0.
//
// One thread per 8 values of y, n in all. In bfloat16 it rounds them.
//
// Definition: pad_rows.go.
#include "packed.cuh"

template <class T>
__device__ inline void pad_rows_of(T* y, const float* x, unsigned n, unsigned from, unsigned to) {
  bool whole = from == to && aligned(x);
  elementwise8(n, aligned(y), [=](auto at) {
    float v[8];
    if (whole) {
      at.load(v, x);
    } else {
#pragma unroll
      for (unsigned e = 0; e < 8; e++) {
        unsigned r = (at.i + e) / to, c = (at.i + e) % to;
        v[e] = at.has(e) && c < from ? x[(size_t)r * from + c] : 0;
      }
    }
    at.store(y, v);
  });
}

extern "C" __global__ void pad_rows(float* y, const float* x, unsigned n, unsigned from, unsigned to) { pad_rows_of(y, x, n, from, to); }
extern "C" __global__ void pad_rows_half(bfloat* y, const float* x, unsigned n, unsigned from, unsigned to) { pad_rows_of(y, x, n, from, to); }
