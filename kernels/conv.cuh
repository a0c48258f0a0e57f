// conv.cuh: convolutions as implicit GEMMs, for conv.cu and conv_mma.cu: which source pixel
// a row of the im2col matrix reads through a filter tap.
#pragma once

struct ConvSize {
  int N, T, H, W, C;        // input
  int OT, OH, OW, O;        // output
  int KT, KH, KW, ST, SH, SW, DT, PT, PH, PW;
};

// A pixel of clip n.
struct Coord { int n, t, h, w; };

// Pixel i of [N,T,H,W].
__device__ inline Coord unravel(int i, int T, int H, int W) {
  Coord p;
  p.w = i % W, i /= W;
  p.h = i % H, i /= H;
  p.t = i % T, p.n = i / T;
  return p;
}

// An index of the GEMM's K dimension: a filter tap and a channel.
struct Tap { int t, h, w, c; };

// Whether 0 <= i < n.
__device__ inline bool in_range(int i, int n) { return (unsigned)i < (unsigned)n; }

// One axis of a PixelMap. Pixel i of count reads, through the k-th of its taps, source pixel
// i·stride + origin + k·tap_step, or 0 outside of [0,size). The k-th tap is tap
// first_tap + k·tap_stride of the filter. Pixel i is pixel offset + i·spacing of its tensor.
struct ConvAxis { int count, stride, origin, size, tap_step, taps, first_tap, tap_stride, offset, spacing; };

// Fprop and wgrad: output pixels read input pixels.
__device__ inline ConvAxis fprop_axis(int size, int out, int taps, int stride, int dilation, int pad) {
  return {out, stride, -pad, size, dilation, taps, 0, 1, 0, 1};
}

// Dgrad: input pixels offset, offset + stride, ... are a phase. Its pixels read the output as
// in a convolution with stride 1, through every tap_stride-th filter tap.
__device__ inline ConvAxis dgrad_axis(int offset, int size, int out, int taps, int stride, int dilation, int pad) {
  int tap = 0, tap_stride = 1;
  while (tap < taps && (offset + pad - tap * dilation) % stride) tap++;
  while (tap_stride * dilation % stride) tap_stride++;
  int left = taps - tap;
  return {(size - offset + stride - 1) / stride, 1, (offset + pad - tap * dilation) / stride, out, -(tap_stride * dilation / stride),
          left > 0 ? (left + tap_stride - 1) / tap_stride : 0, tap, tap_stride, offset, stride};
}

// The rows of an im2col matrix: pixels that read source pixels through taps.
struct PixelMap {
  int N;
  ConvAxis t, h, w;

  __device__ int pixels() const { return N * t.count * h.count * w.count; }
  __device__ int taps() const { return t.taps * h.taps * w.taps; }
  __device__ Coord coord(int i) const { return unravel(i, t.count, h.count, w.count); }
  // The source pixel that pixel p reads through its first tap.
  __device__ Coord origin(const Coord& p) const {
    return {p.n, p.t * t.stride + t.origin, p.h * h.stride + h.origin, p.w * w.stride + w.origin};
  }
  // Index k of K. Any value if there are no taps.
  __device__ Tap tap(int k, int channels) const {
    Coord p = unravel(k / channels, max(t.taps, 1), max(h.taps, 1), max(w.taps, 1));
    return {p.n * t.taps + p.t, p.h, p.w, k % channels};
  }
  // The source pixel read through tap k; p is an origin.
  __device__ Coord shift(const Coord& p, const Tap& k) const { return {p.n, p.t + k.t * t.tap_step, p.h + k.h * h.tap_step, p.w + k.w * w.tap_step}; }
  // The index of tap k in a filter [KT,KH,KW].
  __device__ int filter_index(const Tap& k, int KH, int KW) const {
    return ((t.first_tap + k.t * t.tap_stride) * KH + h.first_tap + k.h * h.tap_stride) * KW + w.first_tap + k.w * w.tap_stride;
  }
  __device__ int source_index(const Coord& p) const { return ((p.n * t.size + p.t) * h.size + p.h) * w.size + p.w; }
  // The index of pixel i in its tensor [N,T,H,W].
  __device__ int pixel_index(int i, int T, int H, int W) const {
    if (t.spacing * h.spacing * w.spacing == 1) return i;
    Coord p = coord(i);
    return ((p.n * T + t.offset + p.t * t.spacing) * H + h.offset + p.h * h.spacing) * W + w.offset + p.w * w.spacing;
  }
};

__device__ inline PixelMap fprop_map(const ConvSize& s) {
  return {s.N, fprop_axis(s.T, s.OT, s.KT, s.ST, s.DT, s.PT), fprop_axis(s.H, s.OH, s.KH, s.SH, 1, s.PH), fprop_axis(s.W, s.OW, s.KW, s.SW, 1, s.PW)};
}

__device__ inline PixelMap dgrad_map(const ConvSize& s, int phase) {
  return {s.N, dgrad_axis(phase / s.SW / s.SH, s.T, s.OT, s.KT, s.ST, s.DT, s.PT), dgrad_axis(phase / s.SW % s.SH, s.H, s.OH, s.KH, s.SH, 1, s.PH),
          dgrad_axis(phase % s.SW, s.W, s.OW, s.KW, s.SW, 1, s.PW)};
}
