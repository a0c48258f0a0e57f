// Causal 3-D convolution and its gradients of bfloat16 operands on Hopper's tensor
// cores, stride 1. As products of matrices (letters of conv.go, taps k):
//
//   conv_sm90a         y[q,o]  = Act(b[o] + Σ_k,c w[o,k,c] x[q at k, c]) + r[q,o]
//   conv_grad_x_sm90a  dx[p,c] = Act'(s[p,c])·Σ_k,o w[o,k,c] dy[p at -k, o]
//   conv_grad_w_sm90a  dw[o,k,c] = Σ_q dy[q,o] x[q at k, c]
//
// A block has three warpgroups. One thread of the last one fills two rings of stages in
// shared memory by tensor copies; the other two multiply, 64×256 results each, sums in
// registers, 64 terms of the sum at a step. A stage of the first ring holds two tiles of
// 64×64 of the first factor, one of the second a block of 256×64 of the second; where
// results have too few rows for two tiles, one tile and two blocks. Rows are channels of
// the result (o, c, o), columns are 256 pixels, or for the gradient of weights 4 pairs of
// a tap and 64 channels: 256 columns need half of the bandwidth of shared memory that 64
// would.
//
// Pixels come in bricks, boxes of clips, frames, rows and columns. A tap moves the box;
// what it has outside of the tensor is 0, which is the padding. Bricks may hang over the
// edge; such results are not stored. The gradient of x moves the other way and reads the
// tiles of w across. A brick of one frame, in lines of a multiple of 8 pixels, comes with
// the lines above and below it: then the taps of a column of the kernel read the same
// block, each a line later, and the second ring turns once for all of them.
//
// Long sums of conv_grad_w_sm90a are split over blockIdx.y; the parts are added by
// sum_rows, in order.
//
// Operands come from pack.cu, results are float32. Where these have a multiple of 4
// channels, they start at 16 bytes, as places of an arena do.
//
// Estimates for an H100, 3×3×3, none of them measured. Assumed: 790 TFLOP/s of the tensor
// cores, 7 TB/s from the second cache to shared memory, 3.35 TB/s of memory for results,
// which a block writes while it does not multiply, and whole waves of 132 blocks:
//
//   channels, pixels     64, 1.3M   128, 328k   256, 82k   512, 20k   512, 10k
//   FLOP for each byte   134        150         150        150        150       copied to shared memory
//   TFLOP/s              600        670         720        620        460       without pack.cu
//   pack.cu              0.15 ms    0.08        0.04       0.02       0.01      of 0.5 ms where the product has 290 GFLOP
//
// The gradient of w copies a byte for every 57 (64 channels) or 85 FLOP: at most 400 or
// 600 TFLOP/s. What would help next: blocks in clusters that share copies, results
// written while the next brick is multiplied, taps of the gradient of w that share blocks.
//
// Definition: conv.go, of operands rounded as precision.go says.
#include "common.cuh"
#include "hopper.cuh"

namespace hopper {

constexpr unsigned TILE = 64 * 64 * 2;  // bytes of 64 rows of 64 values
constexpr unsigned BLOCK = 4 * TILE;
constexpr int CONSUMERS = 2, WARPS = 4 * CONSUMERS;
constexpr int PITCH = 68, STAGED = 32;                  // floats of a pixel, pixels of a warpgroup in its staging memory
constexpr unsigned STAGE = PITCH * STAGED * 4;          // bytes of it

// One of frames, rows and columns of a convolution.
struct Axis {
  int size, log;                    // results, of which a brick has 2^log
  int taps, dilation, pad, stride;  // result q reads q·stride + tap·dilation - pad, or back q - tap·dilation + pad
  int first, step;                  // tap i has weight first + i·step
  int places, apart, from;          // result q lies at from + q·apart of so many places
};

struct Size {
  Axis t, h, w;
  int N, M, C;       // clips, channels of the result, channels of the sum
  int wide, shared;  // whether a block has two tiles; taps that read the same block
  int stagesA, stagesB;
  int units, whole, parts, part;  // see Unit
};

// Stages in shared memory, each with a barrier that says it is full and one that says
// it is empty.
struct Ring {
  unsigned first, bytes, full, empty;
  int stages;
};

__device__ inline Ring open_ring(unsigned& free, unsigned bytes, int stages) {
  unsigned full = free + stages * bytes;
  Ring r = {free, bytes, full, full + 8 * stages, stages};
  for (int s = 0; s < stages && threadIdx.x == 0; s++) {
    mbarrier_init(r.full + 8 * s, 1);
    mbarrier_init(r.empty + 8 * s, WARPS);
  }
  free = (full + 16 * stages + 1023) / 1024 * 1024;
  return r;
}

// Where a thread is in a ring: the phase of a stage changes each time round.
struct Turn {
  int stage, parity;
  __device__ void next(const Ring& r) {
    if (++stage == r.stages) stage = 0, parity ^= 1;
  }
};

// One ring of `as` tiles, one of `bs` blocks; a block serves so many taps, which start
// shift bytes after each other. The first warpgroup starts some steps ahead of the
// second one and tells when by the barrier ahead. Results pass through staging memory of
// their own.
struct Rings {
  Ring a, b;
  unsigned shift, ahead;
  float* staging;
  int as, bs, taps;
};

__device__ inline Rings open_rings(char* memory, const Size& s, unsigned staging) {
  Rings r;
  r.as = s.wide ? 2 : 1, r.bs = 3 - r.as, r.taps = s.shared, r.shift = s.h.dilation * 128 << s.w.log;
  unsigned start = shared_address(memory), first = (start + 15) / 16 * 16;
  r.staging = reinterpret_cast<float*>(memory + (first - start));
  r.ahead = first + staging;
  unsigned free = (r.ahead + 8 + 1023) / 1024 * 1024;
  r.b = open_ring(free, r.bs * (BLOCK + (r.taps - 1) * r.shift), s.stagesB);
  r.a = open_ring(free, r.as * TILE, s.stagesA);
  if (threadIdx.x == 0) {
    mbarrier_init(r.ahead, 4);
    fence_proxy_async();
  }
  __syncthreads();
  return r;
}

// d = the sum over steps of a·b; steps of b are `taps` of a. Back: the first tap reads the
// end of a block. After `lead` steps the barrier ahead is told, if they are not 0.
template <bool AcrossA, bool AcrossB, bool Back>
__device__ inline void multiply(float (&d)[128], const Rings& r, Turn& a, Turn& b, int steps, int lead) {
  int group = threadIdx.x / 128, warp_leader = threadIdx.x % 32 == 0, tap = 0, lastA = 0, lastB = 0;
  auto release = [&](int done) {
    if (!warp_leader) return;
    mbarrier_arrive(r.a.empty + 8 * lastA);
    if (tap == 0) mbarrier_arrive(r.b.empty + 8 * lastB);
    if (done == lead) mbarrier_arrive(r.ahead);
  };
  for (int i = 0; i < steps; i++) {
    if (tap == 0) mbarrier_wait(r.b.full + 8 * b.stage, b.parity);
    mbarrier_wait(r.a.full + 8 * a.stage, a.parity);
    unsigned x = r.a.first + a.stage * r.a.bytes + (r.as > 1 ? group * TILE : 0);
    unsigned y = r.b.first + b.stage * r.b.bytes + (r.bs > 1 ? group * (r.b.bytes / 2) : 0) + (Back ? r.taps - 1 - tap : tap) * r.shift;
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; k++)
      wgmma<AcrossA, AcrossB>(d, matrix(x + k * (AcrossA ? 2048 : 32), TILE, 1024), matrix(y + k * (AcrossB ? 2048 : 32), TILE, 1024), i + k > 0);
    wgmma_commit();
    wgmma_wait<1>(d);  // the products of the step before
    if (i > 0) release(i);
    lastA = a.stage, a.next(r.a);
    if (++tap == r.taps) tap = 0, lastB = b.stage, b.next(r.b);
  }
  wgmma_wait<0>(d);
  release(steps);
}

struct Corner { int n, t, h, w; };

__device__ inline int pieces(const Axis& a) { return (a.size + (1 << a.log) - 1) >> a.log; }

// The first result of brick i of 2^log pixels.
__device__ inline Corner corner(int i, const Size& s, int log) {
  int w = pieces(s.w), h = pieces(s.h), t = pieces(s.t);
  Corner c;
  c.w = i % w << s.w.log, i /= w;
  c.h = i % h << s.h.log, i /= h;
  c.t = i % t << s.t.log, i /= t;
  c.n = i << (log - s.t.log - s.h.log - s.w.log);
  return c;
}

// What results from q on read through a tap: forward as the output reads, back as the
// input is read (sign -1).
__device__ inline int read(const Axis& a, int q, int tap, int sign) { return q * a.stride + sign * (tap * a.dilation - a.pad); }

// A step of a sum: the first of the taps that share a block, and channels.
struct Step {
  int c, w, h, t;
  __device__ Step(int i, const Size& s) {
    int chunks = (s.C + 63) / 64, rows = s.h.taps / s.shared;
    i /= s.shared;
    c = i % chunks * 64, i /= chunks;
    w = i % s.w.taps, i /= s.w.taps;
    h = i % rows * s.shared, t = i / rows;
  }
  __device__ void next(const Size& s) {
    if ((c += 64) < s.C) return;
    c = 0;
    if (++w < s.w.taps) return;
    w = 0;
    if ((h += s.shared) < s.h.taps) return;
    h = 0, t++;
  }
};

// What a block does at once: a tile of results, 64·as channels of bs bricks, with the
// whole sum or a part of it. Units up to `whole` are whole ones, then come `parts` of each
// other tile; blocks go through them with the same stride.
struct Unit { int tile, from, to, slab; };

__device__ inline Unit unit(int i, const Size& s) {
  int steps = s.t.taps * s.h.taps * s.w.taps * ((s.C + 63) / 64);
  if (i < s.whole) return {i, 0, steps, -1};
  i -= s.whole;
  int from = i % s.parts * s.part;
  return {s.whole + i / s.parts, from, min(from + s.part, steps), i};
}

// The tiles of channels of a brick follow each other, so that blocks of a wave share bricks.
__device__ inline int channel(int tile, const Size& s) { return s.wide ? tile % ((s.M + 127) / 128) * 128 : tile % ((s.M + 63) / 64) * 64; }
__device__ inline int brick(int tile, const Size& s) { return s.wide ? tile / ((s.M + 127) / 128) : tile / ((s.M + 63) / 64) * 2; }

// What becomes of sums v: y = Act(v + b) + r or, back, dx = (v + r)·Act'(s). r may be null,
// s where kind is NONE.
struct Results {
  void* y;
  const void *with, *r;  // with: b in float32, or s
  int kind, half;        // half: bit 0, 1, 2 for y, s, r in bfloat16
};

template <int K> struct Is { static constexpr int kind = K; };

// f of the kind as a constant, so that it stands once for many values.
template <class F>
__device__ inline void of_kind(int kind, F f) {
  switch (kind) {
    case ELU: return f(Is<ELU>());
    case SILU: return f(Is<SILU>());
    case LEAKY_RELU: return f(Is<LEAKY_RELU>());
    case SIGMOID: return f(Is<SIGMOID>());
    case TANH: return f(Is<TANH>());
    case GELU: return f(Is<GELU>());
    case SOFT_CLAMP: return f(Is<SOFT_CLAMP>());
    default: return f(Is<NONE>());
  }
}

template <bool Back, int L>
__device__ inline void finish(float (&v)[L], const float (&with)[L], const float (&r)[L], int kind) {
  of_kind(kind, [&](auto is) {
    constexpr int K = decltype(is)::kind;
#pragma unroll
    for (int i = 0; i < L; i++) v[i] = Back ? (v[i] + r[i]) * slope(K, with[i]) : activate(K, v[i] + with[i]) + r[i];
  });
}

__device__ inline void read8(float (&v)[8], const void* x, int i, bool half) {
  half ? load8(v, static_cast<const bfloat*>(x) + i) : load8(v, static_cast<const float*>(x) + i);
}
__device__ inline float read1(const void* x, int i, bool half) {
  return half ? load(static_cast<const bfloat*>(x)[i]) : static_cast<const float*>(x)[i];
}

// Finishes and stores 8 channels from m of pixels that lie at `at`, or nowhere; rows start
// at multiples of 16 bytes.
template <bool Back, int L>
__device__ inline void end8(float (&v)[L][8], const Results& o, const int (&at)[L], int m, int M) {
  float with[L][8] = {}, r[L][8] = {};
#pragma unroll
  for (int l = 0; l < L; l++) {
    if (!Back) load8(with[l], static_cast<const float*>(o.with) + m);
    if (at[l] < 0) continue;
    if (Back && o.kind != NONE) read8(with[l], o.with, at[l] * M + m, o.half & 2);
    if (o.r) read8(r[l], o.r, at[l] * M + m, o.half & 4);
  }
#pragma unroll
  for (int l = 0; l < L; l++) {
    if (at[l] < 0) continue;
    finish<Back>(v[l], with[l], r[l], o.kind);
    int i = at[l] * M + m;
    o.half & 1 ? store8(static_cast<bfloat*>(o.y) + i, v[l]) : store8(static_cast<float*>(o.y) + i, v[l]);
  }
}

template <bool Back>
__device__ inline void end1(float sum, const Results& o, int at, int m, int M) {
  int i = at * M + m;
  float v[1] = {sum}, with[1] = {}, r[1] = {};
  if (!Back) with[0] = static_cast<const float*>(o.with)[m];
  if (Back && o.kind != NONE) with[0] = read1(o.with, i, o.half & 2);
  if (o.r) r[0] = read1(o.r, i, o.half & 4);
  finish<Back>(v, with, r, o.kind);
  if (o.half & 1)
    static_cast<bfloat*>(o.y)[i] = as<bfloat>(v[0]);
  else
    static_cast<float*>(o.y)[i] = v[0];
}

// The place of pixel p of a brick, -1 outside.
__device__ inline int place(int p, const Corner& c, const Size& s) {
  int w = c.w + (p & ((1 << s.w.log) - 1)), h = c.h + (p >> s.w.log & ((1 << s.h.log) - 1));
  p >>= s.w.log + s.h.log;
  int t = c.t + (p & ((1 << s.t.log) - 1)), n = c.n + (p >> s.t.log);
  if (n >= s.N || t >= s.t.size || h >= s.h.size || w >= s.w.size) return -1;
  return ((n * s.t.places + s.t.from + t * s.t.apart) * s.h.places + s.h.from + h * s.h.apart) * s.w.places + s.w.from + w * s.w.apart;
}

// Channel c of pixel p in staging memory. In the upper half neighbouring fours change
// places, so that 8 threads that read 32 bytes each hit all banks with each 16.
__device__ inline int staged(int p, int c) { return p * PITCH + (c ^ (c >> 5) * 4); }

template <int Round>
__device__ inline void stage(float* staging, const float (&d)[128]) {
  int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 16; i++)
    staging[staged(i / 4 * 8 + lane % 4 * 2 + i % 2, warp * 16 + lane / 4 + i / 2 % 2 * 8)] = d[Round * 16 + i];
}

// Finishes and stores 256 pixels of a brick and 64 channels from m, for a warpgroup; or
// stores the bare sums in a slab [256,64]. Through staging memory, 32 pixels at a time, so
// that 8 threads write all 64 channels of a pixel and the code stands once.
template <bool Back>
__device__ inline void store(const Results& o, const float (&d)[128], const Rings& r, const Corner& c, int m, const Size& s, float* slab) {
  int group = threadIdx.x / 128, thread = threadIdx.x % 128;
  float* staging = r.staging + group * (STAGE / 4);
#pragma unroll 1
  for (int round = 0; round < 8; round++) {
    switch (round) {
      case 0: stage<0>(staging, d); break;
      case 1: stage<1>(staging, d); break;
      case 2: stage<2>(staging, d); break;
      case 3: stage<3>(staging, d); break;
      case 4: stage<4>(staging, d); break;
      case 5: stage<5>(staging, d); break;
      case 6: stage<6>(staging, d); break;
      default: stage<7>(staging, d);
    }
    group_sync(group);
    if (slab || s.M % 8 == 0) {
      int k = thread % 8 * 8, at[2];
      float v[2][8];
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int p = thread / 8 + i * 16;
        at[i] = place(round * STAGED + p, c, s);
        float4 x = *reinterpret_cast<float4*>(staging + staged(p, k)), y = *reinterpret_cast<float4*>(staging + staged(p, k + 4));
        v[i][0] = x.x, v[i][1] = x.y, v[i][2] = x.z, v[i][3] = x.w, v[i][4] = y.x, v[i][5] = y.y, v[i][6] = y.z, v[i][7] = y.w;
        if (slab) store8(slab + (round * STAGED + p) * 64 + k, v[i]);
      }
      if (!slab && m + k < s.M) end8<Back>(v, o, at, m + k, s.M);
    } else {
      for (int p = thread / 32; p < STAGED; p += 4) {
        int at = place(round * STAGED + p, c, s);
        for (int k = thread % 32; k < 64; k += 32)
          if (at >= 0 && m + k < s.M) end1<Back>(staging[staged(p, k)], o, at, m + k, s.M);
      }
    }
    group_sync(group);
  }
}

// Back: the gradient of x.
template <bool Back>
__device__ inline void bricks(char* memory, const TensorMap* x, const TensorMap* w, const Results& o, float* slabs, const Size& s) {
  Rings r = open_rings(memory, s, CONSUMERS * STAGE);
  int group = threadIdx.x / 128;
  if (group == CONSUMERS) {
    setmaxnreg_dec<40>();
    if (threadIdx.x % 128 > 0) return;
    Turn a = {0, 1}, b = {0, 1};
    for (int i = blockIdx.x; i < s.units; i += gridDim.x) {
      Unit u = unit(i, s);
      int m0 = channel(u.tile, s), back = Back ? -1 : 1;
      Corner corners[2] = {corner(brick(u.tile, s), s, 8), corner(brick(u.tile, s) + 1, s, 8)};
      Step at(u.from, s);
      for (int j = u.from; j < u.to; j += r.taps, at.next(s)) {
        unsigned full = r.b.full + 8 * b.stage, to = r.b.first + b.stage * r.b.bytes;
        mbarrier_wait(r.b.empty + 8 * b.stage, b.parity);
        mbarrier_arrive_expect(full, r.b.bytes);
#pragma unroll
        for (int g = 0; g < 2; g++) {
          const Corner& c = corners[g];
          if (g < r.bs) tma_load(to + g * (r.b.bytes / 2), x, full, at.c, read(s.w, c.w, at.w, back), read(s.h, c.h, Back ? at.h + r.taps - 1 : at.h, back), read(s.t, c.t, at.t, back), c.n);
        }
        b.next(r.b);
        for (int tap = 0; tap < r.taps; tap++) {
          unsigned full = r.a.full + 8 * a.stage, to = r.a.first + a.stage * r.a.bytes;
          mbarrier_wait(r.a.empty + 8 * a.stage, a.parity);
          mbarrier_arrive_expect(full, r.a.bytes);
          for (int g = 0; g < r.as; g++) {
            int m = m0 + 64 * g;
            tma_load(to + g * TILE, w, full, Back ? m : at.c, s.w.first + at.w * s.w.step, s.h.first + (at.h + tap) * s.h.step, s.t.first + at.t * s.t.step, Back ? at.c : m);
          }
          a.next(r.a);
        }
      }
    }
    return;
  }
  setmaxnreg_inc<232>();
  Turn a = {0, 0}, b = {0, 0};
  float d[128];
  for (int i = blockIdx.x; i < s.units; i += gridDim.x) {
    Unit u = unit(i, s);
    int steps = u.to - u.from, lead = 0;
    if (i == (int)blockIdx.x) {
      lead = min(min(r.a.stages - 1, (r.b.stages - 1) * r.taps), steps);
      if (group > 0) mbarrier_wait(r.ahead, 0), lead = 0;
    }
    multiply<Back, false, Back>(d, r, a, b, steps, lead);
    float* slab = u.slab < 0 ? nullptr : slabs + (size_t)(u.slab * 2 + group) * 256 * 64;
    store<Back>(o, d, r, corner(brick(u.tile, s) + (r.bs > 1 ? group : 0), s, 8), channel(u.tile, s) + (r.as > 1 ? group * 64 : 0), s, slab);
  }
}

// The sums of tiles from their parts: a block has 32 pixels of a slab, a thread 8 channels.
template <bool Back>
__device__ inline void slabs_sum(const Results& o, const float* slabs, const Size& s) {
  int tile = s.whole + blockIdx.x / 16, group = blockIdx.x / 8 % 2, p = blockIdx.x % 8 * 32 + threadIdx.x / 8, k = threadIdx.x % 8 * 8;
  int m = channel(tile, s) + (s.wide ? group * 64 : 0) + k, at[1] = {place(p, corner(brick(tile, s) + (s.wide ? 0 : group), s, 8), s)};
  if (m >= s.M || at[0] < 0) return;
  slabs += (size_t)(blockIdx.x / 16 * s.parts * 2 + group) * 256 * 64 + p * 64 + k;
  float v[1][8] = {};
  for (int i = 0; i < s.parts; i++, slabs += 2 * 256 * 64) {
    float part[8];
    load8(part, slabs);
#pragma unroll
    for (int j = 0; j < 8; j++) v[0][j] += part[j];
  }
  if (s.M % 8 == 0) return end8<Back>(v, o, at, m, s.M);
#pragma unroll
  for (int j = 0; j < 8; j++)
    if (m + j < s.M) end1<Back>(v[0][j], o, at[0], m + j, s.M);
}

__device__ inline void grad_w(char* memory, const TensorMap* dy, const TensorMap* x, float* dw, const Size& s) {
  Rings r = open_rings(memory, s, 0);
  int chunks = (s.C + 63) / 64, k = s.t.taps * s.h.taps * s.w.taps, columns = k * chunks, tiles = (s.M + 64 * r.as - 1) / (64 * r.as);
  int m0 = blockIdx.x % tiles * 64 * r.as, column0 = blockIdx.x / tiles * 4 * r.bs, here = min(4 * r.bs, columns - column0);
  int bricks = pieces(s.w) * pieces(s.h) * pieces(s.t) * (((s.N - 1) >> (6 - s.t.log - s.h.log - s.w.log)) + 1);
  int from = blockIdx.y * s.part, to = min(from + s.part, bricks), group = threadIdx.x / 128;
  if (group == CONSUMERS) {
    setmaxnreg_dec<56>();
    if (threadIdx.x % 128 > 0) return;
    Turn a = {0, 1}, b = {0, 1};
    for (int i = from; i < to; i++) {
      Corner c = corner(i, s, 6);
      unsigned full = r.b.full + 8 * b.stage, to = r.b.first + b.stage * r.b.bytes;
      mbarrier_wait(r.b.empty + 8 * b.stage, b.parity);
      mbarrier_arrive_expect(full, here * TILE);
      for (int g = 0; g < here; g++) {
        int tap = (column0 + g) / chunks, w = tap % s.w.taps, h = tap / s.w.taps % s.h.taps, t = tap / s.w.taps / s.h.taps;
        tma_load(to + g * TILE, x, full, (column0 + g) % chunks * 64, read(s.w, c.w, w, 1), read(s.h, c.h, h, 1), read(s.t, c.t, t, 1), c.n);
      }
      b.next(r.b);
      full = r.a.full + 8 * a.stage, to = r.a.first + a.stage * r.a.bytes;
      mbarrier_wait(r.a.empty + 8 * a.stage, a.parity);
      mbarrier_arrive_expect(full, r.a.bytes);
      for (int g = 0; g < r.as; g++) tma_load(to + g * TILE, dy, full, m0 + 64 * g, c.w, c.h, c.t, c.n);
      a.next(r.a);
    }
    return;
  }
  setmaxnreg_inc<224>();
  Turn a = {0, 0}, b = {0, 0};
  float d[128];
  multiply<true, true, false>(d, r, a, b, to - from, 0);
  int lane = threadIdx.x % 32;
  int m = m0 + (r.as > 1 ? group * 64 : 0) + threadIdx.x / 32 % 4 * 16 + lane / 4, column = column0 + (r.bs > 1 ? group * 4 : 0);
  dw += (size_t)blockIdx.y * s.M * k * s.C;
#pragma unroll
  for (int i = 0; i < 128; i++) {
    int o = m + i / 2 % 2 * 8, j = column + i / 32, c = j % chunks * 64 + i % 32 / 4 * 8 + lane % 4 * 2 + i % 2;
    if (o < s.M && j < columns && c < s.C) dw[(o * k + j / chunks) * s.C + c] = d[i];
  }
}

}  // namespace hopper

// slabs [units - whole, 2, 256, 64] are parts of the sums of the last tiles.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_sm90a(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, void* y, const float* b, const void* r, float* slabs, hopper::Size s, int kind, int half) {
  DYNAMIC_SHARED(char, memory);
  hopper::bricks<false>(memory, &x, &w, {y, b, r, kind, half}, slabs, s);
}

extern "C" __global__ void conv_sum_sm90a(void* y, const float* b, const void* r, const float* slabs, hopper::Size s, int kind, int half) {
  hopper::slabs_sum<false>({y, b, r, kind, half}, slabs, s);
}

// at is the output of the activation in front, null where kind is NONE.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_x_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap w, void* dx, const void* at, const void* r, float* slabs, hopper::Size s, int kind, int half) {
  DYNAMIC_SHARED(char, memory);
  hopper::bricks<true>(memory, &dy, &w, {dx, at, r, kind, half}, slabs, s);
}

extern "C" __global__ void conv_grad_x_sum_sm90a(void* dx, const void* at, const void* r, const float* slabs, hopper::Size s, int kind, int half) {
  hopper::slabs_sum<true>({dx, at, r, kind, half}, slabs, s);
}

// dw has a [O,KT,KH,KW,C] for each part of so many bricks of 64 pixels. s tells the
// pixels of dy; M is O.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_w_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap x, float* dw, hopper::Size s) {
  DYNAMIC_SHARED(char, memory);
  hopper::grad_w(memory, &dy, &x, dw, s);
}
