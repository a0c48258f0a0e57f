// Padding of clips: PT frames at the front, PH rows and PW columns on both sides, or after the last alone.
//
//   pad       y[t,h,w] = x[source(t-PT), source(h-PH), source(w-PW)], 0 where there is no source
//   pad_grad  dx[t,h,w] = sum of dy where pad reads x[t,h,w]
//
// One thread per value. NAME_8: one thread per 8 contiguous channels, C a multiple of 8.
//
// Definition: pad.go.
#include "packed.cuh"

struct PadSize {
  int T, H, W, C, PT, PH, PW, mode, after;  // T, H, W: of the unpadded clip
};

// Rows and columns in front of the first ones.
__device__ inline int front_h(const PadSize& s) { return s.after ? 0 : s.PH; }
__device__ inline int front_w(const PadSize& s) { return s.after ? 0 : s.PW; }

// The values are those of kernels.PadMode.
enum { ZEROS, REPLICATE, REFLECT, CIRCULAR };

// As PadMode.source: -1 if there is none.
__device__ inline int pad_source(int i, int n, int mode) {
  if (0 <= i && i < n) return i;
  switch (mode) {
    case REPLICATE: return min(max(i, 0), n - 1);
    case REFLECT: return i < 0 ? -i : 2 * (n - 1) - i;
    case CIRCULAR: return (i + n) % n;
  }
  return -1;
}

// The positions of a padded axis that read position i: [first,last], then mirror and other unless
// they are -1.
struct PadReaders {
  int first, last, mirror, other;

  __device__ PadReaders(int i, int n, int front, int back, int mode) : first(i + front), last(i + front), mirror(-1), other(-1) {
    if (mode == REPLICATE && i == 0) first = 0;
    if (mode == REPLICATE && i == n - 1) last += back;
    if (mode == REFLECT && 0 < i && i <= front) mirror = front - i;
    if (mode == REFLECT && i < n - 1 && n - 1 - i <= back) other = front + 2 * (n - 1) - i;
    if (mode == CIRCULAR && i >= n - front) mirror = i - (n - front);
    if (mode == CIRCULAR && i < back) other = front + n + i;
  }
  __device__ int count() const { return last - first + 1 + (mirror >= 0) + (other >= 0); }
  __device__ int operator[](int k) const {
    if (first + k <= last) return first + k;
    return mirror >= 0 && k == last - first + 1 ? mirror : other;
  }
};

// c is the channel of the thread, or the first of its eight.
template <int V, class T>
__device__ inline void pad_of(T* y, const T* x, unsigned n, PadSize s) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  unsigned groups = s.C / V, i = k / groups, c = k % groups * V, W = front_w(s) + s.W + s.PW, H = front_h(s) + s.H + s.PH, F = s.T + s.PT;
  int w = pad_source(int(i % W) - front_w(s), s.W, s.mode);
  i /= W;
  int h = pad_source(int(i % H) - front_h(s), s.H, s.mode);
  i /= H;
  int t = pad_source(int(i % F) - s.PT, s.T, s.mode);
  i /= F;
  float v[V] = {};
  if (t >= 0 && h >= 0 && w >= 0) load_values(v, x + ((size_t(i * s.T + t) * s.H + h) * s.W + w) * s.C + c);
  store_values(y + (size_t)k * V, v);
}

template <int V, class T>
__device__ inline void pad_grad_of(T* dx, const T* dy, unsigned n, PadSize s) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  unsigned groups = s.C / V, i = k / groups, c = k % groups * V, W = front_w(s) + s.W + s.PW, H = front_h(s) + s.H + s.PH, F = s.T + s.PT;
  int w = i % s.W;
  i /= s.W;
  int h = i % s.H;
  i /= s.H;
  int t = i % s.T;
  i /= s.T;
  float sum[V] = {};
  PadReaders ts(t, s.T, s.PT, 0, s.mode), hs(h, s.H, front_h(s), s.PH, s.mode), ws(w, s.W, front_w(s), s.PW, s.mode);
  for (int a = 0; a < ts.count(); a++)
    for (int b = 0; b < hs.count(); b++)
      for (int d = 0; d < ws.count(); d++) {
        float v[V];
        load_values(v, dy + ((size_t(i * F + ts[a]) * H + hs[b]) * W + ws[d]) * s.C + c);
#pragma unroll
        for (int e = 0; e < V; e++) sum[e] += v[e];
      }
  store_values(dx + (size_t)k * V, sum);
}

// n is the number of threads.
#define PAD(suffix, V, T)                                                                                           \
  extern "C" __global__ void pad##suffix(T* y, const T* x, unsigned n, PadSize s) { pad_of<V>(y, x, n, s); }        \
  extern "C" __global__ void pad_grad##suffix(T* dx, const T* dy, unsigned n, PadSize s) { pad_grad_of<V>(dx, dy, n, s); }

PAD(, 1, float)
PAD(_half, 1, bfloat)
PAD(_8, 8, float)
PAD(_8_half, 8, bfloat)
