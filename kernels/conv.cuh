// conv.cuh: sizes and places of a convolution, for all its forms.
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

__device__ inline Tap tap(int k, const ConvSize& s, int channels) {
  Place p = place(k / channels, s.KT, s.KH, s.KW);
  return {p.t, p.h, p.w, k % channels};
}

// Whether 0 <= i < n.
__device__ inline bool below(int i, int n) { return (unsigned)i < (unsigned)n; }

// Input pixels that output pixels read.
struct Inputs {
  ConvSize s;
  // Where the output pixel at p reads through the first tap.
  __device__ Place row(const Place& p) const { return {p.n, p.t * s.ST - s.PT, p.h * s.SH - s.PH, p.w * s.SW - s.PW}; }
  __device__ Place row(int q) const { return row(place(q, s.OT, s.OH, s.OW)); }
  // The number of the input pixel that it reads through tap k, -1 outside.
  __device__ int pixel(const Place& p, const Tap& k) const {
    int t = p.t + k.t * s.DT, h = p.h + k.h, w = p.w + k.w;
    bool inside = below(t, s.T) && below(h, s.H) && below(w, s.W);
    return inside ? ((p.n * s.T + t) * s.H + h) * s.W + w : -1;
  }
};

// Output pixels that read input pixels.
struct Outputs {
  ConvSize s;
  // Where an output pixel that read input pixel i through the first tap would lie, but for strides.
  __device__ Place row(int i) const {
    Place p = place(i, s.T, s.H, s.W);
    return {p.n, p.t + s.PT, p.h + s.PH, p.w + s.PW};
  }
  // The number of the output pixel that reads it through tap k, -1 if there is none.
  __device__ int pixel(const Place& p, const Tap& k) const {
    int t = p.t - k.t * s.DT, h = p.h - k.h, w = p.w - k.w;
    bool whole = true;
    if (s.ST > 1 || s.SH > 1 || s.SW > 1) {
      whole = t % s.ST == 0 && h % s.SH == 0 && w % s.SW == 0;
      t /= s.ST, h /= s.SH, w /= s.SW;
    }
    bool inside = whole && below(t, s.OT) && below(h, s.OH) && below(w, s.OW);
    return inside ? ((p.n * s.OT + t) * s.OH + h) * s.OW + w : -1;
  }
};
