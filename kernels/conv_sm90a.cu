// Causal 3-D convolution and its gradients of bfloat16 operands on Hopper's tensor
// cores. As products of matrices (letters of conv.go, taps k):
//
//   conv_sm90a         y[q,o]  = Act(b[o] + Σ_k,c w[o,k,c] x[q at k, c]) + r[q,o]
//   conv_grad_x_sm90a  dx[p,c] = (Σ_k,o w[o,k,c] dy[p at -k, o] + r[p,c])·Act'(s[p,c])
//   conv_grad_w_sm90a  dw[o,k,c] = Σ_q dy[q,o] x[q at k, c]
//
// A block has three warpgroups. One thread of the last one (one warp for the gradient of
// weights, a lane for each tile of a stage, as its steps are short) fills two rings of
// stages in shared memory by tensor copies; the other two multiply, 64×256 results each,
// sums in registers, 64 terms of the sum at a step. A stage of the first ring holds two tiles of
// 64×64 of the first factor, one of the second a block of 256×64 of the second; where
// results have too few rows for two tiles, one tile and two blocks. Rows are channels of
// the result (o, c, o), columns are 256 pixels, or for the gradient of weights 4 pairs of
// a tap and 64 channels: 256 columns need half of the bandwidth of shared memory that 64
// would.
//
// Pixels come in bricks, boxes of clips, frames, rows and columns. A tap moves the box;
// what it has outside of the tensor is 0, which is the padding; strides are those of the
// copy. Bricks may hang over the edge; such results are not stored. The gradient of x
// moves the other way and reads the tiles of w across; with strides it is a launch for
// each phase, of the inputs that lie a stride apart and the taps that reach them. A brick
// of one frame, in lines of a multiple of 8 pixels, comes with the lines above and below
// it: then the taps of a column of the kernel read the same block, each a line later, and
// the second ring turns once for all of them.
//
// A block stays for all its tiles (see Unit). The copies run ahead into the next tile
// while results are stored, through memory of their own. The second warpgroup starts some
// steps behind the first one, so that one stores while the other multiplies; the rings
// let them be so far apart. Where the last wave of tiles would leave processors idle,
// their sums are split; the parts are added by conv_sum_sm90a and conv_grad_x_sum_sm90a,
// in order (gpu/conv_hopper_bricks.go). Long sums of conv_grad_w_sm90a are split over
// blockIdx.y; the parts are added by sum_rows, in order.
//
// Operands are bfloat16, in place where their channels are a multiple of 8, else copies
// that pack.cu makes. y, dx, r and s may each be bfloat16 or float32. All start at 16
// bytes, as places of an arena do.
//
// Estimates for an H100, 3×3×3, none of them measured. Assumed: 790 TFLOP/s of the tensor
// cores and 7 TB/s from the second cache to shared memory. Waves: how much of the time of
// 132 processors is spent on results that are needed (TestWavesAreFull):
//
//   channels, pixels     64, 1.3M   128, 328k   256, 82k   512, 20k   512, 10k   512, 5k
//   FLOP for each byte   134        150         150        150        150        150      copied to shared memory
//   waves                97 %       97 %        97 %       97 %       97 %       91 %     y and dx
//   waves, dw            84 %       92 %        95 %       98 %       97 %       97 %
//
// The gradient of w copies a byte for every 57 (64 channels) or 85 FLOP: at most 400 or
// 600 TFLOP/s. What would help next: taps of the gradient of w that share blocks; blocks
// in clusters that share copies.
//
// What the emulator cannot see, and why it holds:
//   - Memory of the rings is written by tensor copies and read by wgmma alone, both of the
//     asynchronous proxy: a stage changes hands by mbarriers, without a proxy fence. The
//     staging memory is touched by ordinary loads and stores alone.
//   - x and dy that are read in place were written by kernels that have ended.
//   - Barriers keep their phase from tile to tile: a Turn is never set back; each stage of
//     a unit, also its last one, is given back.
//   - A stage starts at 1024 bytes, a line of the shared taps at a multiple of that: the
//     swizzle counts from there, so that descriptors need no base offset.
//   - Sums must not pass a branch around wgmma or a function call: the assembler would
//     serialize all products (make sass-sm90a looks for it).
//   - The parameter of setmaxnreg is what ptxas may use behind it: 128·40 + 256·232
//     registers are 64512 of 65536, 128·56 + 256·224 as many.
//
// Definition: conv.go, of operands rounded as precision.go says.
#include "common.cuh"
#include "conv_sm90a.cuh"

namespace hopper {

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

__device__ inline float read1(const void* x, int i, bool half) {
  return half ? load(static_cast<const bfloat*>(x)[i]) : static_cast<const float*>(x)[i];
}

// Eight values as they lie in memory, from 16 bytes on. Loads are on their way until
// values are asked for.
struct Raw {
  uint4 words[2];
  __device__ void fetch(const void* x, int i, bool half) {
    const uint4* p = reinterpret_cast<const uint4*>(static_cast<const char*>(x) + (size_t)i * (half ? 2 : 4));
    words[0] = p[0];
    if (!half) words[1] = p[1];
  }
  __device__ void values(float (&v)[8], bool half) const {
    const unsigned w[8] = {words[0].x, words[0].y, words[0].z, words[0].w, words[1].x, words[1].y, words[1].z, words[1].w};
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = __uint_as_float(!half ? w[i] : i % 2 ? w[i / 2] & 0xffff0000 : w[i / 2] << 16);
  }
};

// What finishes 8 channels of a pixel, i from the start, besides b.
template <bool Back>
struct Ends {
  Raw s = {}, r = {};
  __device__ void fetch(const Results& o, int i) {
    if (Back && o.kind != NONE) s.fetch(o.with, i, o.half & 2);
    if (o.r) r.fetch(o.r, i, o.half & 4);
  }
  // with is b, or becomes s; r becomes r.
  __device__ void values(float (&with)[8], float (&r)[8], const Results& o) const {
    if (Back && o.kind != NONE) s.values(with, o.half & 2);
    if (o.r) this->r.values(r, o.half & 4);
  }
};

// Finishes and stores 8 channels of a pixel, i from the start, a multiple of 8.
template <bool Back>
__device__ inline void end8(float (&v)[8], const float (&with)[8], const float (&r)[8], const Results& o, int i) {
  finish<Back>(v, with, r, o.kind);
  o.half & 1 ? store8(static_cast<bfloat*>(o.y) + i, v) : store8(static_cast<float*>(o.y) + i, v);
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
// that 8 threads write all 64 channels of a pixel and the code stands once. What finishes
// the next 32 is on its way meanwhile.
template <bool Back>
__device__ inline void store(const Results& o, const float (&d)[128], const Rings& r, const Corner& c, int m, const Size& s, float* slab) {
  int group = threadIdx.x / 128, thread = threadIdx.x % 128, k = thread % 8 * 8, next[2];  // next: where 8 channels of a pixel start, -1 outside
  float* staging = r.staging + group * (STAGE / 4);
  bool eights = s.M % 8 == 0, mine = !slab && eights && m + k < s.M;
  float b[8] = {};
  Ends<Back> ends[2];
  auto fetch = [&](int round, int i) {
    int p = mine && round < 8 ? place(round * STAGED + thread / 8 + i * 16, c, s) : -1;
    next[i] = p < 0 ? -1 : p * s.M + m + k;
    if (p >= 0) ends[i].fetch(o, next[i]);
  };
  if (!Back && mine) load_parameters(b, static_cast<const float*>(o.with) + m + k);
#pragma unroll
  for (int i = 0; i < 2; i++) fetch(0, i);
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
    if (slab || eights) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int p = thread / 8 + i * 16, now = next[i];
        float with[8], r[8] = {};
#pragma unroll
        for (int j = 0; j < 8; j++) with[j] = b[j];
        ends[i].values(with, r, o);
        if (!Back) fetch(round + 1, i);
        float4 x = *reinterpret_cast<float4*>(staging + staged(p, k)), y = *reinterpret_cast<float4*>(staging + staged(p, k + 4));
        float v[8] = {x.x, x.y, x.z, x.w, y.x, y.y, y.z, y.w};
        if (slab) store8(slab + (round * STAGED + p) * 64 + k, v);
        if (now >= 0) end8<Back>(v, with, r, o, now);
        if (Back) fetch(round + 1, i);  // no earlier: s takes the registers
      }
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
  int m = channel(tile, s) + (s.wide ? group * 64 : 0) + k, at = place(p, corner(brick(tile, s) + (s.wide ? 0 : group), s, 8), s);
  if (m >= s.M || at < 0) return;
  slabs += (size_t)(blockIdx.x / 16 * s.parts * 2 + group) * 256 * 64 + p * 64 + k;
  bool eights = s.M % 8 == 0;
  Ends<Back> ends;
  if (eights) ends.fetch(o, at * s.M + m);
  float v[8] = {};
  for (int i = 0; i < s.parts; i++, slabs += 2 * 256 * 64) {
    float part[8];
    load8(part, slabs);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += part[j];
  }
  if (eights) {
    float with[8] = {}, r[8] = {};
    if (!Back) load_parameters(with, static_cast<const float*>(o.with) + m);
    ends.values(with, r, o);
    return end8<Back>(v, with, r, o, at * s.M + m);
  }
#pragma unroll
  for (int j = 0; j < 8; j++)
    if (m + j < s.M) end1<Back>(v[j], o, at, m + j, s.M);
}

__device__ inline void grad_w(char* memory, const TensorMap* dy, const TensorMap* x, float* dw, const Size& s) {
  Rings r = open_rings(memory, s, 0);
  int chunks = (s.C + 63) / 64, k = s.t.taps * s.h.taps * s.w.taps, columns = k * chunks, tiles = (s.M + 64 * r.as - 1) / (64 * r.as);
  int m0 = blockIdx.x % tiles * 64 * r.as, column0 = blockIdx.x / tiles * 4 * r.bs, here = min(4 * r.bs, columns - column0);
  int bricks = pieces(s.w) * pieces(s.h) * pieces(s.t) * (((s.N - 1) >> (6 - s.t.log - s.h.log - s.w.log)) + 1);
  int from = blockIdx.y * s.part, to = min(from + s.part, bricks), group = threadIdx.x / 128;
  if (group == CONSUMERS) {
    setmaxnreg_dec<56>();
    int lane = threadIdx.x % 128;
    if (lane >= 32) return;
    // A lane copies its column of each brick, and its tile of dy.
    int column = column0 + lane, tap = column / chunks, c0 = column % chunks * 64, m = m0 + 64 * lane;
    int w = read(s.w, 0, tap % s.w.taps, 1), h = read(s.h, 0, tap / s.w.taps % s.h.taps, 1), t = read(s.t, 0, tap / s.w.taps / s.h.taps, 1);
    Turn a = {0, 1}, b = {0, 1};
    Corner c = corner(from, s, 6);
    for (int i = from; i < to; i++, c.next(s, 6)) {
      unsigned fullA = r.a.full + 8 * a.stage, fullB = r.b.full + 8 * b.stage;
      mbarrier_wait(r.b.empty + 8 * b.stage, b.parity);
      mbarrier_wait(r.a.empty + 8 * a.stage, a.parity);
      if (lane == 0) {
        mbarrier_arrive_expect(fullB, here * TILE);
        mbarrier_arrive_expect(fullA, r.a.bytes);
      }
      __syncwarp();
      if (lane < here) tma_load(r.b.first + b.stage * r.b.bytes + lane * TILE, x, fullB, c0, c.w * s.w.stride + w, c.h * s.h.stride + h, c.t * s.t.stride + t, c.n);
      if (lane < r.as) tma_load(r.a.first + a.stage * r.a.bytes + lane * TILE, dy, fullA, m, c.w, c.h, c.t, c.n);
      a.next(r.a), b.next(r.b);
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
  bool pairs = s.C % 2 == 0 && (size_t)dw % 8 == 0;  // dw may begin anywhere
#pragma unroll
  for (int i = 0; i < 128; i += 2) {
    int o = m + i / 2 % 2 * 8, j = column + i / 32, c = j % chunks * 64 + i % 32 / 4 * 8 + lane % 4 * 2;
    if (o >= s.M || j >= columns || c >= s.C) continue;
    float* to = dw + (o * k + j / chunks) * s.C + c;
    if (pairs) {
      *reinterpret_cast<float2*>(to) = {d[i], d[i + 1]};
    } else {
      to[0] = d[i];
      if (c + 1 < s.C) to[1] = d[i + 1];
    }
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
