// LeCam regularization of a discriminator's logits x, with s = -1 for those of fake frames, else 1:
//
//   lecam       y = mean of max(0, s·(x_i - a))²
//   lecam_grad  dx_i = 2·s·dy·max(0, s·(x_i - a))/n
//
// lecam: one block. lecam_grad: one thread per value.
//
// Definition: lecam.go.
#include "common.cuh"

// max(0, s·(x - a)), NaN if x or a is.
__device__ inline float beyond(float x, float a, int fake) {
  float d = fake ? a - x : x - a;
  return d < 0 ? 0 : d;
}

extern "C" __global__ void lecam(float* y, const float* x, const float* a, unsigned n, int fake) {
  __shared__ float scratch[32];
  float sum = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    float d = beyond(x[i], a[0], fake);
    sum += d * d;
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) y[0] = sum / n;
}

extern "C" __global__ void lecam_grad(float* dx, const float* dy, const float* x, const float* a, unsigned n, int fake) {
  unsigned i = global_thread_id();
  if (i < n) dx[i] = (fake ? -2 : 2) * dy[0] * beyond(x[i], a[0], fake) / n;
}
