// Sums, always in the same order: no atomics.
//
//   sum_rows      y[g,c] = sum of x[r,c] over the rows of group g (column_sums)
//   sum_squares   y[b] = sum of x² over chunk b; a block has a chunk
//   weighted_sum  y = sum of w_i·x_i, i < n <= 4; one thread
//   spread        dx_i = w_i·dy; a thread each
//
// A long sum takes two launches: parts, then sum_rows over the parts.
// Definition: reduce.go.
#include "common.cuh"

template <class T>
__device__ inline void sum_of_rows(float* y, const T* x, unsigned rows, unsigned columns, unsigned group, float* part) {
  wide_column_sums(y, rows, columns, group, part, [=](auto& v, unsigned r, unsigned c) { load_values(v, x + (size_t)r * columns + c); });
}

extern "C" __global__ void __launch_bounds__(256) sum_rows(float* y, const float* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 256];
  sum_of_rows(y, x, rows, columns, group, part);
}

extern "C" __global__ void sum_squares(float* y, const float* x, unsigned n, unsigned chunk) {
  __shared__ float part[32];
  unsigned from = blockIdx.x * chunk, to = min(n, from + chunk);
  float sum = 0;
  for (unsigned i = from + threadIdx.x; i < to; i += blockDim.x) sum += x[i] * x[i];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
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
