// Zero frames in front of clips, clips behind each other, parts of them. Sizes count
// values, frames times their length; a thread writes one.
//
//   pad_front        y[n,t] = x[n,t-P], 0 for t < P
//   crop_front       y[n,t] = x[n,t+P]
//   concat_time      y[n] = a[n] (la values), then b[n] (lb values)
//   slice_time       y[n] = len values of x[n] (of clip values) from from
//   slice_time_grad  dx[n] = 0, but dy[n] there
//
// NAME_wide moves 16 bytes as one value: then frames must be so many times them.
// Definitions: frames.go, frames_slice.go.
#include "common.cuh"

template <class V>
__device__ inline void concat_time_of(V* y, const V* a, const V* b, unsigned n, unsigned la, unsigned lb) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned clip = i / (la + lb), r = i - clip * (la + lb);
  y[i] = r < la ? a[clip * la + r] : b[clip * lb + r - la];
}

template <class V>
__device__ inline void slice_time_of(V* y, const V* x, unsigned n, unsigned clip, unsigned from, unsigned len) {
  unsigned i = thread_number();
  if (i < n) y[i] = x[i / len * clip + from + i % len];
}

template <class V>
__device__ inline void slice_time_grad_of(V* dx, const V* dy, unsigned n, unsigned clip, unsigned from, unsigned len) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned r = i % clip;
  dx[i] = from <= r && r < from + len ? dy[i / clip * len + r - from] : V{};
}

// pad and clip are values: P and T frames of a clip.
#define FRAMES(suffix, V)                                                                                                                                                            \
  extern "C" __global__ void pad_front##suffix(V* y, const V* x, unsigned n, unsigned pad, unsigned clip) { slice_time_grad_of(y, x, n, pad + clip, pad, clip); }                  \
  extern "C" __global__ void crop_front##suffix(V* y, const V* x, unsigned n, unsigned pad, unsigned clip) { slice_time_of(y, x, n, pad + clip, pad, clip); }                      \
  extern "C" __global__ void concat_time##suffix(V* y, const V* a, const V* b, unsigned n, unsigned la, unsigned lb) { concat_time_of(y, a, b, n, la, lb); }                       \
  extern "C" __global__ void slice_time##suffix(V* y, const V* x, unsigned n, unsigned clip, unsigned from, unsigned len) { slice_time_of(y, x, n, clip, from, len); }             \
  extern "C" __global__ void slice_time_grad##suffix(V* dx, const V* dy, unsigned n, unsigned clip, unsigned from, unsigned len) { slice_time_grad_of(dx, dy, n, clip, from, len); }

FRAMES(, float)
FRAMES(_half, bfloat)
FRAMES(_wide, uint4)
