// Causal 3-D convolution and its gradients in float32, as implicit GEMMs:
//
//   conv (fprop)         y[q,o]  = Act(b[o] + Σ_k X[q,k] w[o,k]) + r[q,o],         k = (tap, c)
//   conv_grad_x (dgrad)  dx[p,c] = Act'(s[p,c])·(Σ_k Y[p,k] w[o,tap,c] + r[p,c]),  k = (tap, o)
//   conv_grad_w (wgrad)  dw[o,k] = Σ_q dy[q,o] X[q,k]
//
// X[q,k] is the im2col matrix of x: what output pixel q reads through tap k. Y[p,k] is that
// of dy: what input pixel p reads. Both are 0 outside and are never stored.
//
//            M              N              K
//   fprop    output pixels  O              taps·C
//   dgrad    input pixels   C              taps·O
//   wgrad    O              taps·C         output pixels
//
// A CTA of 256 threads computes a 64×64 tile, a thread 4×4 of it. The mainloop loads tiles
// of 16 K of both operands into shared memory. Wgrad is split-K over blockIdx.z; sum_rows
// adds the partial sums in order.
//
// Dgrad with strides has a phase per offset within the strides (conv.cuh), in blockIdx.z, so
// that no tap is multiplied that reads between output pixels.
//
// With weights per sample blockIdx.z counts samples too, and sizes are those of one sample.
// A split of wgrad is then a sample.
//
// 2 CTAs per SM: 128 registers per thread. Without this launch bound ptxas 13.0 spills on
// sm_100.
//
// Definition: conv.go, modconv.go.
#include "common.cuh"
#include "conv.cuh"

constexpr int CTA_TILE = 64, TILE_K = 16, PITCH = CTA_TILE + 4;

// An operand is a matrix of rows (M or N) and K. Row and K are its two indices with
// divisions done, so that the inner loop has none.

// X[q,k] with row q, or Y[p,k] with row p.
struct Im2col {
  const float* x;
  int channels;
  PixelMap map;
  using Row = Coord;
  using K = Tap;
  __device__ Row row(int q) const { return map.origin(map.coord(q)); }
  __device__ K k(int k) const { return map.tap(k, channels); }
  __device__ float at(const Row& p, const K& k) const {
    Coord q = map.shift(p, k);
    return map.in_bounds(q) ? x[map.source_index(q) * channels + k.c] : 0;
  }
};

// Its transpose: rows are (tap, c), K is pixels.
struct Im2colTransposed {
  Im2col x;
  using Row = Tap;
  using K = Coord;
  __device__ Row row(int k) const { return x.k(k); }
  __device__ K k(int q) const { return x.row(q); }
  __device__ float at(const Row& k, const K& q) const { return x.at(q, k); }
};

// A matrix in global memory.
struct StridedMatrix {
  const float* x;
  int row_stride, k_stride;
  using Row = int;
  using K = int;
  __device__ Row row(int i) const { return i * row_stride; }
  __device__ K k(int k) const { return k * k_stride; }
  __device__ float at(Row i, K k) const { return x[i + k]; }
};

// The filter of dgrad, w[o,tap,c]: rows are c, K is (tap, o).
struct DgradFilter {
  const float* w;
  ConvSize s;
  PixelMap map;
  using Row = int;
  using K = int;
  __device__ Row row(int c) const { return c; }
  __device__ K k(int k) const {
    Tap t = map.tap(k, s.O);
    return (t.c * s.KT * s.KH * s.KW + map.filter_index(t, s.KH, s.KW)) * s.C;
  }
  __device__ float at(Row c, K k) const { return w[c + k]; }
};

// The row and the k of a tile that a thread loads as its i-th of four. Adjacent threads load
// adjacent k of a K-major operand, adjacent rows of an MN-major one.
template <bool KMajor>
__device__ inline int tile_row(int i) { return KMajor ? threadIdx.x / TILE_K + i * (CTA_TILE / 4) : threadIdx.x % CTA_TILE; }
template <bool KMajor>
__device__ inline int tile_k(int i) { return KMajor ? threadIdx.x % TILE_K : threadIdx.x / CTA_TILE + i * (TILE_K / 4); }

template <bool KMajor, class F>
__device__ inline void load_tile(float* tile, const F& f, const typename F::Row* rows, int first, int height, int k0, int k_end) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int r = tile_row<KMajor>(i), k = k0 + tile_k<KMajor>(i);
    tile[tile_k<KMajor>(i) * PITCH + r] = first + r < height && k < k_end ? f.at(rows[i], f.k(k)) : 0;
  }
}

// acc[i][j] = Σ_k a[m,k]·b[n,k] over k_begin <= k < k_end, m = m0 + 4·(thread / 16) + i,
// n = n0 + 4·(thread mod 16) + j. as and bs are shared memory of TILE_K·PITCH values.
template <bool KMajorA, bool KMajorB, class A, class B>
__device__ inline void mainloop(float (&acc)[4][4], const A& a, const B& b, int m0, int n0, int m, int n, int k_begin, int k_end, float* as, float* bs) {
  typename A::Row rowsA[4];
  typename B::Row rowsB[4];
  for (int i = 0; i < 4; i++) {
    rowsA[i] = a.row(min(m0 + tile_row<KMajorA>(i), m - 1));
    rowsB[i] = b.row(min(n0 + tile_row<KMajorB>(i), n - 1));
    for (int j = 0; j < 4; j++) acc[i][j] = 0;
  }
  const float *ax = as + threadIdx.x / 16 * 4, *bx = bs + threadIdx.x % 16 * 4;
  for (int k0 = k_begin; k0 < k_end; k0 += TILE_K) {
    load_tile<KMajorA>(as, a, rowsA, m0, m, k0, k_end);
    load_tile<KMajorB>(bs, b, rowsB, n0, n, k0, k_end);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < TILE_K; k++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) acc[i][j] += ax[k * PITCH + i] * bx[k * PITCH + j];
    __syncthreads();
  }
}

// Calls f(m, n, value) for the thread's part of the tile.
template <class F>
__device__ inline void epilogue(const float (&acc)[4][4], int m0, int n0, int m, int n, F f) {
  m0 += threadIdx.x / 16 * 4;
  n0 += threadIdx.x % 16 * 4;
  for (int i = 0; i < 4 && m0 + i < m; i++)
    for (int j = 0; j < 4 && n0 + j < n; j++) f(m0 + i, n0 + j, acc[i][j]);
}

// b and r may be null.
extern "C" __global__ void __launch_bounds__(256, 2) conv(float* y, const float* x, const float* w, const float* b, const float* r, ConvSize s, int kind) {
  __shared__ float as[TILE_K * PITCH], bs[TILE_K * PITCH];
  int m = s.N * s.OT * s.OH * s.OW, k = s.KT * s.KH * s.KW * s.C, m0 = blockIdx.x * CTA_TILE, n0 = blockIdx.y * CTA_TILE;
  x += (size_t)blockIdx.z * s.T * s.H * s.W * s.C;
  w += (size_t)blockIdx.z * s.O * k;
  y += (size_t)blockIdx.z * m * s.O;
  float acc[4][4];
  mainloop<true, true>(acc, Im2col{x, s.C, fprop_map(s)}, StridedMatrix{w, k, 1}, m0, n0, m, s.O, 0, k, as, bs);
  epilogue(acc, m0, n0, m, s.O, [=](int q, int o, float v) {
    v = activate(kind, b ? v + b[o] : v);
    y[q * s.O + o] = r ? v + r[q * s.O + o] : v;
  });
}

// saved is s of the preceding activation, unused if kind is NONE. r may be null.
extern "C" __global__ void __launch_bounds__(256, 2) conv_grad_x(float* dx, const float* dy, const float* w, const float* saved, const float* r, ConvSize s, int kind) {
  __shared__ float as[TILE_K * PITCH], bs[TILE_K * PITCH];
  int phases = s.ST * s.SH * s.SW, sample = blockIdx.z / phases;
  PixelMap map = dgrad_map(s, blockIdx.z % phases);
  int m = map.pixels(), m0 = blockIdx.x * CTA_TILE, n0 = blockIdx.y * CTA_TILE;
  if (m0 >= m) return;
  dy += (size_t)sample * s.OT * s.OH * s.OW * s.O;
  w += (size_t)sample * s.O * s.KT * s.KH * s.KW * s.C;
  dx += (size_t)sample * s.T * s.H * s.W * s.C;
  float acc[4][4];
  mainloop<true, false>(acc, Im2col{dy, s.O, map}, DgradFilter{w, s, map}, m0, n0, m, s.C, 0, map.taps() * s.O, as, bs);
  epilogue(acc, m0, n0, m, s.C, [=](int p, int c, float v) {
    int i = map.pixel_index(p, s.T, s.H, s.W) * s.C + c;
    if (r) v += r[i];
    dx[i] = kind == NONE ? v : v * slope(kind, saved[i]);
  });
}

// dw is [splits,O,KT,KH,KW,C]: a split has chunk output pixels.
extern "C" __global__ void __launch_bounds__(256, 2) conv_grad_w(float* dw, const float* dy, const float* x, ConvSize s, int chunk) {
  __shared__ float as[TILE_K * PITCH], bs[TILE_K * PITCH];
  int pixels = s.N * s.OT * s.OH * s.OW, n = s.KT * s.KH * s.KW * s.C, m0 = blockIdx.y * CTA_TILE, n0 = blockIdx.x * CTA_TILE;
  int k_begin = blockIdx.z * chunk, k_end = min(pixels, k_begin + chunk);
  float acc[4][4];
  mainloop<false, false>(acc, StridedMatrix{dy, 1, s.O}, Im2colTransposed{{x, s.C, fprop_map(s)}}, m0, n0, s.O, n, k_begin, k_end, as, bs);
  dw += (size_t)blockIdx.z * s.O * n;
  epilogue(acc, m0, n0, s.O, n, [=](int o, int i, float v) { dw[o * n + i] = v; });
}
