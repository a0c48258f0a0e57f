// The weighted error of a reconstruction:
//
//   loss = sum_p weight_p mean_c e_pc / sum_p weight_p
//
//   recon_loss       parts [b,2] of both sums; a block has a chunk of values and one of weights
//   recon_loss_end   the quotient, 0 if all weights are; one block
//   recon_loss_grad  dx = dloss·weight·e'/(C·total), total the sum of parts; a thread eight values
//
// Definition: loss.go.
#include "group.cuh"

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

// The weights of values behind each other: one division for a group.
struct PixelWeights {
  const float* weight;
  unsigned C, p, c;
  float now;
  __device__ PixelWeights(const float* weight, unsigned C, unsigned i) : weight(weight), C(C), p(i / C), c(i % C), now(weight[p]) {}
  // more: whether there is a next value.
  __device__ float next(bool more) {
    float w = now;
    if (++c == C && more) c = 0, now = weight[++p];
    return w;
  }
};

// Chunks are multiples of 8.
extern "C" __global__ void recon_loss(float* parts, const float* x, const float* target, const float* weight, unsigned pixels, unsigned C, int kind, float overshoot,
                                      unsigned chunk, unsigned weights) {
  __shared__ float part[32];
  unsigned n = pixels * C, from = blockIdx.x * chunk, to = min(n, from + chunk);
  bool wide = aligned(x, target);
  float sum = 0, total = 0;
  for (unsigned i = from + 8 * threadIdx.x; i < to; i += 8 * blockDim.x)
    group(i, to, wide, [&](auto at) {
      float v[8], t[8];
      at.load(v, x);
      at.load(t, target);
      PixelWeights w(weight, C, at.i);
#pragma unroll
      for (unsigned e = 0; e < 8; e++)
        if (at.has(e)) sum += w.next(at.i + e + 1 < n) * measure(v[e], t[e], kind, overshoot).e;
    });
  from = blockIdx.x * weights, to = min(pixels, from + weights);
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

// sums are count parts of the sum of all weights.
extern "C" __global__ void recon_loss_grad(float* dx, const float* dloss, const float* x, const float* target, const float* weight, const float* sums, unsigned n, unsigned C,
                                           int kind, float overshoot, unsigned count) {
  __shared__ float part[32];
  float total = 0;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) total += sums[i];
  total = block_sum(total, part);
  eight(n, aligned(dx, x, target), [=](auto at) {
    float v[8], t[8];
    at.load(v, x);
    at.load(t, target);
    PixelWeights w(weight, C, at.i);
#pragma unroll
    for (unsigned e = 0; e < 8; e++)
      if (at.has(e)) v[e] = total == 0 ? 0 : dloss[0] * w.next(at.i + e + 1 < n) * measure(v[e], t[e], kind, overshoot).slope / (C * total);
    at.store(dx, v);
  });
}
