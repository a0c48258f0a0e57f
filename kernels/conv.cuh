// conv.cuh: sizes and places of a convolution, for conv.cu and conv_mma.cu.
#pragma once

struct ConvSize {
  int N, T, H, W, C;        // input
  int OT, OH, OW, O;        // output
  int KT, KH, KW, ST, SH, SW, DT, PT, PH, PW;
};

// A position in time and space; of clip n.
struct Place { int n, t, h, w; };

__device__ inline Place place(int i, int T, int H, int W) {
  Place p;
  p.w = i % W, i /= W;
  p.h = i % H, i /= H;
  p.t = i % T, p.n = i / T;
  return p;
}

// A tap and a channel.
struct Tap { int t, h, w, c; };

// Whether 0 <= i < n.
__device__ inline bool below(int i, int n) { return (unsigned)i < (unsigned)n; }

// Along one axis, what pixels read: pixel i of count reads pixel i·stride + first + k·step
// of its source through tap k, 0 outside of [0,size). Of the kernel that is tap
// tap + k·apart; the pixel is number at + i·every of those of its axis.
struct Axis { int count, stride, first, size, step, taps, tap, apart, at, every; };

// Outputs read inputs.
__device__ inline Axis outputs(int size, int out, int taps, int stride, int dilation, int pad) {
  return {out, stride, -pad, size, dilation, taps, 0, 1, 0, 1};
}

// Inputs at, at + stride and so on are read by outputs as if there were no strides,
// through every apart-th tap: the gradient of the input has a phase for each at.
__device__ inline Axis inputs(int at, int size, int out, int taps, int stride, int dilation, int pad) {
  int tap = 0, apart = 1;
  while (tap < taps && (at + pad - tap * dilation) % stride) tap++;
  while (apart * dilation % stride) apart++;
  int left = taps - tap;
  return {(size - at + stride - 1) / stride, 1, (at + pad - tap * dilation) / stride, out, -(apart * dilation / stride),
          left > 0 ? (left + apart - 1) / apart : 0, tap, apart, at, stride};
}

// Pixels that read others.
struct Lattice {
  int N;
  Axis t, h, w;

  __device__ int count() const { return N * t.count * h.count * w.count; }
  __device__ int taps() const { return t.taps * h.taps * w.taps; }
  __device__ Place place(int i) const { return ::place(i, t.count, h.count, w.count); }
  // What the pixel at p reads through the first tap.
  __device__ Place first(const Place& p) const {
    return {p.n, p.t * t.stride + t.first, p.h * h.stride + h.first, p.w * w.stride + w.first};
  }
  // The tap and channel that are term k of the sum; any if there are none.
  __device__ Tap tap(int k, int channels) const {
    Place p = ::place(k / channels, max(t.taps, 1), max(h.taps, 1), max(w.taps, 1));
    return {p.n * t.taps + p.t, p.h, p.w, k % channels};
  }
  // Through any tap; p as first tells it.
  __device__ Place through(const Place& p, const Tap& k) const { return {p.n, p.t + k.t * t.step, p.h + k.h * h.step, p.w + k.w * w.step}; }
  // The number of that tap in a kernel of KT·KH·KW.
  __device__ int number(const Tap& k, int KH, int KW) const {
    return ((t.tap + k.t * t.apart) * KH + h.tap + k.h * h.apart) * KW + w.tap + k.w * w.apart;
  }
  // The number of a pixel of the source; and whether it is one.
  __device__ int source(const Place& p) const { return ((p.n * t.size + p.t) * h.size + p.h) * w.size + p.w; }
  __device__ bool inside(const Place& p) const { return below(p.t, t.size) && below(p.h, h.size) && below(p.w, w.size); }
  // The number of pixel i among all, T·H·W of each clip.
  __device__ int number(int i, int T, int H, int W) const {
    if (t.every * h.every * w.every == 1) return i;
    Place p = place(i);
    return ((p.n * T + t.at + p.t * t.every) * H + h.at + p.h * h.every) * W + w.at + p.w * w.every;
  }
};

__device__ inline Lattice outputs(const ConvSize& s) {
  return {s.N, outputs(s.T, s.OT, s.KT, s.ST, s.DT, s.PT), outputs(s.H, s.OH, s.KH, s.SH, 1, s.PH), outputs(s.W, s.OW, s.KW, s.SW, 1, s.PW)};
}

__device__ inline Lattice inputs(const ConvSize& s, int phase) {
  return {s.N, inputs(phase / s.SW / s.SH, s.T, s.OT, s.KT, s.ST, s.DT, s.PT), inputs(phase / s.SW % s.SH, s.H, s.OH, s.KH, s.SH, 1, s.PH),
          inputs(phase % s.SW, s.W, s.OW, s.KW, s.SW, 1, s.PW)};
}
