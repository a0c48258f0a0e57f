// Reductions. The order of the additions is fixed; there are no atomics.
//
//   sum_rows          y[g,c] = sum of x[r,c] over the rows r of group g; sum_rows_rounded: of x rounded to bfloat16
//   sum_values        y[b] = sum of x over chunk b
//   sum_squares       y[b] = sum of x² over chunk b
//   sum_squares_grad  dx_i = 2·dy·x_i
//   weighted_sum      y = sum of w_i·x_i, i < n <= 4
//   spread            dx_i = w_i·dy, the gradient of weighted_sum
//
// sum_rows: see column_sums. sum_values, sum_squares: one block per chunk. weighted_sum:
// one thread. sum_squares_grad, spread: one thread per value. A long sum takes two launches: partial sums,
// then their sum.
//
// Definition: reduce.go.
#include "packed.cuh"

template <class T>
__device__ inline void sum_of_rows(float* y, const T* x, unsigned rows, unsigned columns, unsigned group, float* partial) {
  vector_column_sums(y, rows, columns, group, partial, [=](auto& v, unsigned r, unsigned c) { load_values(v, x + (size_t)r * columns + c); });
}

extern "C" __global__ void __launch_bounds__(256) sum_rows(float* y, const float* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float partial[8 * 256];
  sum_of_rows(y, x, rows, columns, group, partial);
}

extern "C" __global__ void __launch_bounds__(256) sum_rows_half(float* y, const bfloat* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float partial[8 * 256];
  sum_of_rows(y, x, rows, columns, group, partial);
}

extern "C" __global__ void __launch_bounds__(256) sum_rows_rounded(float* y, const float* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float partial[8 * 256];
  vector_column_sums(y, rows, columns, group, partial, [=](auto& v, unsigned r, unsigned c) {
    load_values(v, x + (size_t)r * columns + c);
    for (float& value : v) value = load(as<bfloat>(value));
  });
}

// chunk is a multiple of 8.
template <class F>
__device__ inline void chunk_sum(float* y, const float* x, unsigned n, unsigned chunk, float* partial, F f) {
  unsigned from = blockIdx.x * chunk, to = min(n, from + chunk);
  bool wide = aligned(x);
  float sums[8] = {};
#pragma unroll 4
  for (unsigned i = from + 8 * threadIdx.x; i < to; i += 8 * blockDim.x)
    packed8(i, to, wide, [&](auto at) {
      float v[8];
      at.load(v, x);
#pragma unroll
      for (int e = 0; e < 8; e++) sums[e] += f(v[e]);
    });
  float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}

extern "C" __global__ void sum_values(float* y, const float* x, unsigned n, unsigned chunk) {
  __shared__ float partial[32];
  chunk_sum(y, x, n, chunk, partial, [](float v) { return v; });
}

extern "C" __global__ void sum_squares(float* y, const float* x, unsigned n, unsigned chunk) {
  __shared__ float partial[32];
  chunk_sum(y, x, n, chunk, partial, [](float v) { return v * v; });
}

extern "C" __global__ void sum_squares_grad(float* dx, const float* dy, const float* x, unsigned n) {
  unsigned i = global_thread_id();
  if (i < n) dx[i] = 2 * dy[0] * x[i];
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
