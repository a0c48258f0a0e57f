// Causal 3-D convolution and its gradients on tensor cores (mma.sync): the implicit GEMMs of
// conv.cu with bfloat16 operands and float32 accumulators.
//
//   conv_mma (fprop)         y[q,o]  = Act(b[o] + Σ_k X[q,k] w[o,k]) + r[q,o],        k = (tap, c)
//   conv_geglu_mma           y[q,o]  = h[q,o]·GELU(h[q,O+o]) of 2·O channels h[q,o] = b[o] + Σ_k X[q,k] w[o,k]
//   conv_grad_x_mma (dgrad)  dx[p,c] = Act'(s[p,c])·(Σ_k Y[p,k] w'[c,k] + r[p,c]),    k = (tap, o)
//   conv_grad_geglu_mma      du, dg of d = Σ_k Y[p,k] w'[c,k]:  du[p,c] = d·GELU(g[p,c]),  dg[p,c] = d·u[p,c]·GELU'(g[p,c])
//   conv_grad_shuffle_mma    dx[p',c] = Act'(s[p',c])·(Σ_k Y[p,k] w'[c,k] + r[p,c]), p' being where a Shuffle moves p
//   conv_grad_w_mma (wgrad)  dw[o,k] = Σ_q X[q,k] dy[q,o]
//
//            M              N   K              A                  B
//   fprop    output pixels  O   taps·C         im2col, K-major    filter, K-major
//   dgrad    input pixels   C   taps·O         im2col, K-major    filter, K-major
//   wgrad    taps·C         O   output pixels  im2col, MN-major   dy, MN-major
//
// Operands come from pack.cu or are activations stored that way: chunks of 8 channels of one
// pixel and tap, 16 bytes. Channels are padded to whole chunks, so every channel count takes
// the same path.
//
// CTA tile: 128×N×32, N = 64 or 128. Warp tile: 64×N/2, 4 warps. cp.async pipeline of 3 stages
// (4 where N is 64) in 48 KiB of shared memory: one stage is loaded, with zero fill outside
// of the source, while ldmatrix and mma.sync.m16n8k16 consume another. 2 CTAs per SM (3 where
// N is 64), also with 100 KiB of shared memory per SM: 220 to 242 registers per thread (151
// to 168), of which 128 (64) are accumulators. A row has one bounds bit per tap, computed
// before the mainloop; a K step adds the offset of its tap to that of the row.
//
// Epilogue: accumulators pass through shared memory, so that a thread has 8 contiguous
// channels of a pixel and reads and writes 16 bytes of bfloat16.
//
// blockIdx.z: the sample where weights differ per sample; in dgrad also the phase of the
// strides (conv.cuh); in wgrad also the split of split-K over pixels, whose partial sums
// sum_rows adds in order.
//
// Definition: conv.go, of operands rounded as in precision.go.
#include "common.cuh"
#include "conv.cuh"
#include "mma.cuh"

namespace mma {

constexpr int THREADS = 128, TILE_M = 128, TILE_K = 32;

// The pipeline's stages in shared memory: tile A, then tile B. A K-major tile has rows of 4
// chunks of 8 K; an MN-major tile has a row of M or N values per k.
template <int N>
struct Pipeline {
  static constexpr int A_BYTES = TILE_M * TILE_K * 2, STAGE_BYTES = A_BYTES + N * TILE_K * 2, STAGES = N == 64 ? 4 : 3, BYTES = STAGES * STAGE_BYTES;
};

// The byte offset of chunk c of a row in a tile with WIDTH chunks per row. The swizzle XORs
// chunks within a row, so that those of 8 adjacent rows are in different banks.
template <int WIDTH>
__device__ inline int swizzle(int row, int c) {
  return (row * WIDTH + (c ^ (WIDTH == 4 ? row / 2 % 4 : row % 8))) * 16;
}

__device__ inline void carry(int& low, int& high, int base) {
  if (low >= base) low -= base, high++;
}

// Loads K-major tiles of fprop and dgrad: A is the im2col matrix X or Y, B the filter. A
// thread copies one chunk of every 32nd row; the next stage's chunk is 4 further along K.
// Each call of load_stage loads the next K step.
// GEGLU: the first half of the columns are channels of u, the other half the same channels of g,
// n is their number and n0 the first.
template <int N, bool GEGLU = false>
struct KMajorLoader {
  const uint4 *x, *w;  // source [N,T,H,W,channels] and filter [n,taps,channels], in chunks
  int channels, taps, rows_left, to;
  int taps_t, taps_h, taps_w;                          // taps along each axis
  int step_t, step_h, step_w;                          // source offset from a tap to the next, in chunks
  int filter_t, filter_h, filter_w, filter_row, filter, gates;  // the same in the filter; of a row; of this thread's first chunk; from u to g
  Tap k, step;                                         // c counts chunks
  int origin[TILE_M / 32];                             // source offset of the first tap of each row
  unsigned long long outside[TILE_M / 32];             // taps that read outside of the source: bits of w, then h, then t

  __device__ KMajorLoader(const uint4* x, const uint4* w, const PixelMap& map, const ConvSize& s, int channels, int m0, int n0, int n) : x(x), w(w), channels(channels) {
    int chunk = threadIdx.x % 4, row = threadIdx.x / 4;
    to = swizzle<4>(row, chunk), rows_left = n - n0 - row;
    taps_t = map.t.taps, taps_h = map.h.taps, taps_w = map.w.taps;
    step_w = map.w.tap_step * channels, step_h = map.h.tap_step * map.w.size * channels, step_t = map.t.tap_step * map.h.size * map.w.size * channels;
    filter_w = map.w.tap_stride * channels, filter_h = map.h.tap_stride * s.KW * channels, filter_t = map.t.tap_stride * s.KH * s.KW * channels;
    filter_row = s.KT * s.KH * s.KW * channels, gates = n * filter_row;
    filter = (n0 + row) * filter_row + map.filter_index(Tap{}, s.KH, s.KW) * channels;
    k = map.tap(chunk, channels), step = map.tap(4, channels);
    for (int j = 0; j < TILE_M / 32; j++) {
      int i = m0 + row + 32 * j;
      Coord p = map.origin(map.coord(i));
      origin[j] = map.source_index(p) * channels;
      outside[j] = i < map.pixels() ? 0 : ~0ull;
      for (int t = 0; t < taps_w; t++) outside[j] |= (unsigned long long)!in_range(p.w + t * map.w.tap_step, map.w.size) << t;
      for (int t = 0; t < taps_h; t++) outside[j] |= (unsigned long long)!in_range(p.h + t * map.h.tap_step, map.h.size) << (taps_w + t);
      for (int t = 0; t < taps_t; t++) outside[j] |= (unsigned long long)!in_range(p.t + t * map.t.tap_step, map.t.size) << (taps_w + taps_h + t);
    }
  }
  __device__ void load_stage(char* stage) {
    bool any = k.t < taps_t;
    unsigned long long tap_bits = 1ull << k.w | 1ull << (taps_w + k.h) | 1ull << (taps_w + taps_h + k.t);
    int source = k.c + k.t * step_t + k.h * step_h + k.w * step_w, line = filter + k.c + k.t * filter_t + k.h * filter_h + k.w * filter_w;
#pragma unroll
    for (int j = 0; j < TILE_M / 32; j++) cp_async(stage + to + 2048 * j, x + (source + origin[j]), any & !(outside[j] & tap_bits));
#pragma unroll
    for (int j = 0; j < N / 32; j++) {
      int row = GEGLU ? 32 * (j % (N / 64)) : 32 * j;
      cp_async(stage + Pipeline<N>::A_BYTES + to + 2048 * j, w + (line + (GEGLU && j >= N / 64 ? gates : 0) + row * filter_row), any & (row < rows_left));
    }
    k.c += step.c, carry(k.c, k.w, channels);
    k.w += step.w, carry(k.w, k.h, taps_w);
    k.h += step.h, carry(k.h, k.t, taps_h);
    k.t += step.t;
  }
};

// The source pixel that an output pixel reads through its first tap: index and coordinates.
struct SourcePixel { int index, t, h, w; };
constexpr int OUTSIDE = 1 << 30;  // a coordinate that is outside of any source, also minus half of it

// Loads MN-major tiles of wgrad: A is X, B is dy, K is output pixels. For each K step one
// warp, in rotation, computes the source pixels of the step into a double-buffered table:
// prefetch_pixels runs before the barrier that precedes load_stage, each time for the next step.
template <int N>
struct MNMajorLoader {
  static constexpr int WIDTH = N / 8, STEP = THREADS / WIDTH;
  const uint4 *x, *dy;
  SourcePixel* table;  // [2,TILE_K]
  PixelMap map;
  int channels, O, q, q_end, o, prefetched, loaded, to_a, to_b;
  Coord pixel, step;  // the pixel whose source this thread computes next, and the distance to the one after that
  int tap_offset, t, h, w;  // from a pixel's first tap to this thread's tap: in chunks, and along each axis

  __device__ MNMajorLoader(const uint4* x, const uint4* dy, const ConvSize& s, int k0, int n0, int q_begin, int q_end, SourcePixel* table)
      : x(x), dy(dy), table(table), map(fprop_map(s)), channels(s.C / 8), O(s.O / 8), q(q_begin), q_end(q_end), o(n0 / 8 + threadIdx.x % WIDTH), prefetched(0), loaded(0) {
    pixel = map.coord(q_begin + threadIdx.x), step = map.coord(THREADS);
    Tap k = map.tap(k0 / 8 + threadIdx.x % 16, channels);
    Coord by = map.shift({0, 0, 0, 0}, k);
    tap_offset = map.source_index(by) * channels + k.c;
    t = k.t < map.t.taps ? by.t : OUTSIDE, h = by.h, w = by.w;
    to_a = swizzle<16>(threadIdx.x / 16, threadIdx.x % 16), to_b = Pipeline<N>::A_BYTES + swizzle<WIDTH>(threadIdx.x / WIDTH, threadIdx.x % WIDTH);
  }
  __device__ void prefetch_pixels() {
    if ((int)threadIdx.x / 32 == prefetched % (THREADS / 32)) {
      Coord p = map.origin(pixel);
      table[prefetched % 2 * TILE_K + threadIdx.x % 32] = {map.source_index(p), q + prefetched * TILE_K + (int)threadIdx.x % 32 < q_end ? p.t : -OUTSIDE / 2, p.h, p.w};
      pixel.w += step.w, carry(pixel.w, pixel.h, map.w.count);
      pixel.h += step.h, carry(pixel.h, pixel.t, map.h.count);
      pixel.t += step.t, carry(pixel.t, pixel.n, map.t.count);
      pixel.n += step.n;
    }
    prefetched++;
  }
  __device__ void load_stage(char* stage) {
    const SourcePixel* pixels = table + loaded % 2 * TILE_K;
    int i = q + loaded * TILE_K + threadIdx.x / WIDTH;
#pragma unroll
    for (int j = 0; j < TILE_K / 8; j++) {
      SourcePixel p = pixels[threadIdx.x / 16 + 8 * j];
      bool inside = in_range(p.t + t, map.t.size) & in_range(p.h + h, map.h.size) & in_range(p.w + w, map.w.size);
      cp_async(stage + to_a + 2048 * j, x + (p.index * channels + tap_offset), inside);
    }
#pragma unroll
    for (int j = 0; j < TILE_K / STEP; j++)
      cp_async(stage + to_b + 2048 * j, dy + ((i + STEP * j) * O + o), (i + STEP * j < q_end) & (o < O));
    loaded++;
  }
};

// The ldmatrix fragments of a tile of R rows (M or N): of operand A 16 rows and 16 K, of
// operand B two fragments of 8 rows.
template <int R, bool MN_MAJOR, bool B>
struct Fragment {
  int base;  // byte offset of this lane's row in the first fragment: row j of matrix i
  __device__ Fragment(int first) {
    int i = threadIdx.x % 32 / 8, j = threadIdx.x % 8, r = first + (B ? i / 2 : i % 2) * 8, k = (B ? i % 2 : i / 2) * 8;
    base = MN_MAJOR ? swizzle<R / 8>(k + j, r / 8) : swizzle<4>(r + j, k / 8);
  }
  // Loads the fragment at row r and k, multiples of 16: their bits in base are those of the swizzle
  // alone, so XOR replaces addition.
  __device__ void load(unsigned (&f)[4], const char* tile, int r, int k) const {
    ldmatrix_x4<MN_MAJOR>(f, tile + (MN_MAJOR ? (base ^ r * 2) + k * R * 2 : (base ^ k * 2) + r * TILE_K * 2));
  }
};

// The warp tile's accumulators: acc[i][j] is the 16×8 tile at row 64·(warp mod 2) + 16·i and
// column N/2·(warp / 2) + 8·j.
template <int N>
using Accumulators = float[4][N / 16][4];

// acc = A·B over k. One barrier per K step is enough: it separates the products of a stage
// from the load that overwrites the stage next.
template <int N, bool MN_MAJOR, class Loader>
__device__ inline void mainloop(Accumulators<N>& acc, Loader loader, int k, char* smem) {
  constexpr int STAGE_BYTES = Pipeline<N>::STAGE_BYTES, STAGES = Pipeline<N>::STAGES, BYTES = Pipeline<N>::BYTES;
  int k_steps = (k + TILE_K - 1) / TILE_K, warp = threadIdx.x / 32;
  Fragment<TILE_M, MN_MAJOR, false> a(warp % 2 * 64);
  Fragment<N, MN_MAJOR, true> b(warp / 2 * (N / 2));
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < N / 16; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) acc[i][j][e] = 0;
  for (int step = 0; step < STAGES - 1; step++) {
    if constexpr (MN_MAJOR) loader.prefetch_pixels(), __syncthreads();
    if (step < k_steps) loader.load_stage(smem + step * STAGE_BYTES);
    cp_async_commit();
  }
  int read_stage = 0, write_stage = (STAGES - 1) * STAGE_BYTES;
  for (int step = 0; step < k_steps; step++) {
    if constexpr (MN_MAJOR) loader.prefetch_pixels();
    cp_async_wait<STAGES - 2>();
    __syncthreads();
    if (step + STAGES - 1 < k_steps) loader.load_stage(smem + write_stage);
    cp_async_commit();
    const char *a_tile = smem + read_stage, *b_tile = a_tile + Pipeline<N>::A_BYTES;
    read_stage = read_stage + STAGE_BYTES == BYTES ? 0 : read_stage + STAGE_BYTES;
    write_stage = write_stage + STAGE_BYTES == BYTES ? 0 : write_stage + STAGE_BYTES;
#pragma unroll
    for (int k = 0; k < TILE_K; k += 16) {
      unsigned fa[4][4], fb[4];
#pragma unroll
      for (int i = 0; i < 4; i++) a.load(fa[i], a_tile, 16 * i, k);
#pragma unroll
      for (int j = 0; j < N / 16; j += 2) {
        b.load(fb, b_tile, 8 * j, k);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          mma_m16n8k16(acc[i][j], fa[i], fb[0], fb[1]);
          mma_m16n8k16(acc[i][j + 1], fa[i], fb[2], fb[3]);
        }
      }
    }
  }
}

// The epilogue's tile in shared memory: 64 of the 128 rows of the accumulators, row by row or,
// TRANSPOSED, column by column.
template <int N, bool TRANSPOSED>
struct EpilogueTile {
  static constexpr int PITCH = TRANSPOSED ? 64 + 4 : N + 8;  // neither stores nor loads have bank conflicts

  __device__ static void store(float* tile, const Accumulators<N>& acc, int half) {
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
            if (TRANSPOSED)
              tile[n * PITCH + m] = acc[i][j][e], tile[(n + 1) * PITCH + m] = acc[i][j][e + 1];
            else
              *(float2*)(tile + m * PITCH + n) = {acc[i][j][e], acc[i][j][e + 1]};
          }
    __syncthreads();
  }
};

// Access to values from x[i] of an array of bfloat if half, else of float.
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

// Calls f(v, row, column) for the CTA tile, v being accumulators of adjacent columns: 8 if n,
// the number of columns, is a multiple of 8, so that f can vectorize; otherwise 1.
template <int N, class F>
__device__ inline void epilogue(const Accumulators<N>& acc, float* tile, int m0, int m, int n0, int n, const F& f) {
  constexpr int PITCH = EpilogueTile<N, false>::PITCH;
  for (int half = 0; half < 2; half++) {
    EpilogueTile<N, false>::store(tile, acc, half);
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

// Calls f(u, g, row, channel) for the CTA tile of a KMajorLoader with GEGLU, u and g being
// accumulators of adjacent channels from `channel` on.
template <int N, class F>
__device__ inline void epilogue_geglu(const Accumulators<N>& acc, float* tile, int m0, int m, int n0, int n, const F& f) {
  constexpr int PITCH = EpilogueTile<N, false>::PITCH, C = N / 2;
  for (int half = 0; half < 2; half++) {
    EpilogueTile<N, false>::store(tile, acc, half);
    int rows = min(64, m - m0 - 64 * half), columns = min(C, n - n0);
    if (n % 8 == 0) {
      int column = threadIdx.x % (C / 8) * 8;
      for (int row = threadIdx.x / (C / 8); row < rows && column < columns; row += THREADS / (C / 8)) {
        float u[8], g[8];
        load8(u, tile + row * PITCH + column), load8(g, tile + row * PITCH + C + column);
        f(u, g, m0 + 64 * half + row, n0 + column);
      }
    } else {
      for (int i = threadIdx.x; i < rows * C; i += THREADS) {
        float u[1] = {tile[i / C * PITCH + i % C]}, g[1] = {tile[i / C * PITCH + C + i % C]};
        if (i % C < columns) f(u, g, m0 + 64 * half + i / C, n0 + i % C);
      }
    }
  }
}

template <int V>
__device__ inline void activate(int kind, float (&v)[V]) {
  dispatch_activation(kind, [&](auto k) {
#pragma unroll
    for (int j = 0; j < V; j++) v[j] = ::activate(k.value, v[j]);
  });
}

// The origin of the CTA tile. Rasterize along N first: tile A stays in L2.
template <int N>
__device__ inline void rasterize(int& m0, int& n0, int n) {
  int columns = (n + N - 1) / N;
  m0 = blockIdx.x / columns * TILE_M, n0 = blockIdx.x % columns * N;
}

// Bits of half: which arguments are bfloat.
enum { HALF_Y = 1, HALF_S = 2, HALF_R = 4 };

template <int N>
__device__ inline void fprop(void* y, const uint4* x, const uint4* w, const float* b, const void* r, const ConvSize& s, int kind, int half) {
  DYNAMIC_SHARED(uint4, shared);
  PixelMap map = fprop_map(s);
  int m = map.pixels(), channels = s.C / 8, sample = blockIdx.z, m0, n0;
  rasterize<N>(m0, n0, s.O);
  x += (size_t)sample * s.T * s.H * s.W * channels, w += (size_t)sample * s.O * map.taps() * channels;
  Accumulators<N> acc;
  mainloop<N, false>(acc, KMajorLoader<N>(x, w, map, s, channels, m0, n0, s.O), map.taps() * s.C, (char*)shared);
  epilogue<N>(acc, (float*)shared, m0, m, n0, s.O, [=](auto& v, int q, int o) {
    constexpr int V = sizeof v / sizeof *v;
    int i = (sample * m + q) * s.O + o;
    float e[V];
    if (b) {
      load_parameters(e, b + o);
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    activate(kind, v);
    if (r) {
      read(e, r, i, half & HALF_R);
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    write(y, i, v, half & HALF_Y);
  });
}

// A CTA has N/2 channels of y, and of u and g. s.O is the number of channels of h, twice that of y.
template <int N>
__device__ inline void fprop_geglu(void* y, void* h, const uint4* x, const uint4* w, const float* b, const ConvSize& s, int half) {
  DYNAMIC_SHARED(uint4, shared);
  PixelMap map = fprop_map(s);
  int m = map.pixels(), channels = s.C / 8, C = s.O / 2, m0, n0;
  rasterize<N>(m0, n0, s.O);
  n0 /= 2;
  Accumulators<N> acc;
  mainloop<N, false>(acc, KMajorLoader<N, true>(x, w, map, s, channels, m0, n0, C), map.taps() * s.C, (char*)shared);
  epilogue_geglu<N>(acc, (float*)shared, m0, m, n0, C, [=](auto& u, auto& g, int q, int c) {
    constexpr int V = sizeof u / sizeof *u;
    float bu[V], bg[V];
    load_parameters(bu, b + c), load_parameters(bg, b + C + c);
    for (int j = 0; j < V; j++) u[j] += bu[j], g[j] += bg[j];
    write(h, q * s.O + c, u, half & HALF_S), write(h, q * s.O + C + c, g, half & HALF_S);
    for (int j = 0; j < V; j++) u[j] *= ::activate(GELU, g[j]);
    write(y, q * C + c, u, half & HALF_Y);
  });
}

// Calls f(v, pixel, channel) for each adjacent channels of input pixels, v being their sums over dy.
template <int N, class F>
__device__ inline void dgrad_sums(const uint4* dy, const uint4* w, const ConvSize& s, const F& f) {
  DYNAMIC_SHARED(uint4, shared);
  int phases = s.ST * s.SH * s.SW, sample = blockIdx.z / phases;
  PixelMap map = dgrad_map(s, blockIdx.z % phases);
  int m = map.pixels(), channels = s.O / 8, m0, n0;
  rasterize<N>(m0, n0, s.C);
  if (m0 >= m) return;
  dy += (size_t)sample * s.OT * s.OH * s.OW * channels, w += (size_t)sample * s.C * s.KT * s.KH * s.KW * channels;
  Accumulators<N> acc;
  mainloop<N, false>(acc, KMajorLoader<N>(dy, w, map, s, channels, m0, n0, s.C), map.taps() * s.O, (char*)shared);
  epilogue<N>(acc, (float*)shared, m0, m, n0, s.C, [=](auto& v, int p, int c) { f(v, sample * s.T * s.H * s.W + map.pixel_index(p, s.T, s.H, s.W), c); });
}

// place(pixel) is where the pixel is in dx and saved.
template <int N, class F>
__device__ inline void dgrad(void* dx, const uint4* dy, const uint4* w, const void* saved, const void* r, const ConvSize& s, int kind, int half, const F& place) {
  dgrad_sums<N>(dy, w, s, [=](auto& v, int pixel, int c) {
    constexpr int V = sizeof v / sizeof *v;
    int i = place(pixel) * s.C + c;
    float e[V];
    if (r) {
      read(e, r, pixel * s.C + c, half & HALF_R);
      for (int j = 0; j < V; j++) v[j] += e[j];
    }
    if (kind != NONE) {
      read(e, saved, i, half & HALF_S);
      for (int j = 0; j < V; j++) v[j] *= slope(kind, e[j]);
    }
    write(dx, i, v, half & HALF_Y);
  });
}

template <int N>
__device__ inline void dgrad_geglu(void* dx, const uint4* dy, const uint4* w, const void* x, const ConvSize& s, int half) {
  dgrad_sums<N>(dy, w, s, [=](auto& v, int pixel, int c) {
    constexpr int V = sizeof v / sizeof *v;
    int i = pixel * 2 * s.C + c;
    float u[V], g[V];
    read(u, x, i, half & HALF_S), read(g, x, i + s.C, half & HALF_S);
    geglu_slopes(v, u, g);
    write(dx, i, v, half & HALF_Y), write(dx, i + s.C, u, half & HALF_Y);
  });
}

template <int N>
__device__ inline void wgrad(float* dw, const uint4* dy, const uint4* x, const ConvSize& s, int O, int C, int chunk, int splits) {
  DYNAMIC_SHARED(uint4, shared);
  int taps = s.KT * s.KH * s.KW, pixels = s.N * s.OT * s.OH * s.OW, k0, n0;
  rasterize<N>(k0, n0, O);
  int sample = blockIdx.z / splits, q_begin = blockIdx.z % splits * chunk, q_end = min(pixels, q_begin + chunk);
  x += (size_t)sample * s.T * s.H * s.W * s.C / 8, dy += (size_t)sample * pixels * s.O / 8, dw += (size_t)blockIdx.z * O * taps * C;
  Accumulators<N> acc;
  SourcePixel* table = (SourcePixel*)((char*)shared + Pipeline<N>::BYTES);
  mainloop<N, true>(acc, MNMajorLoader<N>(x, dy, s, k0, n0, q_begin, q_end, table), q_end - q_begin, (char*)shared);
  for (int half = 0; half < 2; half++) {
    EpilogueTile<N, true>::store((float*)shared, acc, half);
    int i = threadIdx.x % 64, k = (k0 + 64 * half + i) / s.C, c = (k0 + 64 * half + i) % s.C;
    if (k < taps && c < C)
      for (int j = threadIdx.x / 64; j < min(N, O - n0); j += THREADS / 64)
        dw[((n0 + j) * taps + k) * C + c] = ((float*)shared)[j * EpilogueTile<N, true>::PITCH + i];
  }
}
}  // namespace mma

// x, w and dy are packed: s has their padded channel counts, C of x and O of dy. b and r may
// be null.
#define CONV_MMA(N)                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_mma_##N(void* y, const uint4* x, const uint4* w, const float* b, const void* r, ConvSize s, int kind, int half) {               \
    mma::fprop<N>(y, x, w, b, r, s, kind, half);                                                                                         \
  }                                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_geglu_mma_##N(void* y, void* h, const uint4* x, const uint4* w, const float* b, ConvSize s, int half) {                         \
    mma::fprop_geglu<N>(y, h, x, w, b, s, half);                                                                                           \
  }                                                                                                                                        \
  /* saved is s of the preceding activation, unused if kind is NONE. r may be null. */                                                       \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_grad_x_mma_##N(void* dx, const uint4* dy, const uint4* w, const void* saved, const void* r, ConvSize s, int kind, int half) {      \
    mma::dgrad<N>(dx, dy, w, saved, r, s, kind, half, [](int pixel) { return pixel; });                                                      \
  }                                                                                                                                        \
  /* x is the input of the activation. r may be null. */                                                                                   \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_grad_shuffle_mma_##N(void* dx, const uint4* dy, const uint4* w, const void* x, const void* r, ConvSize s, int kind, Neighbours near, int half) { \
    mma::dgrad<N>(dx, dy, w, x, r, s, kind, half, [=](int pixel) { return shuffled_index(pixel, near, s.H, s.W); });                                 \
  }                                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_grad_geglu_mma_##N(void* dx, const uint4* dy, const uint4* w, const void* x, ConvSize s, int half) {                            \
    mma::dgrad_geglu<N>(dx, dy, w, x, s, half);                                                                                            \
  }                                                                                                                                        \
  /* dw is [samples,splits,O,KT,KH,KW,C]: a split has chunk output pixels. */                                                                 \
  extern "C" __global__ void __launch_bounds__(128, N == 64 ? 3 : 2)                                                                       \
      conv_grad_w_mma_##N(float* dw, const uint4* dy, const uint4* x, ConvSize s, int O, int C, int chunk, int splits) {                    \
    mma::wgrad<N>(dw, dy, x, s, O, C, chunk, splits);                                                                                      \
  }
CONV_MMA(64)
CONV_MMA(128)
