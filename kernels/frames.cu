// Padding, cropping, concatenation and slicing along time. Sizes count values (frames
// times the values of a frame); n is the length of the result.
//
//   pad_front        y[n,t] = x[n,t-P], 0 for t < P
//   crop_front       y[n,t] = x[n,t+P]
//   concat_time      y[n] = a[n] (la values), then b[n] (lb values)
//   slice_time       y[n] = x[n][from : from+len], x[n] of clip values
//   slice_time_grad  dx[n][from : from+len] = dy[n], 0 elsewhere
//
// One thread per value of the result. NAME_wide moves 16 bytes per thread and counts
// sizes in units of 16 bytes.
//
// Definition: frames.go, frames_slice.go.
#include "common.cuh"

template <class V>
__device__ inline void concat_time_of(V* y, const V* a, const V* b, unsigned n, unsigned la, unsigned lb) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned clip = i / (la + lb), r = i - clip * (la + lb);
  y[i] = r < la ? a[clip * la + r] : b[clip * lb + r - la];
}

template <class V>
__device__ inline void slice_time_of(V* y, const V* x, unsigned n, unsigned clip, unsigned from, unsigned len) {
  unsigned i = global_thread_id();
  if (i < n) y[i] = x[i / len * clip + from + i % len];
}

template <class V>
__device__ inline void slice_time_grad_of(V* dx, const V* dy, unsigned n, unsigned clip, unsigned from, unsigned len) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned r = i % clip;
  dx[i] = from <= r && r < from + len ? dy[i / clip * len + r - from] : V{};
}

// pad is the size of P frames, clip that of the T frames of the unpadded clip.
#define FRAMES(suffix, V)                                                                                                                                                            \
  extern "C" __global__ void pad_front##suffix(V* y, const V* x, unsigned n, unsigned pad, unsigned clip) { slice_time_grad_of(y, x, n, pad + clip, pad, clip); }                  \
  extern "C" __global__ void crop_front##suffix(V* y, const V* x, unsigned n, unsigned pad, unsigned clip) { slice_time_of(y, x, n, pad + clip, pad, clip); }                      \
  extern "C" __global__ void concat_time##suffix(V* y, const V* a, const V* b, unsigned n, unsigned la, unsigned lb) { concat_time_of(y, a, b, n, la, lb); }                       \
  extern "C" __global__ void slice_time##suffix(V* y, const V* x, unsigned n, unsigned clip, unsigned from, unsigned len) { slice_time_of(y, x, n, clip, from, len); }             \
  extern "C" __global__ void slice_time_grad##suffix(V* dx, const V* dy, unsigned n, unsigned clip, unsigned from, unsigned len) { slice_time_grad_of(dx, dy, n, clip, from, len); }

FRAMES(, float)
FRAMES(_half, bfloat)
FRAMES(_wide, uint4)
