// Causal 3-D convolution and its gradients in float32, as implicit GEMMs:
//
//   conv (fprop)         y[q,o]  = Act(b[o] + Σ_k X[q,k] w[o,k]) + r[q,o],         k = (tap, c)
//   conv_grad_x (dgrad)  dx[p,c] = Act'(s[p,c])·(Σ_k Y[p,k] w[o,tap,c] + r[p,c]),  k = (tap, o)
//   conv_grad_shuffle    dx[p',c] = Act'(s[p',c])·(Σ_k Y[p,k] w[o,tap,c] + r[p,c]), p' being where a Shuffle moves p
//   conv_grad_w (wgrad)  dw[o,k] = Σ_q X[q,k] dy[q,o]
//
// X[q,k] is the im2col matrix of x: what output pixel q reads through tap k. Y[p,k] is that
// of dy: what input pixel p reads. Both are 0 outside and are never stored.
//
//            M              N   K              A                  B
//   fprop    output pixels  O   taps·C         im2col, K-major    filter, K-major
//   dgrad    input pixels   C   taps·O         im2col, K-major    filter, MN-major
//   wgrad    taps·C         O   output pixels  im2col, MN-major   dy, MN-major
//
// The taps along w of a pixel read adjacent pixels, so that they are one run of KW·C adjacent
// values, for each tap of t and h: K of fprop and dgrad, M of wgrad. A K step is within one
// run, and the mainloop has no division. Few channels waste little: a run of the stem
// (7 taps, 3 channels) is 21 values, padded to 32.
//
// CTA tile: 128×N×16, N = 64 or 128, of 256 threads; a thread accumulates 8×N/16. cp.async
// pipeline of 3 stages (4 where N is 64) in 48 KiB of shared memory: one stage is loaded, with
// zero fill outside of the source, while another is multiplied. Copies are of 16 bytes where
// channels are a multiple of 4 and the operand is aligned, else of 4.
//
// Shared memory: a warp has 32×N/2 results, a thread every 4th row and 8th column of them if
// the operand is K-major, else groups of 4. 8 threads then read 16 bytes each of different
// banks: chunks of a K-major row are swizzled. A K step has 64·N FMA of a thread for
// 32 + N/4 reads of 16 bytes.
//
// Wgrad is split-K over blockIdx.z; sum_rows adds the partial sums in order. Dgrad with strides
// has a phase per offset within the strides (conv.cuh), in blockIdx.z, so that no tap is
// multiplied that reads between output pixels. With weights per sample blockIdx.z counts
// samples too, and sizes are those of one sample; a split of wgrad is then a sample.
//
// 2 CTAs per SM: 128 registers per thread, of which 64 (32) are accumulators.
//
// Definition: conv.go, modconv.go.
#include "common.cuh"
#include "conv.cuh"
#include "mma.cuh"

namespace simt {

constexpr int THREADS = 256, TILE_M = 128, TILE_K = 16;

// The pipeline's stages in shared memory, in values: tile A, then tile B. A K-major tile has a
// row of TILE_K values per M or N; an MN-major tile has a row of M or N values per k.
template <int N>
struct Pipeline {
  static constexpr int A = TILE_M * TILE_K, STAGE = A + N * TILE_K, STAGES = N == 64 ? 4 : 3, SIZE = STAGES * STAGE;
};

// The index of k in a row of a K-major tile. The swizzle XORs chunks of 4 values, so that
// those of 8 adjacent rows are in different banks.
__device__ inline int k_major(int row, int k) { return row * TILE_K + (k / 4 ^ row / 2 % 4) * 4 + k % 4; }

// Copies V values.
template <int V>
__device__ inline void copy(float* to, const float* from, bool inside) {
  if (V == 4) cp_async(to, from, inside);
  else cp_async4(to, from, inside);
}

// What a thread copies of a K-major tile with R rows: COUNT times V values of one row.
template <int R, int V>
struct KMajor {
  static constexpr int PER_ROW = THREADS / R, COUNT = TILE_K / (PER_ROW * V);
  __device__ static int row() { return threadIdx.x / PER_ROW; }
  __device__ static int k(int i) { return (threadIdx.x % PER_ROW + i * PER_ROW) * V; }
};

// The same of an MN-major tile: COUNT times V rows.
template <int R, int V>
struct MNMajor {
  static constexpr int PER_K = R / V, COUNT = TILE_K * PER_K / THREADS;
  __device__ static int row() { return threadIdx.x % PER_K * V; }
  __device__ static int k(int i) { return threadIdx.x / PER_K + i * (THREADS / PER_K); }
};

// A K step of fprop and dgrad: TILE_K values from value j of the run of taps t and h, which is
// channel o of one of its taps.
struct KStep {
  int t, h, j, tap, o;
  __device__ void advance(int run, int taps_h, int channels) {
    j += TILE_K, o += TILE_K;
    while (o >= channels) o -= channels, tap++;
    if (j < run) return;
    j = tap = o = 0;
    if (++h < taps_h) return;
    h = 0, t++;
  }
};

// Whether x can be copied by 16 bytes: rows are of a multiple of `columns` values.
__device__ inline bool vectorized(const float* x, int columns) { return columns % 4 == 0 && (size_t)x % 16 == 0; }

// Operand A of fprop and dgrad: X or Y. Sizes are read from the kernel's parameters where they
// are used: they then take no registers.
template <bool DGRAD>
struct Im2col {
  const ConvSize& s;
  const float* x;          // the run that this thread's pixel reads through the first taps of t and h
  int t, h, begin, count;  // its frame and line; which of its values are inside of the source
  int step_t;
  bool wide;

  __device__ int frames() const { return DGRAD ? s.OT : s.T; }
  __device__ int lines() const { return DGRAD ? s.OH : s.H; }
  __device__ int line() const { return DGRAD ? s.OW * s.O : s.W * s.C; }

  __device__ Im2col(const float* source, const PixelMap& map, const ConvSize& s, int m0) : s(s) {
    int channels = DGRAD ? s.O : s.C;
    Coord p = map.origin(map.coord(min(m0 + KMajor<TILE_M, 1>::row(), map.pixels() - 1)));
    int w = (p.w + min(0, (map.w.taps - 1) * map.w.tap_step)) * channels;
    begin = max(0, -w), count = max(0, min(map.w.taps * channels, line() - w) - begin);
    t = p.t, h = p.h, step_t = map.t.tap_step;
    x = source + ((p.n * frames() + t) * lines() + h) * line() + w;
    wide = vectorized(source, channels);
  }
  template <int V>
  __device__ void copy_tile(float* tile, const KStep& k) const {
    using Copies = KMajor<TILE_M, V>;
    int by_t = k.t * step_t, by_h = DGRAD ? -k.h : k.h;  // taps along h have no dilation
    bool inside = in_range(t + by_t, frames()) & in_range(h + by_h, lines());
    const float* from = x + (by_t * lines() + by_h) * line();
#pragma unroll
    for (int i = 0; i < Copies::COUNT; i++) {
      int j = k.j + Copies::k(i);
      copy<V>(tile + k_major(Copies::row(), Copies::k(i)), from + j, inside & in_range(j - begin, count));
    }
  }
};

// Operand B of fprop: w[o,k] with row o.
template <int N>
struct FpropFilter {
  const ConvSize& s;
  const float* w;  // row o
  int count;       // values of a run, 0 if there is no row o
  bool wide;

  __device__ int run() const { return s.KW * s.C; }
  __device__ int taps_h() const { return s.KH; }
  __device__ int channels() const { return s.C; }

  __device__ FpropFilter(const float* filter, const PixelMap&, const ConvSize& s, int n0) : s(s) {
    int o = n0 + KMajor<N, 1>::row();
    count = o < s.O ? run() : 0, wide = vectorized(filter, s.C);
    w = filter + o * (s.KT * s.KH * run());
  }
  template <int V>
  __device__ void copy_tile(float* tile, const KStep& k) const {
    using Copies = KMajor<N, V>;
    const float* from = w + (k.t * s.KH + k.h) * run();
#pragma unroll
    for (int i = 0; i < Copies::COUNT; i++) {
      int j = k.j + Copies::k(i);
      copy<V>(tile + k_major(Copies::row(), Copies::k(i)), from + j, j < count);
    }
  }
};

// Operand B of dgrad: w[o,tap,c] with row c. The taps of a run are read from last to first.
template <int N>
struct DgradFilter {
  const ConvSize& s;
  const float* w;  // row c of the last tap along w
  int taps_w, taps, stride_t;  // taps: of h; stride_t: between those of t
  bool inside, wide;

  __device__ int run() const { return taps_w * s.O; }
  __device__ int taps_h() const { return taps; }
  __device__ int channels() const { return s.O; }

  __device__ DgradFilter(const float* filter, const PixelMap& map, const ConvSize& s, int n0) : s(s) {
    taps_w = map.w.taps, taps = map.h.taps, stride_t = map.t.tap_stride, wide = vectorized(filter, s.C);
    int c = n0 + (wide ? MNMajor<N, 4>::row() : MNMajor<N, 1>::row());
    inside = c < s.C;
    w = filter + map.filter_index({0, 0, taps_w - 1, 0}, s.KH, s.KW) * s.C + c;
  }
  template <int V>
  __device__ void copy_tile(float* tile, const KStep& k) const {
    using Copies = MNMajor<N, V>;
    const float* from = w + (k.t * stride_t * s.KH + k.h * s.SH) * s.KW * s.C;  // of taps along h and w every SH-th and SW-th
#pragma unroll 1
    for (int i = 0; i < Copies::COUNT; i++) {
      int tap = k.tap, o = k.o + Copies::k(i);
      while (o >= s.O) o -= s.O, tap++;
      copy<V>(tile + Copies::k(i) * N + Copies::row(), from + (o * s.KT * s.KH * s.KW - tap * s.SW) * s.C, inside & (tap < taps_w));
    }
  }
};

// Loads the stages of fprop and dgrad. Each call of load_stage loads the next K step.
template <class A, class B>
struct RunLoader {
  static constexpr bool PIXEL_TABLE = false;
  A a;
  B b;
  KStep k;

  __device__ RunLoader(const A& a, const B& b) : a(a), b(b), k{0, 0, 0, 0, 0} {}
  __device__ void prefetch_pixels() {}
  __device__ void load_stage(float* stage) {
    if (a.wide) a.template copy_tile<4>(stage, k);
    else a.template copy_tile<1>(stage, k);
    if (b.wide) b.template copy_tile<4>(stage + TILE_M * TILE_K, k);
    else b.template copy_tile<1>(stage + TILE_M * TILE_K, k);
    k.advance(b.run(), b.taps_h(), b.channels());
  }
};

// The number of K steps of fprop and dgrad.
__device__ inline int run_steps(const PixelMap& map, int channels) { return map.t.taps * map.h.taps * ceil_div(map.w.taps * channels, TILE_K); }

// The source pixel that an output pixel reads through its first tap: index and coordinates.
struct SourcePixel { int index, t, h, w; };
constexpr int OUTSIDE = 1 << 30;  // a coordinate that is outside of any source, also minus half of it

// Loads the stages of wgrad: A is X, B is dy, K is output pixels. For each K step TILE_K
// threads, in rotation, compute the source pixels of the step into a double-buffered table:
// prefetch_pixels runs before the barrier that precedes load_stage, each time for the next step.
template <int N>
struct PixelLoader {
  static constexpr bool PIXEL_TABLE = true;
  const float *x, *dy;
  SourcePixel* table;  // [2,TILE_K]
  PixelMap map;
  int channels, O, q, q_end, n0, prefetched, loaded;
  Coord pixel, step;       // the pixel whose source this thread computes next, and the distance to the one after that
  int t, h, j, offset;     // this thread's row of A: tap of t and h, value of the run; offset from the first tap of a pixel
  bool wide_x, wide_dy;

  __device__ PixelLoader(const float* x, const float* dy, const ConvSize& s, int m0, int n0, int q_begin, int q_end, SourcePixel* table)
      : x(x), dy(dy), table(table), map(fprop_map(s)), channels(s.C), O(s.O), q(q_begin), q_end(q_end), n0(n0), prefetched(0), loaded(0) {
    pixel = map.coord(q_begin + threadIdx.x), step = map.coord(THREADS);
    wide_x = vectorized(x, channels), wide_dy = vectorized(dy, O);
    int run = map.w.taps * channels, row = m0 + (wide_x ? MNMajor<TILE_M, 4>::row() : MNMajor<TILE_M, 1>::row()), tap = row / run;
    j = row % run, h = tap % map.h.taps * map.h.tap_step, t = tap / map.h.taps * map.t.tap_step;
    offset = (t * map.h.size + h) * map.w.size * channels + j;
    if (tap >= map.t.taps * map.h.taps) t = OUTSIDE;
  }
  __device__ void prefetch_pixels() {
    int i = threadIdx.x % TILE_K;
    if ((int)threadIdx.x / TILE_K == prefetched % (THREADS / TILE_K)) {
      Coord p = map.origin(pixel);
      table[prefetched % 2 * TILE_K + i] = {map.source_index(p), q + prefetched * TILE_K + i < q_end ? p.t : -OUTSIDE / 2, p.h, p.w};
      pixel.w += step.w;
      if (pixel.w >= map.w.count) pixel.w -= map.w.count, pixel.h++;
      pixel.h += step.h;
      if (pixel.h >= map.h.count) pixel.h -= map.h.count, pixel.t++;
      pixel.t += step.t;
      if (pixel.t >= map.t.count) pixel.t -= map.t.count, pixel.n++;
      pixel.n += step.n;
    }
    prefetched++;
  }
  template <int V>
  __device__ void copy_x(float* tile) const {
    using Copies = MNMajor<TILE_M, V>;
    int line = map.w.size * channels;
#pragma unroll
    for (int i = 0; i < Copies::COUNT; i++) {
      SourcePixel p = table[loaded % 2 * TILE_K + Copies::k(i)];
      bool inside = in_range(p.t + t, map.t.size) & in_range(p.h + h, map.h.size) & in_range(p.w * channels + j, line);
      copy<V>(tile + Copies::k(i) * TILE_M + Copies::row(), x + (p.index * channels + offset), inside);
    }
  }
  template <int V>
  __device__ void copy_dy(float* tile) const {
    using Copies = MNMajor<N, V>;
    int o = n0 + Copies::row();
#pragma unroll
    for (int i = 0; i < Copies::COUNT; i++) {
      int k = q + loaded * TILE_K + Copies::k(i);
      copy<V>(tile + Copies::k(i) * N + Copies::row(), dy + (k * O + o), (k < q_end) & (o < O));
    }
  }
  __device__ void load_stage(float* stage) {
    if (wide_x) copy_x<4>(stage);
    else copy_x<1>(stage);
    if (wide_dy) copy_dy<4>(stage + TILE_M * TILE_K);
    else copy_dy<1>(stage + TILE_M * TILE_K);
    loaded++;
  }
};

// The accumulators of a thread. acc[i][j] is at row 32·(warp mod 4) + row_of<A is K-major>(i)
// and column N/2·(warp / 4) + column_of<B is K-major>(j).
template <int N>
using Accumulators = float[8][N / 16];

template <bool K_MAJOR>
__device__ inline int row_of(int i) { return K_MAJOR ? threadIdx.x % 32 / 8 + 4 * i : threadIdx.x % 32 / 8 * 4 + i % 4 + i / 4 * 16; }
template <bool K_MAJOR>
__device__ inline int column_of(int j) { return K_MAJOR ? threadIdx.x % 8 + 8 * j : threadIdx.x % 8 * 4 + j % 4 + j / 4 * 32; }

// Access to V contiguous values, V = 1, 2 or 4.
__device__ inline void read(float (&v)[1], const float* x) { v[0] = *x; }
__device__ inline void read(float (&v)[2], const float* x) {
  float2 u = *(const float2*)x;
  v[0] = u.x, v[1] = u.y;
}
__device__ inline void read(float (&v)[4], const float* x) {
  float4 u = *(const float4*)x;
  v[0] = u.x, v[1] = u.y, v[2] = u.z, v[3] = u.w;
}
__device__ inline void write(float* y, const float (&v)[1]) { *y = v[0]; }
__device__ inline void write(float* y, const float (&v)[4]) { *(float4*)y = {v[0], v[1], v[2], v[3]}; }

// acc += A·B over the K step of a stage, 4 k at a time or, where only A is K-major, 2. The loop
// is not unrolled: ptxas would prefetch more than there are registers for.
template <int N, bool KMajorA, bool KMajorB>
__device__ inline void multiply(Accumulators<N>& acc, const float* stage) {
  constexpr int STEP = KMajorA && !KMajorB ? 2 : 4;
  int warp = threadIdx.x / 32, m = warp % 4 * 32 + row_of<KMajorA>(0), n = warp / 4 * (N / 2) + column_of<KMajorB>(0);
  int at = KMajorA ? k_major(m, 0) : m, bt = KMajorB ? k_major(n, 0) : n;
  const float* b_tile = stage + Pipeline<N>::A;
#pragma unroll 1
  for (int k0 = 0; k0 < TILE_K; k0 += STEP) {
    float a[8][STEP], b[STEP][N / 16];
    if (KMajorA) {
#pragma unroll
      for (int i = 0; i < 8; i++) read(a[i], stage + (at ^ (k0 / 4 ^ i % 2 * 2) * 4) + 4 * i * TILE_K + k0 % 4);  // the swizzle of row m + 4·i
    } else {
#pragma unroll
      for (int k = 0; k < STEP; k++)
#pragma unroll
        for (int i = 0; i < 8; i += 4) {
          float v[4];
          read(v, stage + (k0 + k) * TILE_M + at + 4 * i);
#pragma unroll
          for (int e = 0; e < 4; e++) a[i + e][k] = v[e];
        }
    }
    if (KMajorB) {
#pragma unroll
      for (int j = 0; j < N / 16; j++) {
        float v[4];
        read(v, b_tile + (bt ^ k0) + 8 * j * TILE_K);
#pragma unroll
        for (int k = 0; k < STEP; k++) b[k][j] = v[k];
      }
    } else {
#pragma unroll
      for (int k = 0; k < STEP; k++)
#pragma unroll
        for (int j = 0; j < N / 16; j += 4) read(*(float(*)[4])(b[k] + j), b_tile + (k0 + k) * N + bt + 8 * j);
    }
    // In the order in which operands arrive.
    if (KMajorB) {
#pragma unroll
      for (int j = 0; j < N / 16; j++)
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
          for (int k = 0; k < STEP; k++) acc[i][j] += a[i][k] * b[k][j];
    } else {
#pragma unroll
      for (int k = 0; k < STEP; k++)
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
          for (int j = 0; j < N / 16; j++) acc[i][j] += a[i][k] * b[k][j];
    }
  }
}

// acc = A·B over steps of TILE_K. One barrier per K step is enough: it separates the products
// of a stage from the load that overwrites the stage next.
template <int N, bool KMajorA, bool KMajorB, class Loader>
__device__ inline void mainloop(Accumulators<N>& acc, Loader& loader, int steps, float* smem) {
  constexpr int STAGE = Pipeline<N>::STAGE, STAGES = Pipeline<N>::STAGES, SIZE = Pipeline<N>::SIZE;
#pragma unroll
  for (int i = 0; i < 8; i++)
#pragma unroll
    for (int j = 0; j < N / 16; j++) acc[i][j] = 0;
  for (int step = 0; step < STAGES - 1; step++) {
    if constexpr (Loader::PIXEL_TABLE) loader.prefetch_pixels(), __syncthreads();
    if (step < steps) loader.load_stage(smem + step * STAGE);
    cp_async_commit();
  }
  int read_stage = 0, write_stage = (STAGES - 1) * STAGE;
#pragma unroll 1
  for (int step = 0; step < steps; step++) {
    loader.prefetch_pixels();
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (step + STAGES - 1 < steps) loader.load_stage(smem + write_stage);
    cp_async_commit();
    multiply<N, KMajorA, KMajorB>(acc, smem + read_stage);
    read_stage = read_stage + STAGE == SIZE ? 0 : read_stage + STAGE;
    write_stage = write_stage + STAGE == SIZE ? 0 : write_stage + STAGE;
  }
  cp_async_wait<0>();
}

// Calls f(v, row, column) for the CTA tile, v being accumulators of adjacent columns: 4 if
// `wide`, so that f can vectorize; otherwise 1. n is the number of columns. The accumulators
// pass through shared memory, 32 columns of each warp at a time: half of the registers are
// then free for the activation.
template <int N, bool KMajorB, class F>
__device__ inline void epilogue(const Accumulators<N>& acc, float* tile, int m0, int m, int n0, int n, bool wide, const F& f) {
  constexpr int WIDTH = 64, PITCH = WIDTH + 8;  // neither stores nor loads have bank conflicts
  int warp = threadIdx.x / 32, rows = min(TILE_M, m - m0);
#pragma unroll
  for (int pass = 0; pass < N / WIDTH; pass++) {
    __syncthreads();  // the last stage, or the pass before, may still be read
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) tile[(warp % 4 * 32 + row_of<true>(i)) * PITCH + warp / 4 * 32 + column_of<KMajorB>(j)] = acc[i][4 * pass + j];
    __syncthreads();
    auto column = [&](int c) { return n0 + c / 32 * (N / 2) + pass * 32 + c % 32; };
    if (wide) {
      int c = threadIdx.x % (WIDTH / 4) * 4;
#pragma unroll 1
      for (int row = threadIdx.x / (WIDTH / 4); row < rows && column(c) < n; row += THREADS / (WIDTH / 4)) {
        float v[4];
        read(v, tile + row * PITCH + c);
        f(v, m0 + row, column(c));
      }
    } else {
#pragma unroll 1
      for (int i = threadIdx.x; i < rows * WIDTH; i += THREADS) {
        float v[1] = {tile[i / WIDTH * PITCH + i % WIDTH]};
        if (column(i % WIDTH) < n) f(v, m0 + i / WIDTH, column(i % WIDTH));
      }
    }
  }
}

// The origin of the CTA tile. Rasterize along N first: tile A stays in L2.
template <int N>
__device__ inline void rasterize(int& m0, int& n0, int n) {
  int columns = ceil_div(n, N);
  m0 = blockIdx.x / columns * TILE_M, n0 = blockIdx.x % columns * N;
}

template <int N>
__device__ inline void fprop(float* y, const float* x, const float* w, const float* b, const float* r, const ConvSize& s, int kind) {
  DYNAMIC_SHARED(float4, shared);
  PixelMap map = fprop_map(s);
  int m = map.pixels(), sample = blockIdx.z, m0, n0;
  rasterize<N>(m0, n0, s.O);
  x += (size_t)sample * s.T * s.H * s.W * s.C;
  w += (size_t)sample * s.O * map.taps() * s.C;
  Accumulators<N> acc;
  RunLoader<Im2col<false>, FpropFilter<N>> loader(Im2col<false>(x, map, s, m0), FpropFilter<N>(w, map, s, n0));
  mainloop<N, true, true>(acc, loader, run_steps(map, s.C), (float*)shared);
  epilogue<N, true>(acc, (float*)shared, m0, m, n0, s.O, vectorized(y, s.O) && vectorized(r, s.O), [=](auto& v, int q, int o) {
    constexpr int V = sizeof v / sizeof *v;
    int i = (sample * m + q) * s.O + o;
    float e[V];
    if (b)
#pragma unroll
      for (int j = 0; j < V; j++) v[j] += b[o + j];
    dispatch_activation(kind, [&](auto k) {
#pragma unroll
      for (int j = 0; j < V; j++) v[j] = activate(decltype(k)::value, v[j]);
    });
    if (r) {
      read(e, r + i);
#pragma unroll
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    write(y + i, v);
  });
}

// Calls f(v, pixel, channel) for each adjacent channels of input pixels, v being their sums over
// dy: 4 if `wide`, otherwise 1.
template <int N, class F>
__device__ inline void dgrad_sums(const float* dy, const float* w, const ConvSize& s, bool wide, const F& f) {
  DYNAMIC_SHARED(float4, shared);
  int phases = s.ST * s.SH * s.SW, sample = blockIdx.z / phases;
  PixelMap map = dgrad_map(s, blockIdx.z % phases);
  int m = map.pixels(), m0, n0;
  rasterize<N>(m0, n0, s.C);
  if (m0 >= m) return;
  dy += (size_t)sample * s.OT * s.OH * s.OW * s.O;
  w += (size_t)sample * s.O * s.KT * s.KH * s.KW * s.C;
  Accumulators<N> acc;
  RunLoader<Im2col<true>, DgradFilter<N>> loader(Im2col<true>(dy, map, s, m0), DgradFilter<N>(w, map, s, n0));
  mainloop<N, true, false>(acc, loader, run_steps(map, s.O), (float*)shared);
  int phase = blockIdx.z % phases;
  asm volatile("" : "+r"(phase));  // the map is made again: over the mainloop it would take registers
  map = dgrad_map(s, phase);
  epilogue<N, false>(acc, (float*)shared, m0, m, n0, s.C, wide, [=](auto& v, int p, int c) { f(v, sample * s.T * s.H * s.W + map.pixel_index(p, s.T, s.H, s.W), c); });
}

// place(pixel) is where the pixel is in dx and saved.
template <int N, class F>
__device__ inline void dgrad(float* dx, const float* dy, const float* w, const float* saved, const float* r, const ConvSize& s, int kind, const F& place) {
  dgrad_sums<N>(dy, w, s, vectorized(dx, s.C) && vectorized(saved, s.C) && vectorized(r, s.C), [=](auto& v, int pixel, int c) {
    constexpr int V = sizeof v / sizeof *v;
    int i = place(pixel) * s.C + c;
    float e[V];
    if (r) {
      read(e, r + pixel * s.C + c);
#pragma unroll
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    if (kind != NONE) {
      read(e, saved + i);
      dispatch_activation(kind, [&](auto k) {
#pragma unroll
        for (int j = 0; j < V; j++) v[j] *= slope(decltype(k)::value, e[j]);
      });
    }
    write(dx + i, v);
  });
}

template <int N>
__device__ inline void dgrad_geglu(float* dx, const float* dy, const float* w, const float* x, const ConvSize& s) {
  dgrad_sums<N>(dy, w, s, vectorized(dx, s.C) && vectorized(x, s.C), [=](auto& v, int pixel, int c) {
    constexpr int V = sizeof v / sizeof *v;
    int i = pixel * 2 * s.C + c;
    float u[V], g[V];
    read(u, x + i), read(g, x + i + s.C);
    geglu_slopes(v, u, g);
    write(dx + i, v), write(dx + i + s.C, u);
  });
}

template <int N>
__device__ inline void wgrad(float* dw, const float* dy, const float* x, const ConvSize& s, int chunk) {
  DYNAMIC_SHARED(float4, shared);
  int weights = s.KT * s.KH * s.KW * s.C, q_begin = blockIdx.z * chunk, q_end = min(s.N * s.OT * s.OH * s.OW, q_begin + chunk), m0, n0;
  rasterize<N>(m0, n0, s.O);
  float* smem = (float*)shared;
  Accumulators<N> acc;
  PixelLoader<N> loader(x, dy, s, m0, n0, q_begin, q_end, (SourcePixel*)(smem + Pipeline<N>::SIZE));
  mainloop<N, false, false>(acc, loader, ceil_div(q_end - q_begin, TILE_K), smem);
  dw += (size_t)blockIdx.z * s.O * weights;
  bool aligned = vectorized(dw, weights);
  int warp = threadIdx.x / 32;
#pragma unroll
  for (int j = 0; j < N / 16; j++) {
    int o = n0 + warp / 4 * (N / 2) + column_of<false>(j);
#pragma unroll
    for (int i = 0; i < 8; i += 4) {
      int row = m0 + warp % 4 * 32 + row_of<false>(i);
      float* to = dw + (o * weights + row);
      if (o >= s.O) continue;
      if (aligned) {
        if (row < weights) *(float4*)to = {acc[i][j], acc[i + 1][j], acc[i + 2][j], acc[i + 3][j]};
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (row + e < weights) to[e] = acc[i + e][j];
      }
    }
  }
}
}  // namespace simt

#define CONV(N)                                                                                                                  \
  /* b and r may be null. */                                                                                                     \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                                           \
      conv_##N(float* y, const float* x, const float* w, const float* b, const float* r, ConvSize s, int kind) {                 \
    simt::fprop<N>(y, x, w, b, r, s, kind);                                                                                      \
  }                                                                                                                              \
  /* saved is s of the preceding activation, unused if kind is NONE. r may be null. */                                           \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                                           \
      conv_grad_x_##N(float* dx, const float* dy, const float* w, const float* saved, const float* r, ConvSize s, int kind) {    \
    simt::dgrad<N>(dx, dy, w, saved, r, s, kind, [](int pixel) { return pixel; });                                               \
  }                                                                                                                              \
  /* x is the input of the activation. r may be null. */                                                                         \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                                           \
      conv_grad_shuffle_##N(float* dx, const float* dy, const float* w, const float* x, const float* r, ConvSize s, int kind, Neighbours near) { \
    simt::dgrad<N>(dx, dy, w, x, r, s, kind, [=](int pixel) { return shuffled_index(pixel, near, s.H, s.W); });                            \
  }                                                                                                                              \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                                           \
      conv_grad_geglu_##N(float* dx, const float* dy, const float* w, const float* x, ConvSize s) {                              \
    simt::dgrad_geglu<N>(dx, dy, w, x, s);                                                                                       \
  }                                                                                                                              \
  /* dw is [splits,O,KT,KH,KW,C]: a split has chunk output pixels. */                                                            \
  extern "C" __global__ void __launch_bounds__(256, 2) conv_grad_w_##N(float* dw, const float* dy, const float* x, ConvSize s, int chunk) { \
    simt::wgrad<N>(dw, dy, x, s, chunk);                                                                                         \
  }
CONV(64)
CONV(128)
