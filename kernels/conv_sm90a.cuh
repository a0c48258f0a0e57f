// conv_sm90a.cuh: what the kernels of conv_sm90a.cu do with tiles of operands: rings of
// stages in shared memory, products of what is in them, and which pixels, taps and
// channels a block goes through.
#pragma once
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

// The first result of a brick.
struct Corner {
  int n, t, h, w;
  // To that of the next brick of 2^log pixels, without a division.
  __device__ void next(const Size& s, int log) {
    if ((w += 1 << s.w.log) < s.w.size) return;
    w = 0;
    if ((h += 1 << s.h.log) < s.h.size) return;
    h = 0;
    if ((t += 1 << s.t.log) < s.t.size) return;
    t = 0, n += 1 << (log - s.t.log - s.h.log - s.w.log);
  }
};

__device__ inline int pieces(const Axis& a) { return (a.size + (1 << a.log) - 1) >> a.log; }

// That of brick i of 2^log pixels.
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

}  // namespace hopper
