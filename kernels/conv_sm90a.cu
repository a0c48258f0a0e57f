// Causal 3-D convolution and its gradients on Hopper's tensor cores (TMA and WGMMA), as
// implicit GEMMs with bfloat16 operands and float32 accumulators:
//
//   conv_sm90a (fprop)         y[q,o]  = Act(b[o] + Σ_k,c w[o,k,c] x[q at k, c]) + r[q,o]
//   conv_geglu_sm90a           y[q,o]  = h[q,o]·GELU(h[q,O+o]) of 2·O channels h[q,o] = b[o] + Σ_k,c w[o,k,c] x[q at k, c]
//   conv_grad_x_sm90a (dgrad)  dx[p,c] = (Σ_k,o w[o,k,c] dy[p at -k, o] + r[p,c])·Act'(s[p,c])
//   conv_grad_geglu_sm90a      du, dg of d = Σ_k,o w[o,k,c] dy[p at -k, o]:  du[p,c] = d·GELU(g[p,c]),  dg[p,c] = d·u[p,c]·GELU'(g[p,c])
//   conv_grad_shuffle_sm90a    dx[p',c] = (Σ_k,o w[o,k,c] dy[p at -k, o] + r[p,c])·Act'(s[p',c]), p' being where a Shuffle moves p
//   conv_grad_w_sm90a (wgrad)  dw[o,k,c] = Σ_q dy[q,o] x[q at k, c], and db[o] = Σ_q dy[q,o]
//
// k is a filter tap; q at k is the input pixel that output pixel q reads through it.
//
//            M   N              K              A                 B
//   fprop    O   output pixels  taps·C         w, K-major        x, K-major
//   dgrad    C   input pixels   taps·O         w, MN-major       dy, K-major
//   wgrad    O   taps·C         output pixels  dy, MN-major      x, MN-major
//
// Channels are on M and pixels on N, because wgmma m64n256k16 needs half of the shared memory
// bandwidth of m64n64k16.
//
// Warp specialization: a CTA has 3 warpgroups. The producer warpgroup copies with one thread
// (wgrad: one warp, a lane per tile of a stage, as its steps are short); two consumer
// warpgroups each accumulate 64×256 in registers, 64 K per step. There is a pipeline per
// operand. The CTA tile is 128×256 (two A tiles, one B tile per stage) or, where M fills an
// odd number of 64-row tiles, 64×512 (one A tile, two B tiles).
//
// A tile of 256 output pixels is a TMA box over (n,t,h,w); a filter tap offsets its
// coordinates. Coordinates outside of the tensor are filled with zeros, which is the padding;
// strides are the element strides of the tensor map. Tiles may extend over the border: those
// pixels are not stored. Dgrad offsets in the other direction; with strides it is one launch
// per phase: the input pixels of one offset within the strides and the taps that reach them.
// B tiles of wgrad are 4 pairs of a tap and 64 channels.
//
// Halo: a tile of one frame whose rows are multiples of 8 pixels is loaded with the rows
// above and below it. The taps along h then read the same B stage, each from another row.
//
// Persistent kernel: each CTA loops over work tiles (see WorkTile). The producer prefetches
// the next tile during the epilogue, which has staging memory of its own. The second consumer
// warpgroup starts some steps after the first one, so that the epilogue of one overlaps the
// mainloop of the other. In wgrad the CTAs of the first columns also sum the bias gradient: idle
// warps of the producer warpgroup, one per A tile, read the stages of dy. Split-K: the tiles of a last wave that would leave SMs idle are split
// along K; conv_sum_sm90a and conv_grad_x_sum_sm90a reduce the workspace in order
// (conv_sm90a_tiles.go). Wgrad is split-K over blockIdx.y, and sum_rows reduces.
//
// Operands are bfloat16, in place where channels are a multiple of 8, else copies made by
// pack.cu. y, dx, r and s may each be bfloat16 or float32. All start at 16 bytes, as arena
// allocations do.
//
// Estimates for an H100, 3×3×3 filters, none of them measured. Assumed: 790 TFLOP/s of the
// tensor cores, 7 TB/s from L2 to shared memory. Wave efficiency: the fraction of the time of
// 132 SMs that is spent on needed output (TestWavesAreFull).
//
//   channels, pixels        64, 1.3M   128, 328k   256, 82k   512, 20k   512, 10k   512, 5k
//   FLOP per byte from L2   134        150         150        150        150        150      fprop, dgrad
//   wave efficiency         97 %       97 %        97 %       97 %       97 %       91 %     fprop, dgrad
//   wave efficiency         84 %       92 %        95 %       82 %       82 %       82 %     wgrad
//
// Wgrad of 512 channels is not split: more would be lost to the workspace. Wgrad has 57 FLOP per byte (64 channels) or 85: at most 400 or 600 TFLOP/s. Possible
// improvements: a halo for the taps of wgrad; clusters with TMA multicast.
//
// What the emulator cannot check, and why it holds:
//   - Pipeline stages are written by TMA and read by wgmma, both in the async proxy: an
//     mbarrier hands a stage over without a proxy fence. The loads of the bias gradient are
//     complete when their warp arrives, as the sums depend on them; a wait for TMA's bytes makes
//     them visible to the generic proxy. Staging memory is accessed by the generic proxy only.
//   - x and dy that are read in place were written by kernels that have ended.
//   - Barriers keep their phase from tile to tile: a PipelineState is never reset, and each
//     stage of a work tile, the last one included, is released.
//   - A stage starts at a multiple of 1024 bytes, and so do the rows of shared taps: the
//     swizzle pattern repeats from there, so descriptors need no base offset.
//   - Accumulators must not be live across a branch around wgmma or a function call: ptxas
//     would serialize all wgmmas (make sass-sm90a checks).
//   - The operand of setmaxnreg is the register limit of ptxas in that branch: 128·40 +
//     256·232 registers are 64512 of 65536, 128·56 + 256·224 as many.
//
// Definition: conv.go, of operands rounded as in precision.go.
#include "common.cuh"
#include "conv_sm90a.cuh"

namespace hopper {

// Epilogue: y = Act(acc + b) + r; dgrad: dx = (acc + r)·Act'(s). r may be null, s if kind is NONE.
// GEGLU: of dgrad s is x, and a pixel of x and dx has M channels u, then M channels g. Fprop also
// stores h, of M channels of which half are u, then y of M/2 channels. Each tile of 64 channels
// there is 32 of u and the same 32 of g.
struct EpilogueParams {
  void* y;
  const void *b_or_s, *r;  // b is float32
  int kind, half;          // half: bits 0, 1, 2 are set if y, s or h, r are bfloat16
  void* h;
  Neighbours near;  // of pixels of y and s, with SHUFFLE
};

// The index of channel m of M of a pixel in y, r and s.
template <bool GEGLU>
__device__ inline int channel_index(int pixel, int m, int M) { return pixel * (GEGLU ? 2 * M : M) + m; }

// Where a channel of a pixel is in y and s, and in r.
struct Place { int y, r; };

template <bool DGRAD, int V>
__device__ inline void apply_epilogue(float (&v)[V], const float (&b_or_s)[V], const float (&r)[V], int kind) {
  dispatch_activation(kind, [&](auto k) {
    constexpr int K = decltype(k)::value;
#pragma unroll
    for (int i = 0; i < V; i++) v[i] = DGRAD ? (v[i] + r[i]) * slope(K, b_or_s[i]) : activate(K, v[i] + b_or_s[i]) + r[i];
  });
}

__device__ inline float load_scalar(const void* x, int i, bool half) {
  return half ? load(static_cast<const bfloat*>(x)[i]) : static_cast<const float*>(x)[i];
}

// Eight contiguous values as loaded, float32 or bfloat16. Conversion waits for the load, so
// prefetch and values are apart. The address is a multiple of 16 bytes.
struct RawVector {
  uint4 words[2];
  __device__ void prefetch(const void* x, int i, bool half) {
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

// The epilogue's operands of 8 of M channels of a pixel: s and r. GEGLU: u and g.
template <bool DGRAD, bool GEGLU>
struct EpilogueOperands {
  RawVector s = {}, r = {};
  __device__ void prefetch(const EpilogueParams& o, const Place& at, int M) {
    if constexpr (GEGLU) {
      s.prefetch(o.b_or_s, at.y, o.half & 2), r.prefetch(o.b_or_s, at.y + M, o.half & 2);
    } else {
      if (DGRAD && o.kind != NONE) s.prefetch(o.b_or_s, at.y, o.half & 2);
      if (o.r) r.prefetch(o.r, at.r, o.half & 4);
    }
  }
  // Overwrites b_or_s in dgrad, and r if there is one.
  __device__ void values(float (&b_or_s)[8], float (&r)[8], const EpilogueParams& o) const {
    if (GEGLU || (DGRAD && o.kind != NONE)) s.values(b_or_s, o.half & 2);
    if (GEGLU) this->r.values(r, o.half & 2);
    else if (o.r) this->r.values(r, o.half & 4);
  }
};

// The epilogue of V of M channels of a pixel, at index i, a multiple of V. GEGLU: b_or_s is u, r is g.
template <bool DGRAD, bool GEGLU, int V>
__device__ inline void finish(float (&v)[V], float (&b_or_s)[V], const float (&r)[V], const EpilogueParams& o, int i, int M) {
  auto write = [&](int i, const float (&v)[V]) { o.half & 1 ? store_values(static_cast<bfloat*>(o.y) + i, v) : store_values(static_cast<float*>(o.y) + i, v); };
  if constexpr (GEGLU) {
    geglu_slopes(v, b_or_s, r);
    write(i + M, b_or_s);
  } else {
    apply_epilogue<DGRAD>(v, b_or_s, r, o.kind);
  }
  write(i, v);
}

// The epilogue of channel m of M of a pixel.
template <bool DGRAD, bool GEGLU>
__device__ inline void epilogue1(float acc, const EpilogueParams& o, const Place& at, int m, int M) {
  int i = at.y;
  float v[1] = {acc}, b_or_s[1] = {}, r[1] = {};
  if (!DGRAD) b_or_s[0] = static_cast<const float*>(o.b_or_s)[m];
  if (GEGLU || (DGRAD && o.kind != NONE)) b_or_s[0] = load_scalar(o.b_or_s, i, o.half & 2);
  if (GEGLU) r[0] = load_scalar(o.b_or_s, i + M, o.half & 2);
  else if (o.r) r[0] = load_scalar(o.r, at.r, o.half & 4);
  finish<DGRAD, GEGLU>(v, b_or_s, r, o, i, M);
}

// The index of pixel p of a tile in the output tensor, -1 outside.
__device__ inline int pixel_index(int p, const TileCoord& c, const Params& s) {
  int w = c.w + (p & ((1 << s.w.log2) - 1)), h = c.h + (p >> s.w.log2 & ((1 << s.h.log2) - 1));
  p >>= s.w.log2 + s.h.log2;
  int t = c.t + (p & ((1 << s.t.log2) - 1)), n = c.n + (p >> s.t.log2);
  if (n >= s.N || t >= s.t.size || h >= s.h.size || w >= s.w.size) return -1;
  return ((n * s.t.extent + s.t.offset + t * s.t.spacing) * s.h.extent + s.h.offset + h * s.h.spacing) * s.w.extent + s.w.offset + w * s.w.spacing;
}

// The place of channel m of a pixel.
template <bool GEGLU, bool SHUFFLE>
__device__ inline Place place(int pixel, int m, const EpilogueParams& o, const Params& s) {
  int i = channel_index<GEGLU>(pixel, m, s.M);
  return {SHUFFLE ? channel_index<GEGLU>(shuffled_index(pixel, o.near, s.h.extent, s.w.extent), m, s.M) : i, i};
}

// The index of channel c of pixel p in staging memory. In the upper 32 channels adjacent
// groups of four are swapped, so that 8 threads that read 32 bytes each have no bank conflicts.
__device__ inline int staging_index(int p, int c) { return p * PITCH + (c ^ (c >> 5) * 4); }

template <int Round>
__device__ inline void stage_accumulators(float* staging, const float (&acc)[128]) {
  int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 16; i++)
    staging[staging_index(i / 4 * 8 + lane % 4 * 2 + i % 2, warp * 16 + lane / 4 + i / 2 % 2 * 8)] = acc[Round * 16 + i];
}

// Calls f(round, staging) 8 times, for each 32 pixels of a consumer warpgroup's tile, when their
// accumulators are in staging memory. The code is not unrolled.
template <class F>
__device__ inline void staged_rounds(const float (&acc)[128], const SharedStorage& storage, const F& f) {
  int group = threadIdx.x / 128;
  float* staging = storage.staging + group * (STAGING_BYTES / 4);
#pragma unroll 1
  for (int round = 0; round < 8; round++) {
    switch (round) {
      case 0: stage_accumulators<0>(staging, acc); break;
      case 1: stage_accumulators<1>(staging, acc); break;
      case 2: stage_accumulators<2>(staging, acc); break;
      case 3: stage_accumulators<3>(staging, acc); break;
      case 4: stage_accumulators<4>(staging, acc); break;
      case 5: stage_accumulators<5>(staging, acc); break;
      case 6: stage_accumulators<6>(staging, acc); break;
      default: stage_accumulators<7>(staging, acc);
    }
    warpgroup_sync(group);
    f(round, staging);
    warpgroup_sync(group);
  }
}

// Eight channels from c of pixel p of staging memory.
__device__ inline void load_staged(float (&v)[8], const float* staging, int p, int c) {
  float4 x = *reinterpret_cast<const float4*>(staging + staging_index(p, c)), y = *reinterpret_cast<const float4*>(staging + staging_index(p, c + 4));
  v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w, v[4] = y.x, v[5] = y.y, v[6] = y.z, v[7] = y.w;
}

// The epilogue of a consumer warpgroup: 64 channels from m of a tile of 256 pixels; or, with a
// workspace [256,64], a store of the partial sums. 8 threads write the 64 channels of a pixel.
// The operands of the next round are prefetched.
template <bool DGRAD, bool GEGLU, bool SHUFFLE>
__device__ inline void epilogue(const EpilogueParams& o, const float (&acc)[128], const SharedStorage& storage, const TileCoord& c, int m, const Params& s, float* workspace) {
  int thread = threadIdx.x % 128, k = thread % 8 * 8, next[2];  // next: output index of the next round's 8 channels, -1 outside
  bool vectorized = s.M % 8 == 0, has_operands = !workspace && vectorized && m + k < s.M;
  float b[8] = {};
  EpilogueOperands<DGRAD, GEGLU> operands[2];
  auto prefetch = [&](int round, int i) {
    int p = has_operands && round < 8 ? pixel_index(round * EPILOGUE_PIXELS + thread / 8 + i * 16, c, s) : -1;
    Place at = place<GEGLU, SHUFFLE>(p, m + k, o, s);
    next[i] = p < 0 ? -1 : at.y;
    if (p >= 0) operands[i].prefetch(o, at, s.M);
  };
  if (!DGRAD && has_operands) load_parameters(b, static_cast<const float*>(o.b_or_s) + m + k);
#pragma unroll
  for (int i = 0; i < 2; i++) prefetch(0, i);
  staged_rounds(acc, storage, [&](int round, float* staging) {
    if (workspace || vectorized) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        int p = thread / 8 + i * 16, current = next[i];
        float b_or_s[8], r[8] = {};
#pragma unroll
        for (int j = 0; j < 8; j++) b_or_s[j] = b[j];
        operands[i].values(b_or_s, r, o);
        if (!DGRAD) prefetch(round + 1, i);
        float v[8];
        load_staged(v, staging, p, k);
        if (workspace) store8(workspace + (round * EPILOGUE_PIXELS + p) * 64 + k, v);
        if (current >= 0) finish<DGRAD, GEGLU>(v, b_or_s, r, o, current, s.M);
        if (DGRAD) prefetch(round + 1, i);  // not earlier: s occupies the registers
      }
    } else {
      for (int p = thread / 32; p < EPILOGUE_PIXELS; p += 4) {
        int pixel = pixel_index(round * EPILOGUE_PIXELS + p, c, s);
        for (int k = thread % 32; k < 64; k += 32)
          if (pixel >= 0 && m + k < s.M) epilogue1<DGRAD, GEGLU>(staging[staging_index(p, k)], o, place<GEGLU, SHUFFLE>(pixel, m + k, o, s), m + k, s.M);
      }
    }
  });
}

// Adds the bias to V channels of u and g, from `channel`, and stores them in h and their GEGLU in y.
template <int V>
__device__ inline void finish_geglu(float (&u)[V], float (&g)[V], const float (&bu)[V], const float (&bg)[V], const EpilogueParams& o, int pixel, int channel, int C) {
#pragma unroll
  for (int j = 0; j < V; j++) u[j] += bu[j], g[j] += bg[j];
  auto write = [&](void* y, int i, const float (&v)[V], int half) { half ? store_values(static_cast<bfloat*>(y) + i, v) : store_values(static_cast<float*>(y) + i, v); };
  write(o.h, pixel * 2 * C + channel, u, o.half & 2), write(o.h, pixel * 2 * C + C + channel, g, o.half & 2);
#pragma unroll
  for (int j = 0; j < V; j++) u[j] *= activate(GELU, g[j]);
  write(o.y, pixel * C + channel, u, o.half & 1);
}

// finish_geglu of 8 of C channels of a pixel, one at a time where C is no multiple of 8. b is the bias of u, then that of g.
__device__ inline void finish_geglu8(float (&u)[8], float (&g)[8], const EpilogueParams& o, int pixel, int channel, int C) {
  const float* b = static_cast<const float*>(o.b_or_s) + channel;
  if (C % 8 == 0) {
    float bu[8], bg[8];
    load_parameters(bu, b), load_parameters(bg, b + C);
    return finish_geglu(u, g, bu, bg, o, pixel, channel, C);
  }
#pragma unroll
  for (int j = 0; j < 8; j++) {
    if (channel + j >= C) continue;
    float u1[1] = {u[j]}, g1[1] = {g[j]}, bu[1] = {b[j]}, bg[1] = {b[C + j]};
    finish_geglu(u1, g1, bu, bg, o, pixel, channel + j, C);
  }
}

// The epilogue of fprop with GEGLU: 4 threads write the 32 channels of a pixel, from m/2, that the
// tile has both u and g of.
__device__ inline void epilogue_geglu(const EpilogueParams& o, const float (&acc)[128], const SharedStorage& storage, const TileCoord& c, int m, const Params& s, float* workspace) {
  int thread = threadIdx.x % 128, p = thread / 4, k = thread % 4 * 8, C = s.M / 2;
  staged_rounds(acc, storage, [&](int round, float* staging) {
    int pixel = pixel_index(round * EPILOGUE_PIXELS + p, c, s);
    float u[8], g[8];
    load_staged(u, staging, p, k), load_staged(g, staging, p, k + 32);
    if (workspace) {
      float* to = workspace + (round * EPILOGUE_PIXELS + p) * 64 + k;
      store8(to, u), store8(to + 32, g);
    } else if (pixel >= 0 && m / 2 + k < C) {
      finish_geglu8(u, g, o, pixel, m / 2 + k, C);
    }
  });
}

// Fprop and dgrad. x is the tensor whose pixels are read: x or dy.
template <bool DGRAD, bool GEGLU = false, bool SHUFFLE = false>
__device__ inline void implicit_gemm(char* memory, const TensorMap* x, const TensorMap* w, const EpilogueParams& o, float* workspace, const Params& s) {
  SharedStorage r = make_shared_storage(memory, s, CONSUMERS * STAGING_BYTES, 0);
  int group = threadIdx.x / 128;
  if (group == CONSUMERS) {  // producer
    setmaxnreg_dec<40>();
    if (threadIdx.x % 128 > 0) return;
    PipelineState a = {0, 1}, b = {0, 1};
    for (int i = blockIdx.x; i < s.work_tiles; i += gridDim.x) {
      WorkTile u = work_tile(i, s);
      int m0 = m_offset(u.tile, s), sign = DGRAD ? -1 : 1;
      TileCoord coords[2] = {tile_coord(pixel_tile(u.tile, s), s, 8), tile_coord(pixel_tile(u.tile, s) + 1, s, 8)};
      KStep at(u.k_begin, s);
      for (int j = u.k_begin; j < u.k_end; j += r.taps, at.advance(s)) {
        unsigned full = r.b.full + 8 * b.stage, to = r.b.smem + b.stage * r.b.stage_bytes;
        mbarrier_wait(r.b.empty + 8 * b.stage, b.phase);
        mbarrier_arrive_expect_tx(full, r.b.stage_bytes);
#pragma unroll
        for (int g = 0; g < 2; g++) {
          const TileCoord& c = coords[g];
          if (g < r.b_tiles) tma_load(to + g * (r.b.stage_bytes / 2), x, full, at.c, source_coord(s.w, c.w, at.w, sign), source_coord(s.h, c.h, DGRAD ? at.h + r.taps - 1 : at.h, sign), source_coord(s.t, c.t, at.t, sign), c.n);
        }
        b.advance(r.b);
        for (int tap = 0; tap < r.taps; tap++) {
          unsigned full = r.a.full + 8 * a.stage, to = r.a.smem + a.stage * r.a.stage_bytes;
          mbarrier_wait(r.a.empty + 8 * a.stage, a.phase);
          mbarrier_arrive_expect_tx(full, r.a.stage_bytes);
#pragma unroll
          for (int g = 0; g < 2; g++) {
            int m = m0 + 64 * g;
            if (g >= r.a_tiles) continue;
            unsigned tile = to + g * A_TILE_BYTES;
            auto load = [&](unsigned to, int c, int m) { tma_load(to, w, full, c, s.w.first_tap + at.w * s.w.tap_step, s.h.first_tap + (at.h + tap) * s.h.tap_step, s.t.first_tap + at.t * s.t.tap_step, m); };
            if (GEGLU && !DGRAD) load(tile, at.c, m / 2), load(tile + A_TILE_BYTES / 2, at.c, s.M / 2 + m / 2);
            else load(tile, DGRAD ? m : at.c, DGRAD ? at.c : m);
          }
          a.advance(r.a);
        }
      }
    }
    return;
  }
  setmaxnreg_inc<232>();  // consumers
  PipelineState a = {0, 0}, b = {0, 0};
  float acc[128];
  for (int i = blockIdx.x; i < s.work_tiles; i += gridDim.x) {
    WorkTile u = work_tile(i, s);
    int k_steps = u.k_end - u.k_begin, lead = 0;
    if (i == (int)blockIdx.x) {
      lead = min(min(r.a.stages - 1, (r.b.stages - 1) * r.taps), k_steps);
      if (group > 0) mbarrier_wait(r.order, 0), lead = 0;
    }
    mainloop<DGRAD ? Major::MN : Major::K, Major::K, DGRAD>(acc, r, a, b, k_steps, lead);
    float* partial = u.slot < 0 ? nullptr : workspace + (size_t)(u.slot * 2 + group) * 256 * 64;
    TileCoord c = tile_coord(pixel_tile(u.tile, s) + (r.b_tiles > 1 ? group : 0), s, 8);
    int m = m_offset(u.tile, s) + (r.a_tiles > 1 ? group * 64 : 0);
    if constexpr (GEGLU && !DGRAD) epilogue_geglu(o, acc, r, c, m, s, partial);
    else epilogue<DGRAD, GEGLU, SHUFFLE>(o, acc, r, c, m, s, partial);
  }
}

// The sum of 8 partial sums of a tile over all splits, in order.
__device__ inline void add_splits(float (&v)[8], const float* workspace, int splits) {
#pragma unroll
  for (int j = 0; j < 8; j++) v[j] = 0;
  for (int i = 0; i < splits; i++, workspace += 2 * 256 * 64) {
    float partial[8];
    load8(partial, workspace);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += partial[j];
  }
}

// The reduction of split-K: adds the partial sums of a tile in order, then the epilogue. A CTA
// has 32 pixels of one warpgroup's tile, a thread 8 channels of a pixel.
template <bool DGRAD, bool GEGLU = false, bool SHUFFLE = false>
__device__ inline void splitk_reduce(const EpilogueParams& o, const float* workspace, const Params& s) {
  int tile = s.full_tiles + blockIdx.x / 16, group = blockIdx.x / 8 % 2, p = blockIdx.x % 8 * 32 + threadIdx.x / 8, k = threadIdx.x % 8 * 8;
  int m = m_offset(tile, s) + (s.two_m_tiles ? group * 64 : 0) + k, pixel = pixel_index(p, tile_coord(pixel_tile(tile, s) + (s.two_m_tiles ? 0 : group), s, 8), s);
  if (m >= s.M || pixel < 0) return;
  workspace += (size_t)(blockIdx.x / 16 * s.splits * 2 + group) * 256 * 64 + p * 64 + k;
  bool vectorized = s.M % 8 == 0;
  Place at = place<GEGLU, SHUFFLE>(pixel, m, o, s);
  EpilogueOperands<DGRAD, GEGLU> operands;
  if (vectorized) operands.prefetch(o, at, s.M);
  float v[8];
  add_splits(v, workspace, s.splits);
  if (vectorized) {
    float b_or_s[8] = {}, r[8] = {};
    if (!DGRAD) load_parameters(b_or_s, static_cast<const float*>(o.b_or_s) + m);
    operands.values(b_or_s, r, o);
    return finish<DGRAD, GEGLU>(v, b_or_s, r, o, at.y, s.M);
  }
#pragma unroll
  for (int j = 0; j < 8; j++)
    if (m + j < s.M) epilogue1<DGRAD, GEGLU>(v[j], o, {at.y + j, at.r + j}, m + j, s.M);
}

// The same of fprop with GEGLU: 128 threads have 8 channels of u and the same of g each.
__device__ inline void splitk_reduce_geglu(const EpilogueParams& o, const float* workspace, const Params& s) {
  if (threadIdx.x >= 128) return;
  int tile = s.full_tiles + blockIdx.x / 16, group = blockIdx.x / 8 % 2, p = blockIdx.x % 8 * 32 + threadIdx.x / 4, k = threadIdx.x % 4 * 8;
  int channel = (m_offset(tile, s) + (s.two_m_tiles ? group * 64 : 0)) / 2 + k, pixel = pixel_index(p, tile_coord(pixel_tile(tile, s) + (s.two_m_tiles ? 0 : group), s, 8), s);
  if (channel >= s.M / 2 || pixel < 0) return;
  workspace += (size_t)(blockIdx.x / 16 * s.splits * 2 + group) * 256 * 64 + p * 64 + k;
  float u[8], g[8];
  add_splits(u, workspace, s.splits), add_splits(g, workspace + 32, s.splits);
  finish_geglu8(u, g, o, pixel, channel, s.M / 2);
}

// The bias gradient of 64 channels from m, by a warp: the sums over all pixels of a tile of the A
// stages. A lane has 8 channels of every fourth pixel.
__device__ inline void bias_gradient(float* db, const char* memory, const SharedStorage& r, int tile, int m, int M, int k_steps) {
  int lane = threadIdx.x % 32, chunk = lane % 8;
  const char* stages = memory + (r.a.smem - smem_address(memory)) + tile * A_TILE_BYTES;
  PipelineState a = {0, 0};
  float sum[8] = {};
  for (int i = 0; i < k_steps; i++) {
    mbarrier_wait(r.a.full + 8 * a.stage, a.phase);
    const char* rows = stages + a.stage * r.a.stage_bytes;
    for (int p = lane / 8; p < 64; p += 4) {
      float v[8];
      load8(v, reinterpret_cast<const bfloat*>(rows + p * 128 + (chunk ^ p % 8) * 16));
#pragma unroll
      for (int j = 0; j < 8; j++) sum[j] += v[j];
    }
    __syncwarp();
    if (lane == 0) mbarrier_arrive(r.a.empty + 8 * a.stage);
    a.advance(r.a);
  }
#pragma unroll
  for (int j = 0; j < 8; j++) {
    sum[j] += __shfl_xor_sync(FULL_MASK, sum[j], 8);
    sum[j] += __shfl_xor_sync(FULL_MASK, sum[j], 16);
    if (lane < 8 && m + chunk * 8 + j < M) db[m + chunk * 8 + j] = sum[j];
  }
}

__device__ inline void wgrad(char* memory, const TensorMap* dy, const TensorMap* x, float* dw, float* db, const Params& s) {
  int a_tiles = s.two_m_tiles ? 2 : 1, m_tiles = (s.M + 64 * a_tiles - 1) / (64 * a_tiles);
  bool has_bias = db && (int)blockIdx.x < m_tiles;  // the first columns
  SharedStorage r = make_shared_storage(memory, s, 0, has_bias ? a_tiles : 0);
  int chunks = (s.C + 63) / 64, k = s.t.taps * s.h.taps * s.w.taps, columns = k * chunks;
  int m0 = blockIdx.x % m_tiles * 64 * r.a_tiles, column0 = blockIdx.x / m_tiles * 4 * r.b_tiles, own_columns = min(4 * r.b_tiles, columns - column0);
  int pixel_tiles = tiles_along(s.w) * tiles_along(s.h) * tiles_along(s.t) * (((s.N - 1) >> (6 - s.t.log2 - s.h.log2 - s.w.log2)) + 1);
  int k_begin = blockIdx.y * s.split_steps, k_end = min(k_begin + s.split_steps, pixel_tiles), group = threadIdx.x / 128;
  if (group == CONSUMERS) {  // producer
    setmaxnreg_dec<56>();
    int lane = threadIdx.x % 32, warp = threadIdx.x % 128 / 32;
    if (warp > 0) {
      if (has_bias && warp <= a_tiles) bias_gradient(db + (size_t)blockIdx.y * s.M, memory, r, warp - 1, m0 + 64 * (warp - 1), s.M, k_end - k_begin);
      return;
    }
    // A lane copies its column (tap and 64 channels) of each pixel tile, and its M tile of dy.
    int column = column0 + lane, tap = column / chunks, c0 = column % chunks * 64, m = m0 + 64 * lane;
    int w = source_coord(s.w, 0, tap % s.w.taps, 1), h = source_coord(s.h, 0, tap / s.w.taps % s.h.taps, 1), t = source_coord(s.t, 0, tap / s.w.taps / s.h.taps, 1);
    PipelineState a = {0, 1}, b = {0, 1};
    TileCoord c = tile_coord(k_begin, s, 6);
    for (int i = k_begin; i < k_end; i++, c.advance(s, 6)) {
      unsigned full_a = r.a.full + 8 * a.stage, full_b = r.b.full + 8 * b.stage;
      mbarrier_wait(r.b.empty + 8 * b.stage, b.phase);
      mbarrier_wait(r.a.empty + 8 * a.stage, a.phase);
      if (lane == 0) {
        mbarrier_arrive_expect_tx(full_b, own_columns * A_TILE_BYTES);
        mbarrier_arrive_expect_tx(full_a, r.a.stage_bytes);
      }
      __syncwarp();
      if (lane < own_columns) tma_load(r.b.smem + b.stage * r.b.stage_bytes + lane * A_TILE_BYTES, x, full_b, c0, c.w * s.w.stride + w, c.h * s.h.stride + h, c.t * s.t.stride + t, c.n);
      if (lane < r.a_tiles) tma_load(r.a.smem + a.stage * r.a.stage_bytes + lane * A_TILE_BYTES, dy, full_a, m, c.w, c.h, c.t, c.n);
      a.advance(r.a), b.advance(r.b);
    }
    return;
  }
  setmaxnreg_inc<224>();  // consumers
  PipelineState a = {0, 0}, b = {0, 0};
  float acc[128];
  mainloop<Major::MN, Major::MN, false>(acc, r, a, b, k_end - k_begin, 0);
  int lane = threadIdx.x % 32;
  int m = m0 + (r.a_tiles > 1 ? group * 64 : 0) + threadIdx.x / 32 % 4 * 16 + lane / 4, column = column0 + (r.b_tiles > 1 ? group * 4 : 0);
  dw += (size_t)blockIdx.y * s.M * k * s.C;
  bool pairs = s.C % 2 == 0 && (size_t)dw % 8 == 0;  // dw is aligned to 4 bytes only
#pragma unroll
  for (int i = 0; i < 128; i += 2) {
    int o = m + i / 2 % 2 * 8, j = column + i / 32, c = j % chunks * 64 + i % 32 / 4 * 8 + lane % 4 * 2;
    if (o >= s.M || j >= columns || c >= s.C) continue;
    float* to = dw + (o * k + j / chunks) * s.C + c;
    if (pairs) {
      *reinterpret_cast<float2*>(to) = {acc[i], acc[i + 1]};
    } else {
      to[0] = acc[i];
      if (c + 1 < s.C) to[1] = acc[i + 1];
    }
  }
}

}  // namespace hopper

// workspace [work_tiles - full_tiles, 2, 256, 64] takes the partial sums of split tiles.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_sm90a(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, void* y, const float* b, const void* r, float* workspace, hopper::Params s, int kind, int half) {
  DYNAMIC_SHARED(char, memory);
  hopper::implicit_gemm<false>(memory, &x, &w, {y, b, r, kind, half}, workspace, s);
}

extern "C" __global__ void conv_sum_sm90a(void* y, const float* b, const void* r, const float* workspace, hopper::Params s, int kind, int half) {
  hopper::splitk_reduce<false>({y, b, r, kind, half}, workspace, s);
}

// h has 2·O channels, y has O.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_geglu_sm90a(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, void* y, void* h, const float* b, float* workspace, hopper::Params s, int half) {
  DYNAMIC_SHARED(char, memory);
  hopper::implicit_gemm<false, true>(memory, &x, &w, {y, b, nullptr, NONE, half, h}, workspace, s);
}

extern "C" __global__ void conv_geglu_sum_sm90a(void* y, void* h, const float* b, const float* workspace, hopper::Params s, int half) {
  hopper::splitk_reduce_geglu({y, b, nullptr, NONE, half, h}, workspace, s);
}

// saved is s of the preceding activation, null if kind is NONE.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_x_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap w, void* dx, const void* saved, const void* r, float* workspace, hopper::Params s, int kind, int half) {
  DYNAMIC_SHARED(char, memory);
  hopper::implicit_gemm<true>(memory, &dy, &w, {dx, saved, r, kind, half}, workspace, s);
}

extern "C" __global__ void conv_grad_x_sum_sm90a(void* dx, const void* saved, const void* r, const float* workspace, hopper::Params s, int kind, int half) {
  hopper::splitk_reduce<true>({dx, saved, r, kind, half}, workspace, s);
}

// x is the input of the activation, whose neighbours follow one another as those of dx do.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_shuffle_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap w, void* dx, const void* x, const void* r, float* workspace, hopper::Params s, int kind, int half, Neighbours near) {
  DYNAMIC_SHARED(char, memory);
  hopper::implicit_gemm<true, false, true>(memory, &dy, &w, {dx, x, r, kind, half, nullptr, near}, workspace, s);
}

extern "C" __global__ void conv_grad_shuffle_sum_sm90a(void* dx, const void* x, const void* r, const float* workspace, hopper::Params s, int kind, int half, Neighbours near) {
  hopper::splitk_reduce<true, false, true>({dx, x, r, kind, half, nullptr, near}, workspace, s);
}

// A pixel of x and dx has M channels u, then M channels g.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_geglu_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap w, void* dx, const void* x, float* workspace, hopper::Params s, int half) {
  DYNAMIC_SHARED(char, memory);
  hopper::implicit_gemm<true, true>(memory, &dy, &w, {dx, x, nullptr, NONE, half}, workspace, s);
}

extern "C" __global__ void conv_grad_geglu_sum_sm90a(void* dx, const void* x, const float* workspace, hopper::Params s, int half) {
  hopper::splitk_reduce<true, true>({dx, x, nullptr, NONE, half}, workspace, s);
}

// dw is [splits,O,KT,KH,KW,C], db [splits,O] or null: a split has split_steps tiles of 64 output pixels. The axes of s
// are those of dy; M is O.
extern "C" __global__ void __launch_bounds__(384, 1)
conv_grad_w_sm90a(const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap x, float* dw, float* db, hopper::Params s) {
  DYNAMIC_SHARED(char, memory);
  hopper::wgrad(memory, &dy, &x, dw, db, s);
}
