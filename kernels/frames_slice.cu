// Clips behind each other, and parts of them. Sizes count values, frames times
// their length; a thread writes one value.
//
//   concat_time      y[n] = a[n] (la values), then b[n] (lb values)
//   slice_time       y[n] = len values of x[n] (of clip values) from from
//   slice_time_grad  dx[n] = 0, but dy[n] there
//
// Definition: frames_slice.go.
#include "common.cuh"

extern "C" __global__ void concat_time(float* y, const float* a, const float* b, unsigned n, unsigned la, unsigned lb) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned clip = i / (la + lb), r = i % (la + lb);
  y[i] = r < la ? a[clip * la + r] : b[clip * lb + r - la];
}

extern "C" __global__ void slice_time(float* y, const float* x, unsigned n, unsigned clip, unsigned from, unsigned len) {
  unsigned i = thread_number();
  if (i < n) y[i] = x[i / len * clip + from + i % len];
}

extern "C" __global__ void slice_time_grad(float* dx, const float* dy, unsigned n, unsigned clip, unsigned from, unsigned len) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned r = i % clip;
  dx[i] = from <= r && r < from + len ? dy[i / clip * len + r - from] : 0;
}
