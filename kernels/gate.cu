// Squeeze-excite of frames of P pixels with C channels. With a = softmax_p(x_p·k):
//
//   frame_attention   a[f,p]; a block has a frame, a warp every eighth pixel
//   weighted_rows     y[g,c] = sum of w_r x[r,c] over the rows of group g: with a, ctx;
//                     with ds, parts of dk
//   frame_slopes      ds_p = a_p (x_p·dctx - sum_q a_q x_q·dctx); as frame_attention
//   frame_pool_grad_x dx_p = a_p dctx + ds_p k; a thread a value
//   frame_gate        y_pc = x_pc g_c; a thread a value
//   product_rows      y[g,c] = sum of a[r,c] b[r,c] over the rows of group g: dg
//
// Definition: gate.go.
#include "common.cuh"

// The product of a pixel with k; every lane of the warp gets it.
__device__ inline float pixel_product(const float* x, const float* k, unsigned C) {
  float sum = 0;
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) sum += x[c] * k[c];
  return warp_sum(sum);
}

extern "C" __global__ void frame_attention(float* a, const float* x, const float* k, unsigned P, unsigned C) {
  __shared__ float part[32];
  unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
  a += (size_t)blockIdx.x * P;
  x += (size_t)blockIdx.x * P * C;
  for (unsigned p = warp; p < P; p += warps) {
    float v = pixel_product(x + (size_t)p * C, k, C);
    if (threadIdx.x % 32 == 0) a[p] = v;
  }
  __syncthreads();
  float peak = -INFINITY;
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) peak = fmaxf(peak, a[p]);
  peak = block_max(peak, part);
  float sum = 0;
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) {
    float e = expf(a[p] - peak);
    a[p] = e;
    sum += e;
  }
  sum = block_sum(sum, part);
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) a[p] /= sum;
}

extern "C" __global__ void weighted_rows(float* y, const float* w, const float* x, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 32];
  column_sums(y, rows, columns, group, part, [=](unsigned r, unsigned c) { return w[r] * x[(size_t)r * columns + c]; });
}

extern "C" __global__ void frame_slopes(float* ds, const float* a, const float* x, const float* dctx, unsigned P, unsigned C) {
  __shared__ float part[32];
  unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
  ds += (size_t)blockIdx.x * P;
  a += (size_t)blockIdx.x * P;
  x += (size_t)blockIdx.x * P * C;
  dctx += (size_t)blockIdx.x * C;
  for (unsigned p = warp; p < P; p += warps) {
    float v = pixel_product(x + (size_t)p * C, dctx, C);
    if (threadIdx.x % 32 == 0) ds[p] = v;
  }
  __syncthreads();
  float mean = 0;
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) mean += a[p] * ds[p];
  mean = block_sum(mean, part);
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) ds[p] = a[p] * (ds[p] - mean);
}

extern "C" __global__ void frame_pool_grad_x(float* dx, const float* a, const float* ds, const float* dctx, const float* k, unsigned n, unsigned P, unsigned C) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned p = i / C, c = i % C;
  dx[i] = a[p] * dctx[p / P * C + c] + ds[p] * k[c];
}

extern "C" __global__ void frame_gate(float* y, const float* x, const float* g, unsigned n, unsigned P, unsigned C) {
  unsigned i = thread_number();
  if (i < n) y[i] = x[i] * g[i / (P * C) * C + i % C];
}

extern "C" __global__ void product_rows(float* y, const float* a, const float* b, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 32];
  column_sums(y, rows, columns, group, part, [=](unsigned r, unsigned c) {
    size_t i = (size_t)r * columns + c;
    return a[i] * b[i];
  });
}
