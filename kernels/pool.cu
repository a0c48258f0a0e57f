// The mean or the maximum over windows of frames, rows and columns; positions outside of the clip
// do not count:
//
//   pool_mean, pool_max  y[q] = mean, or maximum, of x[p] over the positions p of window q
//   pool_mean_grad       dx[p] = sum of dy[q] / positions of q, over the windows q that have p
//   pool_max_grad        dx[p] = sum of dy[q] where p is the first position of q with x[p] = y[q]
//
// One thread per value. NAME_8: one thread per 8 contiguous channels, C a multiple of 8.
//
// Definition: pool.go.
#include "packed.cuh"

struct PoolSize {
  int T, H, W, C, KT, KH, KW, ST, SH, SW, PT, PH, PW, OT, OH, OW;
};

struct PoolRange { int from, to; };

// The positions of an axis that window q has.
__device__ inline PoolRange pool_window(int q, int stride, int pad, int window, int n) {
  return {max(q * stride - pad, 0), min(q * stride - pad + window, n)};
}

// The windows, of count, that have position p.
__device__ inline PoolRange pool_windows(int p, int stride, int pad, int window, int count) {
  return {max(p + pad - window + stride, 0) / stride, min((p + pad) / stride + 1, count)};
}

// Calls f with the offset of each position of window (t,h,w) of a clip of H x W frames, in order.
template <class F>
__device__ inline void pool_positions(PoolSize s, PoolRange t, PoolRange h, PoolRange w, F f) {
  for (int i = t.from; i < t.to; i++)
    for (int j = h.from; j < h.to; j++)
      for (int l = w.from; l < w.to; l++) f((size_t)((i * s.H + j) * s.W + l) * s.C);
}

// n is the number of threads.
template <bool MAX, int V, class T>
__device__ inline void pool_of(T* y, const T* x, unsigned n, PoolSize s) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  unsigned groups = s.C / V, q = k / groups, c = k % groups * V;
  PoolRange w = pool_window(q % s.OW, s.SW, s.PW, s.KW, s.W);
  q /= s.OW;
  PoolRange h = pool_window(q % s.OH, s.SH, s.PH, s.KH, s.H);
  q /= s.OH;
  PoolRange t = pool_window(q % s.OT, s.ST, s.PT, s.KT, s.T);
  x += (size_t)(q / s.OT) * s.T * s.H * s.W * s.C + c;
  float part = 1.f / ((t.to - t.from) * (h.to - h.from) * (w.to - w.from)), sum[V] = {};
  bool first = true;
  pool_positions(s, t, h, w, [&](size_t at) {
    float v[V];
    load_values(v, x + at);
#pragma unroll
    for (int e = 0; e < V; e++) {
      if (!MAX)
        sum[e] += v[e] * part;
      else if (first || v[e] > sum[e] || v[e] != v[e])
        sum[e] = v[e];
    }
    first = false;
  });
  store_values(y + (size_t)k * V, sum);
}

// x and y are those of the maximum, else null.
template <bool MAX, int V, class T>
__device__ inline void pool_grad_of(T* dx, const T* dy, const T* x, const T* y, unsigned n, PoolSize s) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  unsigned groups = s.C / V, i = k / groups, c = k % groups * V;
  PoolRange ws = pool_windows(i % s.W, s.SW, s.PW, s.KW, s.OW);
  i /= s.W;
  PoolRange hs = pool_windows(i % s.H, s.SH, s.PH, s.KH, s.OH);
  i /= s.H;
  PoolRange ts = pool_windows(i % s.T, s.ST, s.PT, s.KT, s.OT);
  size_t clip = i / s.T, size = (size_t)s.T * s.H * s.W * s.C, own = (size_t)k * V - clip * size;
  float sum[V] = {};
  for (int a = ts.from; a < ts.to; a++)
    for (int b = hs.from; b < hs.to; b++)
      for (int d = ws.from; d < ws.to; d++) {
        size_t q = (((clip * s.OT + a) * s.OH + b) * s.OW + d) * s.C + c;
        PoolRange t = pool_window(a, s.ST, s.PT, s.KT, s.T), h = pool_window(b, s.SH, s.PH, s.KH, s.H), w = pool_window(d, s.SW, s.PW, s.KW, s.W);
        float up[V];
        load_values(up, dy + q);
        if (!MAX) {
          float part = 1.f / ((t.to - t.from) * (h.to - h.from) * (w.to - w.from));
#pragma unroll
          for (int e = 0; e < V; e++) sum[e] += up[e] * part;
          continue;
        }
        float most[V];
        load_values(most, y + q);
        bool open[V];  // the maximum was not met yet
#pragma unroll
        for (int e = 0; e < V; e++) open[e] = true;
        pool_positions(s, t, h, w, [&](size_t at) {
          if (at + c > own) return;
          float v[V];
          load_values(v, x + clip * size + at + c);
#pragma unroll
          for (int e = 0; e < V; e++) {
            if (!open[e] || v[e] != most[e]) continue;
            open[e] = false;
            if (at + c == own) sum[e] += up[e];
          }
        });
      }
  store_values(dx + (size_t)k * V, sum);
}

#define POOL(suffix, V, T)                                                                                                               \
  extern "C" __global__ void pool_mean##suffix(T* y, const T* x, unsigned n, PoolSize s) { pool_of<false, V>(y, x, n, s); }              \
  extern "C" __global__ void pool_max##suffix(T* y, const T* x, unsigned n, PoolSize s) { pool_of<true, V>(y, x, n, s); }                \
  extern "C" __global__ void pool_mean_grad##suffix(T* dx, const T* dy, unsigned n, PoolSize s) {                                        \
    pool_grad_of<false, V, T>(dx, dy, nullptr, nullptr, n, s);                                                                           \
  }                                                                                                                                      \
  extern "C" __global__ void pool_max_grad##suffix(T* dx, const T* dy, const T* x, const T* y, unsigned n, PoolSize s) {                 \
    pool_grad_of<true, V>(dx, dy, x, y, n, s);                                                                                           \
  }

POOL(, 1, float)
POOL(_half, 1, bfloat)
POOL(_8, 8, float)
POOL(_8_half, 8, bfloat)
