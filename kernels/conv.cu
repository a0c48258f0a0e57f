// Causal 3-D convolution and its gradients in float32, as products of matrices that
// are never stored:
//
//   conv         y[q,o]  = Act(b[o] + Σ_k X[q,k] w[o,k]) + r[q,o],    k = (tap, c)
//   conv_grad_x  dx[p,c] = Act'(s[p,c])·(Σ_k Y[p,k] w[o,tap,c] + r[p,c]),  k = (tap, o)
//   conv_grad_w  dw[o,k] = Σ_q dy[q,o] X[q,k]
//
// X[q,k] is the value of x that output pixel q reads through tap k, Y[p,k] that of dy
// which reads input pixel p, both 0 outside.
//
// A block of 256 threads has 64×64 results, a thread 4×4 of them. Both factors pass
// through shared memory, 16 terms of the sum at a time. The gradient of the weights
// splits its long sum over blockIdx.z; the parts are added by sum_rows, in order.
//
// The gradient of the input has a phase for each place among the strides (conv.cuh), in
// blockIdx.z: no tap is multiplied that reads between them.
//
// Weights that differ from sample to sample: blockIdx.z counts samples too, sizes are those
// of one sample. (A part of the gradient of the weights then has a sample's pixels.)
//
// Two blocks share a processor: that leaves a thread 128 registers. (Without this bound
// ptxas 13.0 spills for sm_100.)
//
// Definition: conv.go, modconv.go.
#include "common.cuh"
#include "conv.cuh"

constexpr int TILE = 64, DEPTH = 16, PITCH = TILE + 4;

// A factor has a side of results (row) and one of terms (k). Both of its indices are
// taken apart outside of the inner loop: Row and Term are what is left of them.

// X[q,k], q the row, or Y[p,k], p the row.
struct Patches {
  const float* x;
  int channels;
  Lattice l;
  using Row = Place;
  using Term = Tap;
  __device__ Row row(int q) const { return l.first(l.place(q)); }
  __device__ Term term(int k) const { return l.tap(k, channels); }
  __device__ float at(const Row& p, const Term& k) const {
    Place q = l.through(p, k);
    return l.inside(q) ? x[l.source(q) * channels + k.c] : 0;
  }
};

// The same with k the row and q the term.
struct PatchesOfTaps {
  Patches p;
  using Row = Tap;
  using Term = Place;
  __device__ Row row(int k) const { return p.term(k); }
  __device__ Term term(int q) const { return p.row(q); }
  __device__ float at(const Row& k, const Term& q) const { return p.at(q, k); }
};

// A matrix in memory.
struct Matrix {
  const float* x;
  int rowStride, termStride;
  using Row = int;
  using Term = int;
  __device__ Row row(int i) const { return i * rowStride; }
  __device__ Term term(int k) const { return k * termStride; }
  __device__ float at(Row i, Term k) const { return x[i + k]; }
};

// w[o,tap,c], c the row and (tap, o) the term.
struct Weights {
  const float* w;
  ConvSize s;
  Lattice l;
  using Row = int;
  using Term = int;
  __device__ Row row(int c) const { return c; }
  __device__ Term term(int k) const {
    Tap t = l.tap(k, s.O);
    return (t.c * s.KT * s.KH * s.KW + l.number(t, s.KH, s.KW)) * s.C;
  }
  __device__ float at(Row c, Term k) const { return w[c + k]; }
};

// Which row and which term of a tile a thread loads as its i-th of four: neighbours
// load neighbouring terms (AlongTerms), or neighbouring rows.
template <bool AlongTerms>
__device__ inline int tile_row(int i) { return AlongTerms ? threadIdx.x / DEPTH + i * (TILE / 4) : threadIdx.x % TILE; }
template <bool AlongTerms>
__device__ inline int tile_term(int i) { return AlongTerms ? threadIdx.x % DEPTH : threadIdx.x / TILE + i * (DEPTH / 4); }

template <bool AlongTerms, class F>
__device__ inline void load(float* tile, const F& f, const typename F::Row* rows, int first, int height, int k0, int end) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int r = tile_row<AlongTerms>(i), k = k0 + tile_term<AlongTerms>(i);
    tile[tile_term<AlongTerms>(i) * PITCH + r] = first + r < height && k < end ? f.at(rows[i], f.term(k)) : 0;
  }
}

// sum[i][j] = Σ_k a[m,k]·b[n,k] over from <= k < to, m = m0 + 4·(thread / 16) + i,
// n = n0 + 4·(thread mod 16) + j. as and bs hold DEPTH·PITCH values.
template <bool AlongA, bool AlongB, class A, class B>
__device__ inline void product(float (&sum)[4][4], const A& a, const B& b, int m0, int n0, int m, int n, int from, int to, float* as, float* bs) {
  typename A::Row rowsA[4];
  typename B::Row rowsB[4];
  for (int i = 0; i < 4; i++) {
    rowsA[i] = a.row(min(m0 + tile_row<AlongA>(i), m - 1));
    rowsB[i] = b.row(min(n0 + tile_row<AlongB>(i), n - 1));
    for (int j = 0; j < 4; j++) sum[i][j] = 0;
  }
  const float *ax = as + threadIdx.x / 16 * 4, *bx = bs + threadIdx.x % 16 * 4;
  for (int k0 = from; k0 < to; k0 += DEPTH) {
    load<AlongA>(as, a, rowsA, m0, m, k0, to);
    load<AlongB>(bs, b, rowsB, n0, n, k0, to);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < DEPTH; k++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += ax[k * PITCH + i] * bx[k * PITCH + j];
    __syncthreads();
  }
}

// Calls f(m, n, value) for the results of this thread.
template <class F>
__device__ inline void each(const float (&sum)[4][4], int m0, int n0, int m, int n, F f) {
  m0 += threadIdx.x / 16 * 4;
  n0 += threadIdx.x % 16 * 4;
  for (int i = 0; i < 4 && m0 + i < m; i++)
    for (int j = 0; j < 4 && n0 + j < n; j++) f(m0 + i, n0 + j, sum[i][j]);
}

// b and r may be null.
extern "C" __global__ void __launch_bounds__(256, 2) conv(float* y, const float* x, const float* w, const float* b, const float* r, ConvSize s, int kind) {
  __shared__ float as[DEPTH * PITCH], bs[DEPTH * PITCH];
  int m = s.N * s.OT * s.OH * s.OW, k = s.KT * s.KH * s.KW * s.C, m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE;
  x += (size_t)blockIdx.z * s.T * s.H * s.W * s.C;
  w += (size_t)blockIdx.z * s.O * k;
  y += (size_t)blockIdx.z * m * s.O;
  float sum[4][4];
  product<true, true>(sum, Patches{x, s.C, outputs(s)}, Matrix{w, k, 1}, m0, n0, m, s.O, 0, k, as, bs);
  each(sum, m0, n0, m, s.O, [=](int q, int o, float v) {
    v = activate(kind, b ? v + b[o] : v);
    y[q * s.O + o] = r ? v + r[q * s.O + o] : v;
  });
}

// at is the output of the activation in front, unused where kind is NONE. r may be null.
extern "C" __global__ void __launch_bounds__(256, 2) conv_grad_x(float* dx, const float* dy, const float* w, const float* at, const float* r, ConvSize s, int kind) {
  __shared__ float as[DEPTH * PITCH], bs[DEPTH * PITCH];
  int phases = s.ST * s.SH * s.SW, sample = blockIdx.z / phases;
  Lattice l = inputs(s, blockIdx.z % phases);
  int m = l.count(), m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE;
  if (m0 >= m) return;
  dy += (size_t)sample * s.OT * s.OH * s.OW * s.O;
  w += (size_t)sample * s.O * s.KT * s.KH * s.KW * s.C;
  dx += (size_t)sample * s.T * s.H * s.W * s.C;
  float sum[4][4];
  product<true, false>(sum, Patches{dy, s.O, l}, Weights{w, s, l}, m0, n0, m, s.C, 0, l.taps() * s.O, as, bs);
  each(sum, m0, n0, m, s.C, [=](int p, int c, float v) {
    int i = l.number(p, s.T, s.H, s.W) * s.C + c;
    if (r) v += r[i];
    dx[i] = kind == NONE ? v : v * slope(kind, at[i]);
  });
}

// dw has a [O,KT,KH,KW,C] for each part of chunk output pixels.
extern "C" __global__ void __launch_bounds__(256, 2) conv_grad_w(float* dw, const float* dy, const float* x, ConvSize s, int chunk) {
  __shared__ float as[DEPTH * PITCH], bs[DEPTH * PITCH];
  int q = s.N * s.OT * s.OH * s.OW, k = s.KT * s.KH * s.KW * s.C, m0 = blockIdx.y * TILE, n0 = blockIdx.x * TILE;
  int from = blockIdx.z * chunk, to = min(q, from + chunk);
  float sum[4][4];
  product<false, false>(sum, Matrix{dy, 1, s.O}, PatchesOfTaps{{x, s.C, outputs(s)}}, m0, n0, s.O, k, from, to, as, bs);
  dw += (size_t)blockIdx.z * s.O * k;
  each(sum, m0, n0, s.O, k, [=](int o, int i, float v) { dw[o * k + i] = v; });
}
