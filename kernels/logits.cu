// Means over a discriminator's logits, and the adaptive weight of its loss:
//
//   logit_mean       y = mean of f(x_i)
//   logit_mean_grad  dx_i = dy·f'(x_i)/n
//   gradient_ratio   y = min(‖a‖/max(‖b‖ + eps, floor), most), 1 where that is NaN
//
// Sums: one block. logit_mean_grad: one thread per value.
//
// Definition: logits.go.
#include "common.cuh"

namespace logits {

// The values are those of kernels.LogitFunc.
enum { VALUE, HINGE_REAL, HINGE_FAKE, LOGISTIC_REAL, LOGISTIC_FAKE, IS_POSITIVE, IS_NEGATIVE };

__device__ inline float apply(int f, float x) {
  switch (f) {
    case HINGE_REAL: return x >= 1 ? 0 : 1 - x;
    case HINGE_FAKE: return x <= -1 ? 0 : 1 + x;
    case LOGISTIC_REAL: return (x < 0 ? -x : 0) + log1pf(expf(-fabsf(x)));
    case LOGISTIC_FAKE: return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
    case IS_POSITIVE: return x > 0 ? 1 : x * 0;
    case IS_NEGATIVE: return x < 0 ? 1 : x * 0;
  }
  return x;
}

__device__ inline float slope(int f, float x) {
  switch (f) {
    case HINGE_REAL: return x >= 1 ? 0 : -1;
    case HINGE_FAKE: return x <= -1 ? 0 : 1;
    case LOGISTIC_REAL: return -sigmoid(-x);
    case LOGISTIC_FAKE: return sigmoid(x);
    case IS_POSITIVE: case IS_NEGATIVE: return 0;
  }
  return 1;
}

__device__ inline float sum_squares(const float* x, unsigned n, float* scratch) {
  float sum = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) sum += x[i] * x[i];
  return block_sum(sum, scratch);
}

}  // namespace logits

extern "C" __global__ void logit_mean(float* y, const float* x, unsigned n, int of) {
  __shared__ float scratch[32];
  float sum = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) sum += logits::apply(of, x[i]);
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) y[0] = sum / n;
}

extern "C" __global__ void logit_mean_grad(float* dx, const float* dy, const float* x, unsigned n, int of) {
  unsigned i = global_thread_id();
  if (i < n) dx[i] = dy[0] * logits::slope(of, x[i]) / n;
}

extern "C" __global__ void gradient_ratio(float* y, const float* a, const float* b, unsigned n, float eps, float floor, float most) {
  __shared__ float scratch[32];
  float above = sqrtf(logits::sum_squares(a, n, scratch));
  float below = sqrtf(logits::sum_squares(b, n, scratch));
  if (threadIdx.x > 0) return;
  float ratio = above / fmaxf(below + eps, floor);
  y[0] = ratio != ratio || below != below ? 1 : fminf(ratio, most);
}
