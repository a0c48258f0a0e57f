// Squeeze-excite over frames of P pixels and C channels, and its gradients.
//
//   frame_pool        of each chunk of a frame's pixels: m = max x_p·k, s = sum exp(x_p·k - m), y = sum exp(x_p·k - m) x_p
//   frame_pool_merge  ctx = sum of y exp(m - M) / S over the chunks of a frame, lse = M + log S; M the greatest m, S the sum of s exp(m - M)
//   squeeze_excite_grad, with a_p = exp(x_p·k - lse) and ds_p = a_p (x_p·dctx - ctx·dctx):
//                     dx_p = (dy_p g + a_p dctx + ds_p k)·Act'(x_p), and of each chunk dk = sum ds_p x_p
//   frame_gate        y_p = x_p g + r_p; r may be null
//   product_rows      y[g,c] = sum of a[r,c] b[r,c] over the rows r of group g: dg
//
// frame_pool, squeeze_excite_grad: one block per chunk; blockIdx.y is the frame. `lanes` threads
// compute the products of a pixel, V contiguous channels at a time. Then a thread has V channels
// of every R-th pixel, and the rows of threads are summed in shared memory. Both steps read the
// chunk, whose size (gate_cuda.go) is such that the second one reads it from L2.
// frame_pool_merge: one block per frame. product_rows: see column_sums. frame_gate: one thread per
// 8 contiguous channels (frame_gate_8, C a multiple of 8) or per value; blockIdx.y is the frame.
// Passes over activations, residual included: 4 forward, 5 backward.
//
// Definition: gate.go.
#include "common.cuh"

namespace squeeze {

constexpr unsigned THREADS = 256, MAX_CHUNK = 1024;  // pixels

// u[r] = x_r·k of n pixels and, if dctx is not null, v[r] = x_r·dctx.
template <int V, class T>
__device__ inline void pixel_dots(float* u, float* v, const T* x, const float* k, const float* dctx, unsigned n, unsigned C, unsigned lanes) {
  unsigned lane = threadIdx.x % lanes;
  for (unsigned first = 0; first < n; first += THREADS / lanes) {
    unsigned r = first + threadIdx.x / lanes;
    float a = 0, b = 0;
    for (unsigned c = lane * V; r < n && c < C; c += lanes * V) {
      float xs[V], ks[V];
      load_values(xs, x + (size_t)r * C + c);
      load_parameters(ks, k + c);
#pragma unroll
      for (int i = 0; i < V; i++) a += xs[i] * ks[i];
      if (!dctx) continue;
      load_parameters(ks, dctx + c);
#pragma unroll
      for (int i = 0; i < V; i++) b += xs[i] * ks[i];
    }
    for (unsigned d = lanes / 2; d > 0; d /= 2) {
      a += __shfl_xor_sync(FULL_MASK, a, d);
      b += __shfl_xor_sync(FULL_MASK, b, d);
    }
    if (r >= n || lane > 0) continue;
    u[r] = a;
    if (dctx) v[r] = b;
  }
}

// Adds v over the rows of `columns` threads; the first row gets the sums.
template <int V>
__device__ inline void add_rows(float (&v)[V], float* partial, unsigned columns) {
  __syncthreads();  // the last call's partial sums may still be read
#pragma unroll
  for (int i = 0; i < V; i++) partial[i * THREADS + threadIdx.x] = v[i];
  for (unsigned half = THREADS / columns / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half * columns)
#pragma unroll
      for (int i = 0; i < V; i++) partial[i * THREADS + threadIdx.x] += partial[i * THREADS + threadIdx.x + half * columns];
  }
#pragma unroll
  for (int i = 0; i < V; i++) v[i] = partial[i * THREADS + threadIdx.x];
}

template <int V>
__device__ inline void store_sums(float* y, const float (&v)[V]) {
#pragma unroll
  for (int i = 0; i < V; i++) y[i] = v[i];
}

struct Scratch { float u[MAX_CHUNK], v[MAX_CHUNK], partial[8 * THREADS]; };

template <int V, class T>
__device__ inline void pool(float* y, float* stats, const T* x, const float* k, unsigned P, unsigned C, unsigned chunk, unsigned lanes, unsigned columns, Scratch& s) {
  unsigned first = blockIdx.x * chunk, n = min(chunk, P - first);
  size_t block = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
  x += ((size_t)blockIdx.y * P + first) * C, y += block * C;
  pixel_dots<V>(s.u, s.v, x, k, nullptr, n, C, lanes);
  __syncthreads();
  float peak = -INFINITY, sum = 0;
  for (unsigned r = threadIdx.x; r < n; r += THREADS) peak = fmaxf(peak, s.u[r]);
  peak = block_max(peak, s.partial);
  for (unsigned r = threadIdx.x; r < n; r += THREADS) sum += s.u[r] = expf(s.u[r] - peak);
  sum = block_sum(sum, s.partial);
  if (threadIdx.x == 0) stats[2 * block] = peak, stats[2 * block + 1] = sum;
  for (unsigned first = 0; first < C; first += columns * V) {
    unsigned c = first + threadIdx.x % columns * V;
    float total[V] = {};
    for (unsigned r = threadIdx.x / columns; r < n && c < C; r += THREADS / columns) {
      float v[V];
      load_values(v, x + (size_t)r * C + c);
#pragma unroll
      for (int i = 0; i < V; i++) total[i] += s.u[r] * v[i];
    }
    add_rows(total, s.partial, columns);
    if (threadIdx.x < columns && c < C) store_sums(y + c, total);
  }
}

template <int V, class T>
__device__ inline void grad(T* dx, float* dk, const T* dy, const T* x, const float* g, const float* dctx, const float* k, const float* ctx, const float* lse,
                            unsigned P, unsigned C, unsigned chunk, unsigned lanes, unsigned columns, int kind, Scratch& s) {
  unsigned first = blockIdx.x * chunk, n = min(chunk, P - first);
  size_t at = ((size_t)blockIdx.y * P + first) * C;
  x += at, dctx += (size_t)blockIdx.y * C, ctx += (size_t)blockIdx.y * C, lse += blockIdx.y;
  if (dx) dx += at;
  if (dy) dy += at, g += (size_t)blockIdx.y * C;
  if (dk) dk += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * C;
  pixel_dots<V>(s.u, s.v, x, k, dctx, n, C, lanes);
  float mean = 0;
  for (unsigned c = threadIdx.x; c < C; c += THREADS) mean += ctx[c] * dctx[c];
  mean = block_sum(mean, s.partial);
  for (unsigned r = threadIdx.x; r < n; r += THREADS) {
    float a = expf(s.u[r] - *lse);
    s.u[r] = a, s.v[r] = a * (s.v[r] - mean);
  }
  __syncthreads();
  for (unsigned first = 0; first < C; first += columns * V) {
    unsigned c = first + threadIdx.x % columns * V;
    float total[V] = {}, context[V], key[V], gain[V] = {};
    if (c < C) {
      load_parameters(context, dctx + c);
      load_parameters(key, k + c);
      if (dy) load_parameters(gain, g + c);
    }
    for (unsigned r = threadIdx.x / columns; r < n && c < C; r += THREADS / columns) {
      size_t i = (size_t)r * C + c;
      float v[V], d[V] = {};
      load_values(v, x + i);
      if (dy) load_values(d, dy + i);
#pragma unroll
      for (int j = 0; j < V; j++) {
        total[j] += s.v[r] * v[j];
        d[j] = d[j] * gain[j] + s.u[r] * context[j] + s.v[r] * key[j];
        if (kind != NONE) d[j] *= slope(kind, v[j]);
      }
      if (dx) store_values(dx + i, d);
    }
    if (!dk) continue;
    add_rows(total, s.partial, columns);
    if (threadIdx.x < columns && c < C) store_sums(dk + c, total);
  }
}

}  // namespace squeeze

// dx, dk and dy may be null. y and dk are [F,chunks,C], stats is [F,chunks,2].
#define SQUEEZE(suffix, T)                                                                                                                                \
  extern "C" __global__ void __launch_bounds__(256) frame_pool##suffix(float* y, float* stats, const T* x, const float* k, unsigned P, unsigned C, unsigned chunk, unsigned lanes, unsigned columns) { \
    __shared__ squeeze::Scratch s;                                                                                                                        \
    if (C % 8)                                                                                                                                            \
      squeeze::pool<1>(y, stats, x, k, P, C, chunk, lanes, columns, s);                                                                                   \
    else                                                                                                                                                  \
      squeeze::pool<8>(y, stats, x, k, P, C, chunk, lanes, columns, s);                                                                                   \
  }                                                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(256) squeeze_excite_grad##suffix(T* dx, float* dk, const T* dy, const T* x, const float* g, const float* dctx, const float* k, const float* ctx, \
                                                                                const float* lse, unsigned P, unsigned C, unsigned chunk, unsigned lanes, unsigned columns, int kind) { \
    __shared__ squeeze::Scratch s;                                                                                                                        \
    if (C % 8)                                                                                                                                            \
      squeeze::grad<1>(dx, dk, dy, x, g, dctx, k, ctx, lse, P, C, chunk, lanes, columns, kind, s);                                                        \
    else                                                                                                                                                  \
      squeeze::grad<8>(dx, dk, dy, x, g, dctx, k, ctx, lse, P, C, chunk, lanes, columns, kind, s);                                                        \
  }

SQUEEZE(, float)
SQUEEZE(_half, bfloat)

// lse may be null.
extern "C" __global__ void __launch_bounds__(256) frame_pool_merge(float* ctx, float* lse, const float* y, const float* stats, unsigned chunks, unsigned C) {
  __shared__ float partial[32];
  y += (size_t)blockIdx.x * chunks * C, stats += (size_t)blockIdx.x * chunks * 2;
  float peak = -INFINITY, sum = 0;
  for (unsigned i = threadIdx.x; i < chunks; i += blockDim.x) peak = fmaxf(peak, stats[2 * i]);
  peak = block_max(peak, partial);
  for (unsigned i = threadIdx.x; i < chunks; i += blockDim.x) sum += expf(stats[2 * i] - peak) * stats[2 * i + 1];
  sum = block_sum(sum, partial);
  for (unsigned c = threadIdx.x; c < C; c += blockDim.x) {
    float total = 0;
    for (unsigned i = 0; i < chunks; i++) total += expf(stats[2 * i] - peak) * y[(size_t)i * C + c];
    ctx[(size_t)blockIdx.x * C + c] = total / sum;
  }
  if (lse && threadIdx.x == 0) lse[blockIdx.x] = peak + logf(sum);
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

#define PRODUCT_ROWS(suffix, T)                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(256) product_rows##suffix(float* y, const T* a, const T* b, unsigned rows, unsigned columns, unsigned group) { \
    __shared__ float part[8 * 256];                                                                                                                    \
    product_sums(y, a, b, rows, columns, group, part);                                                                                                 \
  }

PRODUCT_ROWS(, float)
PRODUCT_ROWS(_half, bfloat)

// V values per thread of a frame of n values.
template <int V, class T>
__device__ inline void gate(T* y, const T* x, const float* g, const T* r, unsigned n, unsigned C) {
  unsigned at = global_thread_id() * V;
  if (at >= n) return;
  size_t i = (size_t)blockIdx.y * n + at;
  float v[V], gain[V], around[V];
  load_values(v, x + i);
  if (r) load_values(around, r + i);
  load_parameters(gain, g + (size_t)blockIdx.y * C + at % C);
#pragma unroll
  for (int j = 0; j < V; j++) v[j] = r ? v[j] * gain[j] + around[j] : v[j] * gain[j];
  store_values(y + i, v);
}

#define GATE(suffix, T, V) \
  extern "C" __global__ void frame_gate##suffix(T* y, const T* x, const float* g, const T* r, unsigned n, unsigned C) { gate<V>(y, x, g, r, n, C); }

GATE(, float, 1)
GATE(_8, float, 8)
GATE(_half, bfloat, 1)
GATE(_8_half, bfloat, 8)
