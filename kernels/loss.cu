// The weighted error of a reconstruction:
//
//   loss = sum_p weight_p mean_c e_pc / sum_p weight_p
//
//   recon_loss       parts [b,2] of both sums; a block has a chunk of pixels
//   recon_loss_end   the quotient, 0 if all weights are; one block
//   recon_loss_grad  dx = dloss·weight·e'/(C·total); a thread a value
//
// Definition: loss.go.
#include "common.cuh"

enum { MSE, L1 };

struct Error { float e, slope; };

// ReconLoss.measure.
__device__ inline Error measure(float x, float target, int kind, float overshoot) {
  float d = x - target;
  Error r = kind == MSE ? Error{d * d, 2 * d} : d > 0 ? Error{d, 1} : d < 0 ? Error{-d, -1} : Error{d, d};
  if ((target <= 0 && d < 0) || (target >= 1 && d > 0)) {
    r.e *= overshoot;
    r.slope *= overshoot;
  }
  return r;
}

extern "C" __global__ void recon_loss(float* parts, const float* x, const float* target, const float* weight, unsigned pixels, unsigned C, int kind, float overshoot, unsigned chunk) {
  __shared__ float part[32];
  unsigned from = blockIdx.x * chunk, to = min(pixels, from + chunk);
  float sum = 0, total = 0;
  for (unsigned i = from * C + threadIdx.x; i < to * C; i += blockDim.x)
    sum += weight[i / C] * measure(x[i], target[i], kind, overshoot).e;
  for (unsigned p = from + threadIdx.x; p < to; p += blockDim.x) total += weight[p];
  sum = block_sum(sum, part);
  total = block_sum(total, part);
  if (threadIdx.x) return;
  parts[2 * blockIdx.x] = sum / C;
  parts[2 * blockIdx.x + 1] = total;
}

extern "C" __global__ void recon_loss_end(float* loss, const float* parts, unsigned n) {
  __shared__ float part[32];
  float sum = 0, total = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    sum += parts[2 * i];
    total += parts[2 * i + 1];
  }
  sum = block_sum(sum, part);
  total = block_sum(total, part);
  if (threadIdx.x == 0) loss[0] = total == 0 ? 0 : sum / total;
}

extern "C" __global__ void recon_loss_grad(float* dx, const float* dloss, const float* x, const float* target, const float* weight, const float* total, unsigned n, unsigned C, int kind, float overshoot) {
  unsigned i = thread_number();
  if (i >= n) return;
  float slope = measure(x[i], target[i], kind, overshoot).slope;
  dx[i] = total[0] == 0 ? 0 : dloss[0] * weight[i / C] * slope / (C * total[0]);
}
