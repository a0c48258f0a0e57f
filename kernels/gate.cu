// Squeeze-excite over frames of P pixels and C channels. With a = softmax_p(x_p·k) and
// ds_p = a_p (x_p·dctx - sum_q a_q x_q·dctx):
//
//   frame_dots     u[f,p] = x_p·k and, if v is not null, v[f,p] = x_p·dctx
//   frame_softmax  u becomes a and, if v is not null, v becomes ds
//   weighted_rows  y[g,c] = sum of w_r x[r,c] over the rows r of group g: with a, ctx; with ds, partial sums of dk
//   frame_pool_grad_x      dx_p = a_p dctx + ds_p k
//   squeeze_excite_grad_x  dx_p = (dy_p g + a_p dctx + ds_p k)·Act'(x_p)
//   frame_gate     y_p = x_p g + r_p; r may be null
//   product_rows   y[g,c] = sum of a[r,c] b[r,c] over the rows r of group g: dg
//
// frame_dots: `lanes` threads per pixel, each V contiguous channels at a time. frame_softmax: one
// block per frame. weighted_rows, product_rows: see column_sums. The others: one thread per
// 8 contiguous channels (NAME_8, C a multiple of 8) or per value; blockIdx.y is the frame.
// Passes over activations, residual included: 5 forward, 8 backward.
//
// Definition: gate.go.
#include "common.cuh"

template <int V, class T>
__device__ inline void dots(float* u, float* v, const T* x, const float* k, const float* dctx, unsigned rows, unsigned C, unsigned P, unsigned lanes) {
  unsigned row = global_thread_id() / lanes, lane = threadIdx.x % lanes;
  float a = 0, b = 0;
  if (row < rows) {
    x += (size_t)row * C;
    if (v) dctx += row / P * C;
    for (unsigned c = lane * V; c < C; c += lanes * V) {
      float xs[V], ks[V];
      load_values(xs, x + c);
      load_parameters(ks, k + c);
#pragma unroll
      for (int i = 0; i < V; i++) a += xs[i] * ks[i];
      if (v) {
        load_parameters(ks, dctx + c);
#pragma unroll
        for (int i = 0; i < V; i++) b += xs[i] * ks[i];
      }
    }
  }
  for (unsigned d = lanes / 2; d > 0; d /= 2) {
    a += __shfl_xor_sync(FULL_MASK, a, d);
    b += __shfl_xor_sync(FULL_MASK, b, d);
  }
  if (row >= rows || lane > 0) return;
  u[row] = a;
  if (v) v[row] = b;
}

template <class T>
__device__ inline void pixel_dots(float* u, float* v, const T* x, const float* k, const float* dctx, unsigned rows, unsigned C, unsigned P, unsigned lanes) {
  if (C % 8)
    dots<1>(u, v, x, k, dctx, rows, C, P, lanes);
  else
    dots<8>(u, v, x, k, dctx, rows, C, P, lanes);
}

extern "C" __global__ void frame_dots(float* u, float* v, const float* x, const float* k, const float* dctx, unsigned rows, unsigned C, unsigned P, unsigned lanes) { pixel_dots(u, v, x, k, dctx, rows, C, P, lanes); }
extern "C" __global__ void frame_dots_half(float* u, float* v, const bfloat* x, const float* k, const float* dctx, unsigned rows, unsigned C, unsigned P, unsigned lanes) { pixel_dots(u, v, x, k, dctx, rows, C, P, lanes); }

extern "C" __global__ void frame_softmax(float* u, float* v, unsigned P) {
  __shared__ float part[32];
  u += (size_t)blockIdx.x * P;
  float peak = -INFINITY, sum = 0, along = 0;
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) peak = fmaxf(peak, u[p]);
  peak = block_max(peak, part);
  if (v) v += (size_t)blockIdx.x * P;
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) {
    float e = expf(u[p] - peak);
    sum += e;
    if (v) along += e * v[p];
  }
  sum = block_sum(sum, part);
  along = block_sum(along, part) / sum;
  for (unsigned p = threadIdx.x; p < P; p += blockDim.x) {
    float a = expf(u[p] - peak) / sum;
    u[p] = a;
    if (v) v[p] = a * (v[p] - along);
  }
}

template <class T>
__device__ inline void weighted_sums(float* y, const float* w, const T* x, unsigned rows, unsigned columns, unsigned group, float* part) {
  vector_column_sums(y, rows, columns, group, part, [=](auto& v, unsigned r, unsigned c) {
    load_values(v, x + (size_t)r * columns + c);
    for (auto& value : v) value *= w[r];
  });
}

template <class T>
__device__ inline void product_sums(float* y, const T* a, const T* b, unsigned rows, unsigned columns, unsigned group, float* part) {
  vector_column_sums(y, rows, columns, group, part, [=](auto& v, unsigned r, unsigned c) {
    constexpr int V = sizeof(v) / sizeof(float);
    float other[V];
    load_values(v, a + (size_t)r * columns + c);
    load_values(other, b + (size_t)r * columns + c);
#pragma unroll
    for (int i = 0; i < V; i++) v[i] *= other[i];
  });
}

#define GATE_SUMS(suffix, T)                                                                                                                             \
  extern "C" __global__ void __launch_bounds__(256) weighted_rows##suffix(float* y, const float* w, const T* x, unsigned rows, unsigned columns, unsigned group) { \
    __shared__ float part[8 * 256];                                                                                                                      \
    weighted_sums(y, w, x, rows, columns, group, part);                                                                                                  \
  }                                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(256) product_rows##suffix(float* y, const T* a, const T* b, unsigned rows, unsigned columns, unsigned group) {   \
    __shared__ float part[8 * 256];                                                                                                                      \
    product_sums(y, a, b, rows, columns, group, part);                                                                                                   \
  }

GATE_SUMS(, float)
GATE_SUMS(_half, bfloat)

// The V values of this thread in a frame of n values: index of the first, its pixel in the tensor
// and its channel. False past the end of the frame.
template <int V>
__device__ inline bool in_frame(size_t& i, unsigned& pixel, unsigned& c, unsigned n, unsigned C) {
  unsigned at = global_thread_id() * V;
  if (at >= n) return false;
  i = (size_t)blockIdx.y * n + at;
  pixel = blockIdx.y * (n / C) + at / C;
  c = at % C;
  return true;
}

// a_p dctx + ds_p k for V channels from c.
template <int V>
__device__ inline void pooled(float (&d)[V], const float* a, const float* ds, const float* dctx, const float* k, unsigned pixel, unsigned c, unsigned C) {
  float u[V], v[V], weight = a[pixel], slope = ds[pixel];
  load_parameters(u, dctx + (size_t)blockIdx.y * C + c);
  load_parameters(v, k + c);
#pragma unroll
  for (int j = 0; j < V; j++) d[j] = weight * u[j] + slope * v[j];
}

template <int V, class T>
__device__ inline void pool_grad(T* dx, const float* a, const float* ds, const float* dctx, const float* k, unsigned n, unsigned C) {
  size_t i;
  unsigned pixel, c;
  if (!in_frame<V>(i, pixel, c, n, C)) return;
  float d[V];
  pooled(d, a, ds, dctx, k, pixel, c, C);
  store_values(dx + i, d);
}

template <int V, class T>
__device__ inline void excite_grad(T* dx, const T* dy, const T* x, const float* g, const float* a, const float* ds, const float* dctx, const float* k, unsigned n, unsigned C, int kind) {
  size_t i;
  unsigned pixel, c;
  if (!in_frame<V>(i, pixel, c, n, C)) return;
  float d[V], up[V], gain[V], at[V];
  load_values(up, dy + i);
  if (kind != NONE) load_values(at, x + i);
  pooled(d, a, ds, dctx, k, pixel, c, C);
  load_parameters(gain, g + (size_t)blockIdx.y * C + c);
#pragma unroll
  for (int j = 0; j < V; j++) {
    d[j] += up[j] * gain[j];
    if (kind != NONE) d[j] *= slope(kind, at[j]);
  }
  store_values(dx + i, d);
}

template <int V, class T>
__device__ inline void gate(T* y, const T* x, const float* g, const T* r, unsigned n, unsigned C) {
  size_t i;
  unsigned pixel, c;
  if (!in_frame<V>(i, pixel, c, n, C)) return;
  float v[V], gain[V], around[V];
  load_values(v, x + i);
  if (r) load_values(around, r + i);
  load_parameters(gain, g + (size_t)blockIdx.y * C + c);
#pragma unroll
  for (int j = 0; j < V; j++) v[j] = r ? v[j] * gain[j] + around[j] : v[j] * gain[j];
  store_values(y + i, v);
}

#define GATE(suffix, T, V)                                                                                                                                  \
  extern "C" __global__ void frame_pool_grad_x##suffix(T* dx, const float* a, const float* ds, const float* dctx, const float* k, unsigned n, unsigned C) { \
    pool_grad<V>(dx, a, ds, dctx, k, n, C);                                                                                                                 \
  }                                                                                                                                                         \
  extern "C" __global__ void squeeze_excite_grad_x##suffix(T* dx, const T* dy, const T* x, const float* g, const float* a, const float* ds,                 \
                                                           const float* dctx, const float* k, unsigned n, unsigned C, int kind) {                          \
    excite_grad<V>(dx, dy, x, g, a, ds, dctx, k, n, C, kind);                                                                                               \
  }                                                                                                                                                         \
  extern "C" __global__ void frame_gate##suffix(T* y, const T* x, const float* g, const T* r, unsigned n, unsigned C) { gate<V>(y, x, g, r, n, C); }

GATE(, float, 1)
GATE(_8, float, 8)
GATE(_half, bfloat, 1)
GATE(_8_half, bfloat, 8)
