// conv_sm90a.cuh: the pipeline, mainloop and tile scheduler of conv_sm90a.cu.
#pragma once
#include "hopper.cuh"

namespace hopper {

constexpr unsigned A_TILE_BYTES = 64 * 64 * 2;      // 64 M or N by 64 K
constexpr unsigned B_TILE_BYTES = 4 * A_TILE_BYTES;  // 256 N by 64 K
constexpr int CONSUMERS = 2, CONSUMER_WARPS = 4 * CONSUMERS;  // warpgroups, warps
constexpr int PITCH = 68, EPILOGUE_PIXELS = 32;               // of the epilogue's staging memory: floats per pixel, pixels
constexpr unsigned STAGING_BYTES = PITCH * EPILOGUE_PIXELS * 4;  // per consumer warpgroup

// One axis (t, h or w) of the convolution.
struct AxisParams {
  int size, log2;                   // output positions; a pixel tile has 2^log2 of them
  int taps, dilation, pad, stride;  // position q reads q·stride + tap·dilation - pad (fprop) or q - tap·dilation + pad (dgrad)
  int first_tap, tap_step;          // tap i is tap first_tap + i·tap_step of the filter
  int extent, spacing, offset;      // position q is stored at offset + q·spacing of extent
};

// The arguments of the kernels. gpu plans them.
struct Params {
  AxisParams t, h, w;
  int N, M, C;                 // clips, GEMM M (channels of the output), channels of K
  int two_m_tiles;             // CTA tile 128×256 if set, else 64×512
  int shared_taps;             // taps along h that read the same B tile
  int stagesA, stagesB;
  int work_tiles, full_tiles;  // see WorkTile
  int splits, split_steps;
};

// A multi-stage buffer in shared memory with a full and an empty mbarrier per stage.
struct Pipeline {
  unsigned smem, stage_bytes, full, empty;
  int stages;
};

// readers is the number of warps that release a stage.
__device__ inline Pipeline make_pipeline(unsigned& free, unsigned stage_bytes, int stages, int readers) {
  unsigned full = free + stages * stage_bytes;
  Pipeline p = {free, stage_bytes, full, full + 8 * stages, stages};
  for (int s = 0; s < stages && threadIdx.x == 0; s++) {
    mbarrier_init(p.full + 8 * s, 1);
    mbarrier_init(p.empty + 8 * s, readers);
  }
  free = (full + 16 * stages + 1023) / 1024 * 1024;
  return p;
}

struct PipelineState {
  int stage, phase;
  __device__ void advance(const Pipeline& p) {
    if (++stage == p.stages) stage = 0, phase ^= 1;
  }
};

// Shared memory of a CTA: staging for the epilogue, the order barrier and both pipelines. A
// stage of b serves `taps` stages of a; tap i reads it from i·tap_bytes. The first consumer
// warpgroup arrives at the order barrier when the second one may start.
struct SharedStorage {
  Pipeline a, b;
  unsigned tap_bytes, order;
  float* staging;
  int a_tiles, b_tiles, taps;  // tiles per stage
};

// a_readers is the number of warps besides the consumers that read stages of a.
__device__ inline SharedStorage make_shared_storage(char* memory, const Params& s, unsigned staging_bytes, int a_readers) {
  SharedStorage r;
  r.a_tiles = s.two_m_tiles ? 2 : 1, r.b_tiles = 3 - r.a_tiles, r.taps = s.shared_taps, r.tap_bytes = s.h.dilation * 128 << s.w.log2;
  unsigned start = smem_address(memory), first = (start + 15) / 16 * 16;
  r.staging = reinterpret_cast<float*>(memory + (first - start));
  r.order = first + staging_bytes;
  unsigned free = (r.order + 8 + 1023) / 1024 * 1024;
  r.b = make_pipeline(free, r.b_tiles * (B_TILE_BYTES + (r.taps - 1) * r.tap_bytes), s.stagesB, CONSUMER_WARPS);
  r.a = make_pipeline(free, r.a_tiles * A_TILE_BYTES, s.stagesA, CONSUMER_WARPS + a_readers);
  if (threadIdx.x == 0) {
    mbarrier_init(r.order, 4);
    fence_proxy_async();
  }
  __syncthreads();
  return r;
}

// acc = A·B over k_steps steps of 64 K. DGRAD: the first tap reads the end of a B stage. After
// `lead` steps (if not 0) the order barrier is signalled.
template <Major MajorA, Major MajorB, bool DGRAD>
__device__ inline void mainloop(float (&acc)[128], const SharedStorage& r, PipelineState& a, PipelineState& b, int k_steps, int lead) {
  int group = threadIdx.x / 128, warp_leader = threadIdx.x % 32 == 0, tap = 0, last_a = 0, last_b = 0;
  auto release = [&](int done) {
    if (!warp_leader) return;
    mbarrier_arrive(r.a.empty + 8 * last_a);
    if (tap == 0) mbarrier_arrive(r.b.empty + 8 * last_b);
    if (done == lead) mbarrier_arrive(r.order);
  };
  for (int i = 0; i < k_steps; i++) {
    if (tap == 0) mbarrier_wait(r.b.full + 8 * b.stage, b.phase);
    mbarrier_wait(r.a.full + 8 * a.stage, a.phase);
    unsigned x = r.a.smem + a.stage * r.a.stage_bytes + (r.a_tiles > 1 ? group * A_TILE_BYTES : 0);
    unsigned y = r.b.smem + b.stage * r.b.stage_bytes + (r.b_tiles > 1 ? group * (r.b.stage_bytes / 2) : 0) + (DGRAD ? r.taps - 1 - tap : tap) * r.tap_bytes;
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; k++)
      wgmma<MajorA, MajorB>(acc, smem_descriptor(x + k * (MajorA == Major::MN ? 2048 : 32), A_TILE_BYTES, 1024), smem_descriptor(y + k * (MajorB == Major::MN ? 2048 : 32), A_TILE_BYTES, 1024), i + k > 0);
    wgmma_commit();
    wgmma_wait<1>(acc);  // the previous step's products
    if (i > 0) release(i);
    last_a = a.stage, a.advance(r.a);
    if (++tap == r.taps) tap = 0, last_b = b.stage, b.advance(r.b);
  }
  wgmma_wait<0>(acc);
  release(k_steps);
}

// The first output pixel of a pixel tile.
struct TileCoord {
  int n, t, h, w;
  // Moves to the next tile of 2^log2 pixels, without a division.
  __device__ void advance(const Params& s, int log2) {
    if ((w += 1 << s.w.log2) < s.w.size) return;
    w = 0;
    if ((h += 1 << s.h.log2) < s.h.size) return;
    h = 0;
    if ((t += 1 << s.t.log2) < s.t.size) return;
    t = 0, n += 1 << (log2 - s.t.log2 - s.h.log2 - s.w.log2);
  }
};

__device__ inline int tiles_along(const AxisParams& a) { return (a.size + (1 << a.log2) - 1) >> a.log2; }

// Pixel tile i of 2^log2 pixels.
__device__ inline TileCoord tile_coord(int i, const Params& s, int log2) {
  int w = tiles_along(s.w), h = tiles_along(s.h), t = tiles_along(s.t);
  TileCoord c;
  c.w = i % w << s.w.log2, i /= w;
  c.h = i % h << s.h.log2, i /= h;
  c.t = i % t << s.t.log2, i /= t;
  c.n = i << (log2 - s.t.log2 - s.h.log2 - s.w.log2);
  return c;
}

// The source coordinate that output position q reads through a tap. sign is 1 for fprop and
// wgrad, -1 for dgrad.
__device__ inline int source_coord(const AxisParams& a, int q, int tap, int sign) { return q * a.stride + sign * (tap * a.dilation - a.pad); }

// K step i: 64 channels from c of tap (t,h,w), the first of those that share a B tile.
struct KStep {
  int c, w, h, t;
  __device__ KStep(int i, const Params& s) {
    int chunks = (s.C + 63) / 64, rows = s.h.taps / s.shared_taps;
    i /= s.shared_taps;
    c = i % chunks * 64, i /= chunks;
    w = i % s.w.taps, i /= s.w.taps;
    h = i % rows * s.shared_taps, t = i / rows;
  }
  __device__ void advance(const Params& s) {
    if ((c += 64) < s.C) return;
    c = 0;
    if (++w < s.w.taps) return;
    w = 0;
    if ((h += s.shared_taps) < s.h.taps) return;
    h = 0, t++;
  }
};

// One iteration of the persistent loop: an output tile and its range of K steps. The first
// full_tiles work tiles have all of K. The rest are split-K: `splits` per output tile, of
// split_steps each, whose partial sums go to slot `slot` of the workspace (-1: none).
struct WorkTile { int tile, k_begin, k_end, slot; };

__device__ inline WorkTile work_tile(int i, const Params& s) {
  int steps = s.t.taps * s.h.taps * s.w.taps * ((s.C + 63) / 64);
  if (i < s.full_tiles) return {i, 0, steps, -1};
  i -= s.full_tiles;
  int k_begin = i % s.splits * s.split_steps;
  return {s.full_tiles + i / s.splits, k_begin, min(k_begin + s.split_steps, steps), i};
}

// Rasterize along M first: the CTAs of a wave read the same pixel tiles from L2.
__device__ inline int m_offset(int tile, const Params& s) { return s.two_m_tiles ? tile % ((s.M + 127) / 128) * 128 : tile % ((s.M + 63) / 64) * 64; }
__device__ inline int pixel_tile(int tile, const Params& s) { return s.two_m_tiles ? tile / ((s.M + 127) / 128) : tile / ((s.M + 63) / 64) * 2; }

}  // namespace hopper
