// Causal 3-D convolution and its gradients on tensor cores: the products of conv.cu
// with operands in bfloat16 and sums in float32.
//
//   conv_mma         y[q,o]  = Act(b[o] + Σ_k X[q,k] w[o,k]) + r[q,o],        k = (tap, c)
//   conv_grad_x_mma  dx[p,c] = Act'(s[p,c])·(Σ_k Y[p,k] w'[c,k] + r[p,c]),    k = (tap, o)
//   conv_grad_w_mma  dw[o,k] = Σ_q X[q,k] dy[q,o]
//
// Operands come from pack.cu, or are arguments stored like that: values in chunks of 8,
// 16 bytes, of one tap and pixel. Every number of channels therefore takes the same path.
//
// A block of four warps has 128×N results, N being 64 or 128, a warp 64×N/2 of them:
// of each 8×8 values that it loads from shared memory it makes four or eight products.
// Tiles of 32 terms go through a ring of 3 stages (4 where N is 64) in 48 KiB of shared
// memory: cp.async fills a stage, with zeros where the convolution reads outside, while
// ldmatrix and mma.sync.m16n8k16 work on another. Two blocks share a processor (three
// where N is 64), on those with 100 KiB of shared memory too: a thread has 220 to 242
// registers (151 to 168), 128 (64) of them sums. Where a row reads outside is one bit for each tap, found
// before the first step; a step adds the place of its tap to that of the row.
//
// Results pass through shared memory on their way out: threads then have 8 neighbouring
// channels of a pixel, 16 bytes of bfloat16, of all that is read and written.
//
// blockIdx.z counts the samples where weights differ from one to the next, and of the
// gradient of the input its phases (conv.cuh). The gradient of the weights has parts of
// the pixels for each sample, added by sum_rows, in order.
//
// Definition: conv.go, of operands rounded as precision.go says.
#include "common.cuh"
#include "conv.cuh"
#include "mma.cuh"

namespace mma {

constexpr int THREADS = 128, ROWS = 128, DEPTH = 32;

// Rows of terms are 4 chunks, of 8 values each; a tile across has rows of results for
// each term. Both begin a stage, that of ROWS results first.
template <int N>
struct Ring {
  static constexpr int FIRST = ROWS * DEPTH * 2, STAGE = FIRST + N * DEPTH * 2, STAGES = N == 64 ? 4 : 3, BYTES = STAGES * STAGE;
};

// Where chunk c of a row lies in a tile of rows of WIDTH chunks, in bytes. Chunks are
// swapped within a row, so that those of 8 neighbouring rows lie in different banks.
template <int WIDTH>
__device__ inline int chunk_at(int row, int c) {
  return (row * WIDTH + (c ^ (WIDTH == 4 ? row / 2 % 4 : row % 8))) * 16;
}

__device__ inline void carry(int& low, int& high, int base) {
  if (low >= base) low -= base, high++;
}

// Tiles of X or Y, rows of terms, and of the weights that go with them. A thread copies
// one chunk of every 32nd row, the next step's 4 chunks further on. Each call of copy is
// for the next step.
template <int N>
struct Gather {
  const uint4 *x, *w;  // [N,T,H,W,channels] of the source, [n,taps,channels], in chunks
  int channels, taps, rowsLeft, to;
  int tapT, tapH, tapW;      // taps along each axis
  int stepT, stepH, stepW;   // chunks from what a tap reads to what the next one does
  int weightT, weightH, weightW, weightRow, weight;  // the same of weights; of a row, of this thread's first
  Tap k, step;               // c counts chunks
  int at[ROWS / 32];         // what rows read through the first tap
  unsigned long long outside[ROWS / 32];  // taps through which they do not: bits of w, then h, then t

  __device__ Gather(const uint4* x, const uint4* w, const Lattice& l, const ConvSize& s, int channels, int m0, int n0, int n) : x(x), w(w), channels(channels) {
    int part = threadIdx.x % 4, row = threadIdx.x / 4;
    to = chunk_at<4>(row, part), rowsLeft = n - n0 - row;
    tapT = l.t.taps, tapH = l.h.taps, tapW = l.w.taps;
    stepW = l.w.step * channels, stepH = l.h.step * l.w.size * channels, stepT = l.t.step * l.h.size * l.w.size * channels;
    weightW = l.w.apart * channels, weightH = l.h.apart * s.KW * channels, weightT = l.t.apart * s.KH * s.KW * channels;
    weightRow = s.KT * s.KH * s.KW * channels;
    weight = (n0 + row) * weightRow + l.number(Tap{}, s.KH, s.KW) * channels;
    k = l.tap(part, channels), step = l.tap(4, channels);
    for (int j = 0; j < ROWS / 32; j++) {
      int i = m0 + row + 32 * j;
      Place p = l.first(l.place(i));
      at[j] = l.source(p) * channels;
      outside[j] = i < l.count() ? 0 : ~0ull;
      for (int t = 0; t < tapW; t++) outside[j] |= (unsigned long long)!below(p.w + t * l.w.step, l.w.size) << t;
      for (int t = 0; t < tapH; t++) outside[j] |= (unsigned long long)!below(p.h + t * l.h.step, l.h.size) << (tapW + t);
      for (int t = 0; t < tapT; t++) outside[j] |= (unsigned long long)!below(p.t + t * l.t.step, l.t.size) << (tapW + tapH + t);
    }
  }
  __device__ void copy(char* stage) {
    bool any = k.t < tapT;
    unsigned long long bits = 1ull << k.w | 1ull << (tapW + k.h) | 1ull << (tapW + tapH + k.t);
    int from = k.c + k.t * stepT + k.h * stepH + k.w * stepW, line = weight + k.c + k.t * weightT + k.h * weightH + k.w * weightW;
#pragma unroll
    for (int j = 0; j < ROWS / 32; j++) copy_async(stage + to + 2048 * j, x + (from + at[j]), any & !(outside[j] & bits));
#pragma unroll
    for (int j = 0; j < N / 32; j++) copy_async(stage + Ring<N>::FIRST + to + 2048 * j, w + (line + 32 * j * weightRow), any & (32 * j < rowsLeft));
    k.c += step.c, carry(k.c, k.w, channels);
    k.w += step.w, carry(k.w, k.h, tapW);
    k.h += step.h, carry(k.h, k.t, tapH);
    k.t += step.t;
  }
};

// What a pixel of dy reads: the number of its first tap's pixel, and where that is.
struct Reads { int source, t, h, w; };
constexpr int NOWHERE = 1 << 30;  // a place outside, half of it back too

// Tiles of X and dy across, pixels being the terms. Where they read is found by one
// thread for each pixel, by each warp in turn, a step ahead of the copies: prepare is called in front of the
// barrier behind which copy is, each time for the next step.
template <int N>
struct Across {
  static constexpr int WIDTH = N / 8, STEP = THREADS / WIDTH;
  const uint4 *x, *dy;
  Reads* table;  // [2,DEPTH]
  Lattice l;
  int channels, O, q, end, o, prepared, copied, chunks, lines;
  Place pixel, step;     // the one that this thread prepares next, and how far it is to the one behind that
  int through, t, h, w;  // from what the first tap reads to what this thread's does: chunks, and places

  __device__ Across(const uint4* x, const uint4* dy, const ConvSize& s, int k0, int n0, int from, int to, Reads* table)
      : x(x), dy(dy), table(table), l(outputs(s)), channels(s.C / 8), O(s.O / 8), q(from), end(to), o(n0 / 8 + threadIdx.x % WIDTH), prepared(0), copied(0) {
    pixel = l.place(from + threadIdx.x), step = l.place(THREADS);
    Tap k = l.tap(k0 / 8 + threadIdx.x % 16, channels);
    Place by = l.through({0, 0, 0, 0}, k);
    through = l.source(by) * channels + k.c;
    t = k.t < l.t.taps ? by.t : NOWHERE, h = by.h, w = by.w;
    chunks = chunk_at<16>(threadIdx.x / 16, threadIdx.x % 16), lines = Ring<N>::FIRST + chunk_at<WIDTH>(threadIdx.x / WIDTH, threadIdx.x % WIDTH);
  }
  __device__ void prepare() {
    if ((int)threadIdx.x / 32 == prepared % (THREADS / 32)) {
      Place p = l.first(pixel);
      table[prepared % 2 * DEPTH + threadIdx.x % 32] = {l.source(p), q + prepared * DEPTH + (int)threadIdx.x % 32 < end ? p.t : -NOWHERE / 2, p.h, p.w};
      pixel.w += step.w, carry(pixel.w, pixel.h, l.w.count);
      pixel.h += step.h, carry(pixel.h, pixel.t, l.h.count);
      pixel.t += step.t, carry(pixel.t, pixel.n, l.t.count);
      pixel.n += step.n;
    }
    prepared++;
  }
  __device__ void copy(char* stage) {
    const Reads* reads = table + copied % 2 * DEPTH;
    int i = q + copied * DEPTH + threadIdx.x / WIDTH;
#pragma unroll
    for (int j = 0; j < DEPTH / 8; j++) {
      Reads r = reads[threadIdx.x / 16 + 8 * j];
      bool inside = below(r.t + t, l.t.size) & below(r.h + h, l.h.size) & below(r.w + w, l.w.size);
      copy_async(stage + chunks + 2048 * j, x + (r.source * channels + through), inside);
    }
#pragma unroll
    for (int j = 0; j < DEPTH / STEP; j++)
      copy_async(stage + lines + 2048 * j, dy + ((i + STEP * j) * O + o), (i + STEP * j < end) & (o < O));
    copied++;
  }
};

// Of a tile with R results, the fragments that a warp multiplies: 16 results from a
// multiple of 16 behind its first on, and 16 terms; of the second factor (B) two of 8
// results.
template <int R, bool ACROSS, bool B>
struct Fragments {
  int base;  // what this lane loads of the first one, in bytes: row j of the i-th matrix
  __device__ Fragments(int first) {
    int i = threadIdx.x % 32 / 8, j = threadIdx.x % 8, r = first + (B ? i / 2 : i % 2) * 8, k = (B ? i % 2 : i / 2) * 8;
    base = ACROSS ? chunk_at<R / 8>(k + j, r / 8) : chunk_at<4>(r + j, k / 8);
  }
  // Multiples of 16 move chunks by bits that are zero in base but for the swaps.
  __device__ void load(unsigned (&f)[4], const char* tile, int r, int k) const {
    load_matrices<ACROSS>(f, tile + (ACROSS ? (base ^ r * 2) + k * R * 2 : (base ^ k * 2) + r * DEPTH * 2));
  }
};

// A warp's results are tiles of 16×8: sum[i][j] from row 64·(warp mod 2) + 16·i and
// column N/2·(warp / 2) + 8·j on.
template <int N>
using Sums = float[4][N / 16][4];

// Adds up all terms. While a stage is multiplied the others are being filled. One
// barrier a step is enough: it is behind the product of the stage that is filled next.
template <int N, bool ACROSS, class Source>
__device__ inline void product(Sums<N>& sum, Source source, int terms, char* ring) {
  constexpr int STAGE = Ring<N>::STAGE, STAGES = Ring<N>::STAGES, BYTES = Ring<N>::BYTES;
  int steps = (terms + DEPTH - 1) / DEPTH, warp = threadIdx.x / 32;
  Fragments<ROWS, ACROSS, false> a(warp % 2 * 64);
  Fragments<N, ACROSS, true> b(warp / 2 * (N / 2));
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < N / 16; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
  for (int step = 0; step < STAGES - 1; step++) {
    if constexpr (ACROSS) source.prepare(), __syncthreads();
    if (step < steps) source.copy(ring + step * STAGE);
    copy_commit();
  }
  int full = 0, empty = (STAGES - 1) * STAGE;
  for (int step = 0; step < steps; step++) {
    if constexpr (ACROSS) source.prepare();
    copy_wait<STAGES - 2>();
    __syncthreads();
    if (step + STAGES - 1 < steps) source.copy(ring + empty);
    copy_commit();
    const char *at = ring + full, *bt = at + Ring<N>::FIRST;
    full = full + STAGE == BYTES ? 0 : full + STAGE;
    empty = empty + STAGE == BYTES ? 0 : empty + STAGE;
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
      unsigned fa[4][4], fb[4];
#pragma unroll
      for (int i = 0; i < 4; i++) a.load(fa[i], at, 16 * i, k);
#pragma unroll
      for (int j = 0; j < N / 16; j += 2) {
        b.load(fb, bt, 8 * j, k);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          multiply_add(sum[i][j], fa[i], fb[0], fb[1]);
          multiply_add(sum[i][j + 1], fa[i], fb[2], fb[3]);
        }
      }
    }
  }
}

// Of rows and columns the first half in shared memory, or the second. It holds whole
// rows, or whole columns if DOWN, PITCH values apart.
template <int N, bool DOWN>
struct Half {
  static constexpr int PITCH = DOWN ? 64 + 4 : N + 8;  // neither writes nor reads share banks

  __device__ static void fill(float* tile, const Sums<N>& sum, int half) {
    int warp = threadIdx.x / 32, quad = threadIdx.x % 32 / 4, pair = threadIdx.x % 4 * 2;
    __syncthreads();  // the last stage, or the first half, may still be read
    if (warp % 2 == half)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < N / 16; j++)
#pragma unroll
          for (int e = 0; e < 4; e += 2) {
            int m = 16 * i + quad + e / 2 * 8, n = warp / 2 * (N / 2) + 8 * j + pair;
            if (DOWN)
              tile[n * PITCH + m] = sum[i][j][e], tile[(n + 1) * PITCH + m] = sum[i][j][e + 1];
            else
              *(float2*)(tile + m * PITCH + n) = {sum[i][j][e], sum[i][j][e + 1]};
          }
    __syncthreads();
  }
};

// Values from x[i] on; x holds bfloat if half.
__device__ inline void read(float (&v)[8], const void* x, int i, bool half) {
  if (half) load8(v, (const bfloat*)x + i);
  else load8(v, (const float*)x + i);
}
__device__ inline void read(float (&v)[1], const void* x, int i, bool half) { v[0] = half ? load(((const bfloat*)x)[i]) : ((const float*)x)[i]; }

__device__ inline void write(void* y, int i, const float (&v)[8], bool half) {
  if (half) store8((bfloat*)y + i, v);
  else store8((float*)y + i, v);
}
__device__ inline void write(void* y, int i, const float (&v)[1], bool half) {
  if (half) ((bfloat*)y)[i] = as<bfloat>(v[0]);
  else ((float*)y)[i] = v[0];
}

// Calls f(v, row, column), v being results of neighbouring columns: 8 of them if n, the
// number of all columns, is a multiple of 8, which arguments then read 16 bytes at a time.
template <int N, class F>
__device__ inline void each(const Sums<N>& sum, float* tile, int m0, int m, int n0, int n, const F& f) {
  constexpr int PITCH = Half<N, false>::PITCH;
  for (int half = 0; half < 2; half++) {
    Half<N, false>::fill(tile, sum, half);
    int rows = min(64, m - m0 - 64 * half), columns = min(N, n - n0);
    if (n % 8 == 0) {
      int column = threadIdx.x % (N / 8) * 8;
      for (int row = threadIdx.x / (N / 8); row < rows && column < columns; row += THREADS / (N / 8)) {
        float v[8];
        load8(v, tile + row * PITCH + column);
        f(v, m0 + 64 * half + row, n0 + column);
      }
    } else {
      for (int i = threadIdx.x; i < rows * N; i += THREADS) {
        float v[1] = {tile[i / N * PITCH + i % N]};
        if (i % N < columns) f(v, m0 + 64 * half + i / N, n0 + i % N);
      }
    }
  }
}

// activate of all values, chosen once.
template <int KIND, int V>
__device__ inline void activate_as(float (&v)[V]) {
#pragma unroll
  for (int j = 0; j < V; j++) v[j] = ::activate(KIND, v[j]);
}

template <int V>
__device__ inline void activate(int kind, float (&v)[V]) {
  switch (kind) {
    case ELU: return activate_as<ELU>(v);
    case SILU: return activate_as<SILU>(v);
    case LEAKY_RELU: return activate_as<LEAKY_RELU>(v);
    case SIGMOID: return activate_as<SIGMOID>(v);
    case TANH: return activate_as<TANH>(v);
    case GELU: return activate_as<GELU>(v);
    case SOFT_CLAMP: return activate_as<SOFT_CLAMP>(v);
  }
}

// The first row and the first column of this block's results, n columns in all. Blocks go
// through the columns first: what a row reads then lies in the second cache.
template <int N>
__device__ inline void corner(int& m0, int& n0, int n) {
  int columns = (n + N - 1) / N;
  m0 = blockIdx.x / columns * ROWS, n0 = blockIdx.x % columns * N;
}

// Which arguments hold bfloat.
enum { RESULT = 1, SLOPE = 2, SUMMAND = 4 };

template <int N>
__device__ inline void forward(void* y, const uint4* x, const uint4* w, const float* b, const void* r, const ConvSize& s, int kind, int half) {
  DYNAMIC_SHARED(uint4, shared);
  Lattice l = outputs(s);
  int m = l.count(), channels = s.C / 8, sample = blockIdx.z, m0, n0;
  corner<N>(m0, n0, s.O);
  x += (size_t)sample * s.T * s.H * s.W * channels, w += (size_t)sample * s.O * l.taps() * channels;
  Sums<N> sum;
  product<N, false>(sum, Gather<N>(x, w, l, s, channels, m0, n0, s.O), l.taps() * s.C, (char*)shared);
  each<N>(sum, (float*)shared, m0, m, n0, s.O, [=](auto& v, int q, int o) {
    constexpr int V = sizeof v / sizeof *v;
    int i = (sample * m + q) * s.O + o;
    float e[V];
    if (b) {
      load_parameters(e, b + o);
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    activate(kind, v);
    if (r) {
      read(e, r, i, half & SUMMAND);
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    write(y, i, v, half & RESULT);
  });
}

template <int N>
__device__ inline void grad_x(void* dx, const uint4* dy, const uint4* w, const void* at, const void* r, const ConvSize& s, int kind, int half) {
  DYNAMIC_SHARED(uint4, shared);
  int phases = s.ST * s.SH * s.SW, sample = blockIdx.z / phases;
  Lattice l = inputs(s, blockIdx.z % phases);
  int m = l.count(), channels = s.O / 8, m0, n0;
  corner<N>(m0, n0, s.C);
  if (m0 >= m) return;
  dy += (size_t)sample * s.OT * s.OH * s.OW * channels, w += (size_t)sample * s.C * s.KT * s.KH * s.KW * channels;
  Sums<N> sum;
  product<N, false>(sum, Gather<N>(dy, w, l, s, channels, m0, n0, s.C), l.taps() * s.O, (char*)shared);
  each<N>(sum, (float*)shared, m0, m, n0, s.C, [=](auto& v, int p, int c) {
    constexpr int V = sizeof v / sizeof *v;
    int i = (sample * s.T * s.H * s.W + l.number(p, s.T, s.H, s.W)) * s.C + c;
    float e[V];
    if (r) {
      read(e, r, i, half & SUMMAND);
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    if (kind != NONE) {
      read(e, at, i, half & SLOPE);
      for (int j = 0; j < V; j++) v[j] *= slope(kind, e[j]);
    }
    write(dx, i, v, half & RESULT);
  });
}

template <int N>
__device__ inline void grad_w(float* dw, const uint4* dy, const uint4* x, const ConvSize& s, int O, int C, int chunk, int parts) {
  DYNAMIC_SHARED(uint4, shared);
  int taps = s.KT * s.KH * s.KW, pixels = s.N * s.OT * s.OH * s.OW, k0, n0;
  corner<N>(k0, n0, O);
  int sample = blockIdx.z / parts, from = blockIdx.z % parts * chunk, to = min(pixels, from + chunk);
  x += (size_t)sample * s.T * s.H * s.W * s.C / 8, dy += (size_t)sample * pixels * s.O / 8, dw += (size_t)blockIdx.z * O * taps * C;
  Sums<N> sum;
  Reads* table = (Reads*)((char*)shared + Ring<N>::BYTES);
  product<N, true>(sum, Across<N>(x, dy, s, k0, n0, from, to, table), to - from, (char*)shared);
  for (int half = 0; half < 2; half++) {
    Half<N, true>::fill((float*)shared, sum, half);
    int i = threadIdx.x % 64, k = (k0 + 64 * half + i) / s.C, c = (k0 + 64 * half + i) % s.C;
    if (k < taps && c < C)
      for (int j = threadIdx.x / 64; j < min(N, O - n0); j += THREADS / 64)
        dw[((n0 + j) * taps + k) * C + c] = ((float*)shared)[j * Half<N, true>::PITCH + i];
  }
}
}  // namespace mma

// x, w and dy are packed, and s counts their channels: C of x, O of dy. b and r may be null.
#define CONV_MMA(N)                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_mma_##N(void* y, const uint4* x, const uint4* w, const float* b, const void* r, ConvSize s, int kind, int half) {               \
    mma::forward<N>(y, x, w, b, r, s, kind, half);                                                                                         \
  }                                                                                                                                        \
  /* at is the output of the activation in front, unused where kind is NONE. r may be null. */                                             \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_grad_x_mma_##N(void* dx, const uint4* dy, const uint4* w, const void* at, const void* r, ConvSize s, int kind, int half) {      \
    mma::grad_x<N>(dx, dy, w, at, r, s, kind, half);                                                                                       \
  }                                                                                                                                        \
  /* dw has a [O,KT,KH,KW,C] for each part of chunk output pixels of each sample. */                                                       \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_grad_w_mma_##N(float* dw, const uint4* dy, const uint4* x, ConvSize s, int O, int C, int chunk, int parts) {                    \
    mma::grad_w<N>(dw, dy, x, s, O, C, chunk, parts);                                                                                      \
  }
CONV_MMA(64)
CONV_MMA(128)
