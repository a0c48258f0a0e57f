// Zero frames in front of clips, and the adjoint:
//
//   pad_front   y[n,t] = x[n,t-P], 0 for t < P
//   crop_front  y[n,t] = x[n,t+P]
//
// pad and clip are values: P and T frames of a clip. A thread writes one value.
// Definition: frames.go.
#include "common.cuh"

extern "C" __global__ void pad_front(float* y, const float* x, unsigned n, unsigned pad, unsigned clip) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned r = i % (pad + clip);
  y[i] = r < pad ? 0 : x[i / (pad + clip) * clip + r - pad];
}

extern "C" __global__ void crop_front(float* y, const float* x, unsigned n, unsigned pad, unsigned clip) {
  unsigned i = thread_number();
  if (i < n) y[i] = x[i / clip * (pad + clip) + pad + i % clip];
}
