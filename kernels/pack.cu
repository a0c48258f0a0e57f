// Operands of implicit GEMMs in bfloat16: channels padded with zeros to a multiple of 8, so that
// 16 bytes are channels of one pixel.
//
//   pack_bf16       y[i,c] = x[i,c]
//   unfold_bf16     y[i,ow,(l,c)] = x[i, ow·SW-PW+l, c], 0 outside: im2col along w, the taps of a line become channels
//   transpose_bf16  y[n,c,k,o] = w[n,o,k,c]: the filter of dgrad
//
// One thread per 8 values. chunks is the number of chunks of 8 in a row of y.
//
// Why a separate pass instead of rounding when tiles are loaded: a value moves from L2 to an SM
// once per tap and N tile, 27 times in a 3×3×3 convolution. In bfloat16 that is half of the traffic,
// and cp.async or TMA bypasses registers. The pass costs 6 bytes per value.
//
// Definition: RoundBF16 of precision.go.
#include "common.cuh"

// The values f(0) to f(7) rounded to bfloat16.
template <class F>
__device__ inline uint4 pack(F f) {
  return {bf16x2(f(0), f(1)), bf16x2(f(2), f(3)), bf16x2(f(4), f(5)), bf16x2(f(6), f(7))};
}

// x has rows of C values; n is the number of chunks of y.
template <class T>
__device__ inline void pack_rows(uint4* y, const T* x, unsigned n, unsigned chunks, int C) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  int c = i % chunks * 8;
  x += (size_t)(i / chunks) * C + c;
  if (c + 8 <= C && (size_t)x % 16 == 0) {
    float v[8];
    load8(v, x);
    y[i] = pack([&](int j) { return v[j]; });
  } else {
    y[i] = pack([&](int j) { return c + j < C ? load(x[j]) : 0; });
  }
}

extern "C" __global__ void pack_bf16(uint4* y, const float* x, unsigned n, unsigned chunks, int C) { pack_rows(y, x, n, chunks, C); }
extern "C" __global__ void pack_bf16_half(uint4* y, const bfloat* x, unsigned n, unsigned chunks, int C) { pack_rows(y, x, n, chunks, C); }

// x is [lines,W,C], y is [lines,OW,KW·C].
template <class T>
__device__ inline void unfold(uint4* y, const T* x, unsigned n, unsigned chunks, int W, int C, int OW, int KW, int SW, int PW) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  int first = i % chunks * 8, q = i / chunks, left = q % OW * SW - PW;
  x += (size_t)(q / OW) * W * C;
  y[i] = pack([&](int j) {
    int l = (first + j) / C, w = left + l;
    return l < KW && 0 <= w && w < W ? load(x[w * C + (first + j) % C]) : 0;
  });
}

extern "C" __global__ void unfold_bf16(uint4* y, const float* x, unsigned n, unsigned chunks, int W, int C, int OW, int KW, int SW, int PW) {
  unfold(y, x, n, chunks, W, C, OW, KW, SW, PW);
}
extern "C" __global__ void unfold_bf16_half(uint4* y, const bfloat* x, unsigned n, unsigned chunks, int W, int C, int OW, int KW, int SW, int PW) {
  unfold(y, x, n, chunks, W, C, OW, KW, SW, PW);
}

// Adjacent threads read adjacent channels.
template <class T>
__device__ inline void transpose(uint4* y, const T* w, unsigned n, unsigned chunks, int O, int taps, int C) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned c = i % C, k = i / C % taps, o = i / C / taps % chunks, sample = i / C / taps / chunks;
  w += (((size_t)sample * O + o * 8) * taps + k) * C + c;
  y[(((size_t)sample * C + c) * taps + k) * chunks + o] = pack([&](int j) { return (int)o * 8 + j < O ? load(w[(size_t)j * taps * C]) : 0; });
}

extern "C" __global__ void transpose_bf16(uint4* y, const float* w, unsigned n, unsigned chunks, int O, int taps, int C) { transpose(y, w, n, chunks, O, taps, C); }
extern "C" __global__ void transpose_bf16_half(uint4* y, const bfloat* w, unsigned n, unsigned chunks, int O, int taps, int C) { transpose(y, w, n, chunks, O, taps, C); }
