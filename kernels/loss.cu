// The weighted reconstruction error, with e of MSE or L1:
//
//   loss = sum_p weight_p mean_c e(x_pc, target_pc) / sum_p weight_p
//
//   recon_loss       partial [blocks,2]: both sums over a chunk of values and of weights; one block per chunk
//   recon_loss_end   loss = the quotient of the sums, 0 if all weights are 0; one block
//   recon_loss_grad  dx = dloss·weight·e'/(C·total), total = the sum of all weights; one thread per 8 values
//
// Definition: loss.go.
#include "packed.cuh"

enum { MSE, L1 };

struct Error { float e, slope; };

// e and its derivative by x, as ReconLoss.measure. The error is multiplied by overshoot where x
// leaves [0,1] at a target on that bound.
__device__ inline Error measure(float x, float target, int kind, float overshoot) {
  float d = x - target;
  Error r = kind == MSE ? Error{d * d, 2 * d} : d > 0 ? Error{d, 1} : d < 0 ? Error{-d, -1} : Error{d, d};
  if ((target <= 0 && d < 0) || (target >= 1 && d > 0)) {
    r.e *= overshoot;
    r.slope *= overshoot;
  }
  return r;
}

// Iterates over the weights of contiguous values with one division at the start.
struct PixelWeights {
  const float* weight;
  unsigned C, p, c;
  float current;
  __device__ PixelWeights(const float* weight, unsigned C, unsigned i) : weight(weight), C(C), p(i / C), c(i % C), current(weight[p]) {}
  // The weight of the current value; more: whether another value follows.
  __device__ float next(bool more) {
    float w = current;
    if (++c == C && more) c = 0, current = weight[++p];
    return w;
  }
};

// chunk is the number of values of a block, a multiple of 8; weights is its number of weights.
extern "C" __global__ void recon_loss(float* partials, const float* x, const float* target, const float* weight, unsigned pixels, unsigned C, int kind, float overshoot,
                                      unsigned chunk, unsigned weights) {
  __shared__ float scratch[32];
  unsigned n = pixels * C, from = blockIdx.x * chunk, to = min(n, from + chunk);
  bool wide = aligned(x, target);
  float sum = 0, total = 0;
  for (unsigned i = from + 8 * threadIdx.x; i < to; i += 8 * blockDim.x)
    packed8(i, to, wide, [&](auto at) {
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
  sum = block_sum(sum, scratch);
  total = block_sum(total, scratch);
  if (threadIdx.x) return;
  partials[2 * blockIdx.x] = sum / C;
  partials[2 * blockIdx.x + 1] = total;
}

extern "C" __global__ void recon_loss_end(float* loss, const float* partials, unsigned n) {
  __shared__ float scratch[32];
  float sum = 0, total = 0;
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    sum += partials[2 * i];
    total += partials[2 * i + 1];
  }
  sum = block_sum(sum, scratch);
  total = block_sum(total, scratch);
  if (threadIdx.x == 0) loss[0] = total == 0 ? 0 : sum / total;
}

// sums [count] are partial sums of the weights.
extern "C" __global__ void recon_loss_grad(float* dx, const float* dloss, const float* x, const float* target, const float* weight, const float* sums, unsigned n, unsigned C,
                                           int kind, float overshoot, unsigned count) {
  __shared__ float scratch[32];
  float total = 0;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) total += sums[i];
  total = block_sum(total, scratch);
  elementwise8(n, aligned(dx, x, target), [=](auto at) {
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
