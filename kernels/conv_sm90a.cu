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
// shift bytes after each other. end is a barrier for the end of all products.
struct Rings {
  Ring a, b;
  unsigned shift, end;
  int as, bs, taps;
};

__device__ inline Rings open_rings(void* memory, bool wide, int taps, unsigned shift, int stagesA, int stagesB) {
  Rings r;
  r.as = wide ? 2 : 1, r.bs = 3 - r.as, r.taps = taps, r.shift = shift;
  r.end = (shared_address(memory) + 7) / 8 * 8;
  unsigned free = (r.end + 8 + 1023) / 1024 * 1024;
  r.b = open_ring(free, r.bs * (BLOCK + (taps - 1) * shift), stagesB);
  r.a = open_ring(free, r.as * TILE, stagesA);
  if (threadIdx.x == 0) {
    mbarrier_init(r.end, WARPS);
    fence_proxy_async();
  }
  __syncthreads();
  return r;
}

// d = the sum over steps of a·b. loadA(step, to, full) and loadB(step, to, full) ask for
// copies; steps of b are `taps` of a. Back: the first tap reads the end of a block. False
// for threads that have no results.
template <bool AcrossA, bool AcrossB, bool Back, class LoadA, class LoadB>
__device__ inline bool product(float (&d)[128], const Rings& r, int steps, LoadA loadA, LoadB loadB) {
  int group = threadIdx.x / 128, warp_leader = threadIdx.x % 32 == 0;
  if (group == CONSUMERS) {
    setmaxnreg_dec<40>();
    if (threadIdx.x % 128 > 0) return false;
    Turn a = {0, 1}, b = {0, 1};
    for (int i = 0; i < steps; i++) {
      if (i % r.taps == 0) {
        mbarrier_wait(r.b.empty + 8 * b.stage, b.parity);
        loadB(i / r.taps, r.b.first + b.stage * r.b.bytes, r.b.full + 8 * b.stage);
        b.next(r.b);
      }
      mbarrier_wait(r.a.empty + 8 * a.stage, a.parity);
      loadA(i, r.a.first + a.stage * r.a.bytes, r.a.full + 8 * a.stage);
      a.next(r.a);
    }
    return false;
  }
  setmaxnreg_inc<232>();
  Turn a = {0, 0}, b = {0, 0};
  for (int i = 0, tap = 0, lastA = 0, lastB = 0; i < steps; i++) {
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
    if (i > 0 && warp_leader) {
      mbarrier_arrive(r.a.empty + 8 * lastA);
      if (tap == 0) mbarrier_arrive(r.b.empty + 8 * lastB);
    }
    lastA = a.stage, a.next(r.a);
    if (++tap == r.taps) tap = 0, lastB = b.stage, b.next(r.b);
  }
  wgmma_wait<0>(d);
  return true;
}

struct Size {
  int N, T, H, W, M;  // results: pixels, channels
  int C;              // channels of the sum
  int KT, KH, KW, DT, PT, PH, PW;
  int lt, lh, lw;     // a brick has 2^lw columns, 2^lh rows, 2^lt frames, and clips for the rest
  int wide, taps, stagesA, stagesB;
};

struct Corner { int n, t, h, w; };

__device__ inline int pieces(int n, int log) { return (n + (1 << log) - 1) >> log; }

// The first pixel of brick i of 2^log pixels.
__device__ inline Corner corner(int i, const Size& s, int log) {
  int w = pieces(s.W, s.lw), h = pieces(s.H, s.lh), t = pieces(s.T, s.lt);
  Corner c;
  c.w = i % w << s.lw, i /= w;
  c.h = i % h << s.lh, i /= h;
  c.t = i % t << s.lt, i /= t;
  c.n = i << (log - s.lt - s.lh - s.lw);
  return c;
}

// Where tap i moves a brick: forward as the output reads, back as the input is read.
__device__ inline Corner moved(Corner c, int i, const Size& s, int sign) {
  c.w += sign * (i % s.KW - s.PW), i /= s.KW;
  c.h += sign * (i % s.KH - s.PH), i /= s.KH;
  c.t += sign * (i * s.DT - s.PT);
  return c;
}

constexpr int PITCH = 20;  // of 16 channels in shared memory: neighbours in a warp hit all banks

// y = end(channel, sum, value of extra) at 256 pixels of a brick and 64 channels from m,
// for a warpgroup; extra may be null. Through shared memory, so that a thread has 4
// channels of a pixel and end does not stand 128 times.
template <class End>
__device__ inline void store(float* y, const float* extra, const float (&d)[128], const Rings& r, void* memory, const Corner& c, int m, const Size& s, End end) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0) mbarrier_arrive(r.end);  // the other warpgroup may still read tiles
  mbarrier_wait(r.end, 0);
  float* part = reinterpret_cast<float*>(static_cast<char*>(memory) + (r.b.first - shared_address(memory))) + warp * 256 * PITCH;
#pragma unroll
  for (int i = 0; i < 128; i++) part[(i / 4 * 8 + lane % 4 * 2 + i % 2) * PITCH + lane / 4 + i / 2 % 2 * 8] = d[i];
  __syncwarp();
  m += warp % 4 * 16 + lane % 4 * 4;
  for (int p = lane / 4; p < 256 && m < s.M; p += 8) {
    int n = c.n + (p >> s.lw >> s.lh >> s.lt), t = c.t + (p >> s.lw >> s.lh & ((1 << s.lt) - 1));
    int h = c.h + (p >> s.lw & ((1 << s.lh) - 1)), w = c.w + (p & ((1 << s.lw) - 1));
    if (n >= s.N || t >= s.T || h >= s.H || w >= s.W) continue;
    int i = (((n * s.T + t) * s.H + h) * s.W + w) * s.M + m;
    float4 v = *reinterpret_cast<const float4*>(part + p * PITCH + lane % 4 * 4), e = {0, 0, 0, 0};
    if (s.M % 4 == 0) {
      if (extra) e = *reinterpret_cast<const float4*>(extra + i);
      *reinterpret_cast<float4*>(y + i) = {end(m, v.x, e.x), end(m + 1, v.y, e.y), end(m + 2, v.z, e.z), end(m + 3, v.w, e.w)};
    } else {
      for (int j = 0; j < min(4, s.M - m); j++) y[i + j] = end(m + j, part[p * PITCH + lane % 4 * 4 + j], extra ? extra[i + j] : 0);
    }
  }
}

// Where step i of taps and channels is: tap tells the first of those that share a block.
struct Step { int tap, c; };

__device__ inline Step step(int i, const Size& s) {
  int chunks = (s.C + 63) / 64, c = i % chunks * 64;
  i /= chunks;
  int w = i % s.KW, h = i / s.KW;  // h counts frames too
  return {h * s.taps * s.KW + w, c};
}

// Back: the gradient of x.
template <bool Back, class End>
__device__ inline void bricks(void* memory, const TensorMap* x, const TensorMap* w, float* y, const float* extra, const Size& s, End end) {
  Rings r = open_rings(memory, s.wide, s.taps, 128 << s.lw, s.stagesA, s.stagesB);
  int tiles = (s.M + 64 * r.as - 1) / (64 * r.as), m0 = blockIdx.x % tiles * 64 * r.as, brick = blockIdx.x / tiles * r.bs;
  float d[128];
  auto loadA = [=](int i, unsigned to, unsigned full) {
    Step at = step(i / s.taps, s);
    mbarrier_arrive_expect(full, r.a.bytes);
    for (int g = 0; g < r.as; g++) {
      int m = m0 + 64 * g;
      tma_load(to + g * TILE, w, full, Back ? m : at.c, at.tap + i % s.taps * s.KW, Back ? at.c : m, 0, 0);
    }
  };
  auto loadB = [=](int i, unsigned to, unsigned full) {
    Step at = step(i, s);
    mbarrier_arrive_expect(full, r.b.bytes);
    for (int g = 0; g < r.bs; g++) {
      Corner c = moved(corner(brick + g, s, 8), Back ? at.tap + (s.taps - 1) * s.KW : at.tap, s, Back ? -1 : 1);
      tma_load(to + g * (r.b.bytes / 2), x, full, at.c, c.w, c.h, c.t, c.n);
    }
  };
  bool mine = product<Back, false, Back>(d, r, s.KT * s.KH * s.KW * ((s.C + 63) / 64), loadA, loadB);
  if (!mine) return;
  int group = threadIdx.x / 128;
  store(y, extra, d, r, memory, corner(brick + (r.bs > 1 ? group : 0), s, 8), m0 + (r.as > 1 ? group * 64 : 0), s, end);
}

__device__ inline void grad_w(void* memory, const TensorMap* dy, const TensorMap* x, float* dw, const Size& s, int part) {
  Rings r = open_rings(memory, s.wide, 1, 0, s.stagesA, s.stagesB);
  int chunks = (s.C + 63) / 64, columns = s.KT * s.KH * s.KW * chunks, tiles = (s.M + 64 * r.as - 1) / (64 * r.as);
  int m0 = blockIdx.x % tiles * 64 * r.as, column0 = blockIdx.x / tiles * 4 * r.bs, here = min(4 * r.bs, columns - column0);
  int bricks = pieces(s.W, s.lw) * pieces(s.H, s.lh) * pieces(s.T, s.lt) * pieces(s.N, 6 - s.lt - s.lh - s.lw);
  int from = blockIdx.y * part;
  float d[128];
  auto loadA = [=](int i, unsigned to, unsigned full) {
    Corner q = corner(from + i, s, 6);
    mbarrier_arrive_expect(full, r.a.bytes);
    for (int g = 0; g < r.as; g++) tma_load(to + g * TILE, dy, full, m0 + 64 * g, q.w, q.h, q.t, q.n);
  };
  auto loadB = [=](int i, unsigned to, unsigned full) {
    mbarrier_arrive_expect(full, here * TILE);
    for (int g = 0; g < here; g++) {
      Corner c = moved(corner(from + i, s, 6), (column0 + g) / chunks, s, 1);
      tma_load(to + g * TILE, x, full, (column0 + g) % chunks * 64, c.w, c.h, c.t, c.n);
    }
  };
  bool mine = product<true, true, false>(d, r, min(part, bricks - from), loadA, loadB);
  if (!mine) return;
  int group = threadIdx.x / 128, lane = threadIdx.x % 32, k = s.KT * s.KH * s.KW;
  int m = m0 + (r.as > 1 ? group * 64 : 0) + threadIdx.x / 32 % 4 * 16 + lane / 4, column = column0 + (r.bs > 1 ? group * 4 : 0);
  dw += (size_t)blockIdx.y * s.M * k * s.C;
#pragma unroll
  for (int i = 0; i < 128; i++) {
    int o = m + i / 2 % 2 * 8, j = column + i / 32, c = j % chunks * 64 + i % 32 / 4 * 8 + lane % 4 * 2 + i % 2;
    if (o < s.M && j < columns && c < s.C) dw[(o * k + j / chunks) * s.C + c] = d[i];
  }
}

}  // namespace hopper

// r may be null.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_sm90a(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, float* y, const float* b, const float* r, hopper::Size s, int kind) {
  DYNAMIC_SHARED(char, memory);
  hopper::bricks<false>(memory, &x, &w, y, r, s, [=](int o, float v, float r) { return activate(kind, v + b[o]) + r; });
}

// at is the output of the activation in front, null where kind is NONE.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_x_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap w, float* dx, const float* at, hopper::Size s, int kind) {
  DYNAMIC_SHARED(char, memory);
  hopper::bricks<true>(memory, &dy, &w, dx, at, s, [=](int, float v, float at) { return v * slope(kind, at); });
}

// dw has a [O,KT,KH,KW,C] for each part of so many bricks of 64 pixels. s tells the
// pixels of dy; M is O.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_w_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap x, float* dw, hopper::Size s, int part) {
  DYNAMIC_SHARED(char, memory);
  hopper::grad_w(memory, &dy, &x, dw, s, part);
}
