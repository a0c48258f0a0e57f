// Causal 3-D convolution and its gradients on tensor cores: the products of conv.cu
// with operands in bfloat16 and sums in float32.
//
//   conv_mma         y[q,o]  = Act(b[o] + Σ_k X[q,k] w[o,k]) + r[q,o],   k = (tap, c)
//   conv_grad_x_mma  dx[p,c] = Act'(s[p,c])·(Σ_k Y[p,k] w'[c,k] + r[p,c]),  k = (tap, o)
//   conv_grad_w_mma  dw[o,k] = Σ_q X[q,k] dy[q,o]
//
// Operands come from pack.cu: values in chunks of 8, 16 bytes, of one tap and pixel.
// Every number of channels therefore takes the same path.
//
// A block of four warps has 128×N results, N being 64 or 128, a warp 64×N/2 of them:
// of each 8×8 values that it loads from shared memory it makes four or eight products.
// Tiles of 32 terms go through a ring of stages in 48 KiB of shared memory, as much as
// a launch may have without asking: cp.async fills a stage, with zeros where the
// convolution reads outside, while ldmatrix and mma.sync.m16n8k16 work on another. Two
// blocks share a processor.
//
// Results pass through shared memory on their way out: whole lines are written, and the
// activation stands once in the code, not once for each register.
//
// blockIdx.z is the sample where weights differ from sample to sample; the gradient of
// the weights has parts of the pixels for each, added by sum_rows, in order.
//
// Definition: conv.go, of operands rounded as precision.go says.
#include "common.cuh"
#include "conv.cuh"
#include "mma.cuh"

namespace mma {

typedef unsigned short bfloat;

constexpr int THREADS = 128, ROWS = 128, DEPTH = 32, SHARED = 48 << 10;

// Where chunk c of a row lies in a tile of rows of WIDTH chunks. Chunks are swapped
// within a row, so that those of 8 neighbouring rows lie in different banks.
template <int WIDTH>
__device__ inline int chunk_at(int row, int c) {
  return (row * WIDTH + (c ^ (WIDTH == 4 ? row / 2 % 4 : row % 8))) * 8;
}

__device__ inline void carry(int& low, int& high, int base) {
  if (low >= base) low -= base, high++;
}

__device__ inline void advance(Place& p, const Place& step, int T, int H, int W) {
  p.w += step.w, carry(p.w, p.h, W);
  p.h += step.h, carry(p.h, p.t, H);
  p.t += step.t, carry(p.t, p.n, T);
  p.n += step.n;
}

// Tiles are copied by sources. Each call of copy gets the tile of the next DEPTH terms.
// A tile has rows of terms, 4 chunks, or is across: rows of results for each term.

// X[q,k] or Y[p,k], as Map says which pixel k reads. Rows of terms.
template <class Map>
struct Gather {
  const uint4* x;
  Map map;
  int channels;  // chunks of a pixel
  Tap k, step;   // c counts chunks
  Place rows[ROWS / 32];

  __device__ Gather(const bfloat* x, const Map& map, int values, int m0, int m) : x((const uint4*)x), map(map), channels(values / 8) {
    k = tap(threadIdx.x % 4, map.s, channels), step = tap(4, map.s, channels);
    for (int j = 0; j < ROWS / 32; j++) {
      int i = m0 + threadIdx.x / 4 + 32 * j;
      rows[j] = map.row(min(i, m - 1));
      if (i >= m) rows[j].t = -(1 << 30);  // outside, for every tap
    }
  }
  __device__ void copy(bfloat* tile) {
    bool any = k.t < map.s.KT;
#pragma unroll
    for (int j = 0; j < ROWS / 32; j++) {
      int i = map.pixel(rows[j], k);
      copy_async(tile + chunk_at<4>(threadIdx.x / 4 + 32 * j, threadIdx.x % 4), x + (i * channels + k.c), any && i >= 0);
    }
    k.c += step.c, carry(k.c, k.w, channels);
    k.w += step.w, carry(k.w, k.h, map.s.KW);
    k.h += step.h, carry(k.h, k.t, map.s.KH);
    k.t += step.t;
  }
};

// Weights [n,terms]. Rows of terms.
template <int N>
struct Lines {
  const bfloat* w;
  int terms, k, rows;

  __device__ Lines(const bfloat* w, int terms, int n0, int n) : terms(terms), k(threadIdx.x % 4 * 8), rows(n - n0 - threadIdx.x / 4) {
    this->w = w + (size_t)(n0 + threadIdx.x / 4) * terms;
  }
  __device__ void copy(bfloat* tile) {
#pragma unroll
    for (int j = 0; j < N / 32; j++) {
      bool inside = 32 * j < rows && k < terms;
      copy_async(tile + chunk_at<4>(threadIdx.x / 4 + 32 * j, threadIdx.x % 4), w + (size_t)(32 * j) * terms + k, inside);
    }
    k += DEPTH;
  }
};

// X[q,k] across: q are terms.
struct Across {
  const uint4* x;
  Inputs map;
  int channels, q, end;
  Tap k;
  Place p, step;  // of q

  __device__ Across(const bfloat* x, const ConvSize& s, int k0, int from, int to) : x((const uint4*)x), map{s}, channels(s.C / 8), q(from + threadIdx.x / 16), end(to) {
    k = tap(k0 / 8 + threadIdx.x % 16, s, channels);
    p = place(q, s.OT, s.OH, s.OW), step = place(8, s.OT, s.OH, s.OW);
  }
  __device__ void copy(bfloat* tile) {
    bool any = k.t < map.s.KT;
#pragma unroll
    for (int j = 0; j < DEPTH / 8; j++) {
      int i = map.pixel(map.row(p), k);
      copy_async(tile + chunk_at<16>(threadIdx.x / 16 + 8 * j, threadIdx.x % 16), x + (i * channels + k.c), any && q < end && i >= 0);
      q += 8;
      advance(p, step, map.s.OT, map.s.OH, map.s.OW);
    }
  }
};

// dy[q,o] across.
template <int N>
struct LinesAcross {
  static constexpr int WIDTH = N / 8, STEP = THREADS / WIDTH;
  const bfloat* dy;
  int O, q, end, o;

  __device__ LinesAcross(const bfloat* dy, int O, int n0, int from, int to)
      : dy(dy), O(O), q(from + threadIdx.x / WIDTH), end(to), o(n0 + threadIdx.x % WIDTH * 8) {}
  __device__ void copy(bfloat* tile) {
#pragma unroll
    for (int j = 0; j < DEPTH / STEP; j++) {
      bool inside = q < end && o < O;
      copy_async(tile + chunk_at<WIDTH>(threadIdx.x / WIDTH + STEP * j, threadIdx.x % WIDTH), dy + (size_t)q * O + o, inside);
      q += STEP;
    }
  }
};

// The fragment of 16 results from r on and 16 terms from k on, of a tile with R results;
// of the second factor (B) two of 8 results.
template <int R, bool ACROSS, bool B>
__device__ inline void fragment(unsigned (&f)[4], const bfloat* tile, int r, int k) {
  int i = threadIdx.x % 32 / 8, j = threadIdx.x % 8;  // row j of the i-th matrix
  r += (B ? i / 2 : i % 2) * 8, k += (B ? i % 2 : i / 2) * 8;
  if (ACROSS)
    load_matrices<true>(f, tile + chunk_at<R / 8>(k + j, r / 8));
  else
    load_matrices<false>(f, tile + chunk_at<DEPTH / 8>(r + j, k / 8));
}

// A warp's results are tiles of 16×8: sum[i][j] from row 64·(warp mod 2) + 16·i and
// column N/2·(warp / 2) + 8·j on.
template <int N>
using Sums = float[4][N / 16][4];

template <int N, bool ACROSS>
__device__ inline void multiply(Sums<N>& sum, const bfloat* a, const bfloat* b) {
  int warp = threadIdx.x / 32, m = warp % 2 * 64, n = warp / 2 * (N / 2);
#pragma unroll
  for (int k = 0; k < DEPTH; k += 16) {
    unsigned fa[4][4], fb[4];
#pragma unroll
    for (int i = 0; i < 4; i++) fragment<ROWS, ACROSS, false>(fa[i], a, m + 16 * i, k);
#pragma unroll
    for (int j = 0; j < N / 16; j += 2) {
      fragment<N, ACROSS, true>(fb, b, n + 8 * j, k);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        multiply_add(sum[i][j], fa[i], fb[0], fb[1]);
        multiply_add(sum[i][j + 1], fa[i], fb[2], fb[3]);
      }
    }
  }
}

// Adds up all terms. While a stage is multiplied the others are being filled. One
// barrier a step is enough: it is behind the product of the stage that is filled next.
template <int N, bool ACROSS, class A, class B>
__device__ inline void product(Sums<N>& sum, A a, B b, int terms, bfloat* ring) {
  constexpr int STAGE = (ROWS + N) * DEPTH, STAGES = SHARED / (2 * STAGE);
  int steps = (terms + DEPTH - 1) / DEPTH;
  auto fill = [&](int step) {
    bfloat* at = ring + step % STAGES * STAGE;
    if (step < steps) a.copy(at), b.copy(at + ROWS * DEPTH);
    copy_commit();
  };
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < N / 16; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
  for (int step = 0; step < STAGES - 1; step++) fill(step);
  for (int step = 0; step < steps; step++) {
    copy_wait<STAGES - 2>();
    __syncthreads();
    fill(step + STAGES - 1);
    const bfloat* at = ring + step % STAGES * STAGE;
    multiply<N, ACROSS>(sum, at, at + ROWS * DEPTH);
  }
}

// Calls f(row, column, value) for all results of the block, 64 rows at a time.
// Neighbouring threads get neighbouring columns, or rows if DOWN.
template <int N, bool DOWN, class F>
__device__ inline void each(const Sums<N>& sum, float* tile, F f) {
  constexpr int PITCH = DOWN ? 64 + 4 : N + 8;  // neither writes nor reads share banks
  int warp = threadIdx.x / 32, quad = threadIdx.x % 32 / 4, pair = threadIdx.x % 4 * 2;
  for (int half = 0; half < 2; half++) {
    __syncthreads();
    if (warp % 2 == half)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < N / 16; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) {
            int m = 16 * i + quad + e / 2 * 8, n = warp / 2 * (N / 2) + 8 * j + pair + e % 2;
            tile[DOWN ? n * PITCH + m : m * PITCH + n] = sum[i][j][e];
          }
    __syncthreads();
    for (int i = threadIdx.x; i < 64 * N; i += THREADS) {
      int m = DOWN ? i % 64 : i / N, n = DOWN ? i / 64 : i % N;
      f(half * 64 + m, n, tile[DOWN ? n * PITCH + m : m * PITCH + n]);
    }
  }
}

template <int N>
__device__ inline void forward(float* y, const bfloat* x, const bfloat* w, const float* b, const float* r, const ConvSize& s, int kind) {
  DYNAMIC_SHARED(uint4, shared);
  int m = s.N * s.OT * s.OH * s.OW, k = s.KT * s.KH * s.KW * s.C, m0 = blockIdx.x * ROWS, n0 = blockIdx.y * N;
  x += (size_t)blockIdx.z * s.T * s.H * s.W * s.C, w += (size_t)blockIdx.z * s.O * k, y += (size_t)blockIdx.z * m * s.O;
  Sums<N> sum;
  product<N, false>(sum, Gather<Inputs>(x, {s}, s.C, m0, m), Lines<N>(w, k, n0, s.O), k, (bfloat*)shared);
  each<N, false>(sum, (float*)shared, [=](int i, int j, float v) {
    int q = m0 + i, o = n0 + j;
    if (q >= m || o >= s.O) return;
    v = activate(kind, b ? v + b[o] : v);
    y[q * s.O + o] = r ? v + r[q * s.O + o] : v;
  });
}

template <int N>
__device__ inline void grad_x(float* dx, const bfloat* dy, const bfloat* w, const float* at, const float* r, const ConvSize& s, int kind) {
  DYNAMIC_SHARED(uint4, shared);
  int m = s.N * s.T * s.H * s.W, k = s.KT * s.KH * s.KW * s.O, m0 = blockIdx.x * ROWS, n0 = blockIdx.y * N;
  dy += (size_t)blockIdx.z * s.OT * s.OH * s.OW * s.O, w += (size_t)blockIdx.z * s.C * k, dx += (size_t)blockIdx.z * m * s.C;
  Sums<N> sum;
  product<N, false>(sum, Gather<Outputs>(dy, {s}, s.O, m0, m), Lines<N>(w, k, n0, s.C), k, (bfloat*)shared);
  each<N, false>(sum, (float*)shared, [=](int i, int j, float v) {
    int p = m0 + i, c = n0 + j;
    if (p >= m || c >= s.C) return;
    int l = p * s.C + c;
    if (r) v += r[l];
    dx[l] = kind == NONE ? v : v * slope(kind, at[l]);
  });
}

template <int N>
__device__ inline void grad_w(float* dw, const bfloat* dy, const bfloat* x, const ConvSize& s, int O, int C, int chunk, int parts) {
  DYNAMIC_SHARED(uint4, shared);
  int taps = s.KT * s.KH * s.KW, pixels = s.N * s.OT * s.OH * s.OW, k0 = blockIdx.x * ROWS, n0 = blockIdx.y * N;
  int sample = blockIdx.z / parts, from = blockIdx.z % parts * chunk, to = min(pixels, from + chunk);
  x += (size_t)sample * s.T * s.H * s.W * s.C, dy += (size_t)sample * pixels * s.O, dw += (size_t)blockIdx.z * O * taps * C;
  Sums<N> sum;
  product<N, true>(sum, Across(x, s, k0, from, to), LinesAcross<N>(dy, s.O, n0, from, to), to - from, (bfloat*)shared);
  each<N, true>(sum, (float*)shared, [=](int i, int j, float v) {
    int k = (k0 + i) / s.C, c = (k0 + i) % s.C, o = n0 + j;
    if (k < taps && c < C && o < O) dw[(o * taps + k) * C + c] = v;
  });
}
}  // namespace mma

// x, w and dy are packed, and s counts their channels: C of x, O of dy. b and r may be null.
#define CONV_MMA(N)                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                                     \
      conv_mma_##N(float* y, const mma::bfloat* x, const mma::bfloat* w, const float* b, const float* r, ConvSize s, int kind) {           \
    mma::forward<N>(y, x, w, b, r, s, kind);                                                                                               \
  }                                                                                                                                        \
  /* at is the output of the activation in front, unused where kind is NONE. r may be null. */                                             \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                                     \
      conv_grad_x_mma_##N(float* dx, const mma::bfloat* dy, const mma::bfloat* w, const float* at, const float* r, ConvSize s, int kind) { \
    mma::grad_x<N>(dx, dy, w, at, r, s, kind);                                                                                             \
  }                                                                                                                                        \
  /* dw has a [O,KT,KH,KW,C] for each part of chunk output pixels of each sample. */                                                       \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                                     \
      conv_grad_w_mma_##N(float* dw, const mma::bfloat* dy, const mma::bfloat* x, ConvSize s, int O, int C, int chunk, int parts) {        \
    mma::grad_w<N>(dw, dy, x, s, O, C, chunk, parts);                                                                                      \
  }
CONV_MMA(64)
CONV_MMA(128)
