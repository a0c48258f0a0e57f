// Sums, always in the same order: no atomics.
//
//   sum_rows      y[g,c] = sum of x[r,c] over the rows of group g (column_sums)
//   sum_values    y[b] = sum of x over chunk b; a block has a chunk
//   sum_squares   y[b] = sum of x² over chunk b
//   weighted_sum  y = sum of w_i·x_i, i < n <= 4; one thread
//   spread        dx_i = w_i·dy; a thread each
//
// A long sum takes two launches: parts, then the sum of the parts.
// Definition: reduce.go.
#include "group.cuh"

template <class T>
__device__ inline void sum_of_rows(float* y, const T* x, unsigned rows, unsigned columns, unsigned group, float* part) {
  wide_column_sums(y, rows, columns, group, part, [=](auto& v, unsigned r, unsigned c) { load_values(v, x + (size_t)r * columns + c); });
}

extern "C" __global__ void __launch_bounds__(256) sum_rows(float* y, const float* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 256];
  sum_of_rows(y, x, rows, columns, group, part);
}

extern "C" __global__ void __launch_bounds__(256) sum_rows_half(float* y, const bfloat* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 256];
  sum_of_rows(y, x, rows, columns, group, part);
}

// chunk is a multiple of 8.
template <class F>
__device__ inline void chunk_sum(float* y, const float* x, unsigned n, unsigned chunk, float* part, F f) {
  unsigned from = blockIdx.x * chunk, to = min(n, from + chunk);
  bool wide = aligned(x);
  float sums[8] = {};
#pragma unroll 4
  for (unsigned i = from + 8 * threadIdx.x; i < to; i += 8 * blockDim.x)
    group(i, to, wide, [&](auto at) {
      float v[8];
      at.load(v, x);
#pragma unroll
      for (int e = 0; e < 8; e++) sums[e] += f(v[e]);
    });
  float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

extern "C" __global__ void sum_values(float* y, const float* x, unsigned n, unsigned chunk) {
  __shared__ float part[32];
  chunk_sum(y, x, n, chunk, part, [](float v) { return v; });
}

extern "C" __global__ void sum_squares(float* y, const float* x, unsigned n, unsigned chunk) {
  __shared__ float part[32];
  chunk_sum(y, x, n, chunk, part, [](float v) { return v * v; });
}

extern "C" __global__ void weighted_sum(float* y, const float* x, unsigned n, float w0, float w1, float w2, float w3) {
  const float w[4] = {w0, w1, w2, w3};
  double sum = 0;
  for (unsigned i = 0; i < n; i++) sum += (double)w[i] * x[i];
  y[0] = (float)sum;
}

extern "C" __global__ void spread(float* dx, const float* dy, unsigned n, float w0, float w1, float w2, float w3) {
  const float w[4] = {w0, w1, w2, w3};
  unsigned i = threadIdx.x;
  if (i < n) dx[i] = w[i] * dy[0];
}
