// Statistics of the channels of samples.
//
//   channel_stats       y[n,0,c] = mean over rows of x, y[n,1,c] = sqrt(unbiased variance + eps)
//   channel_stats_grad  dx = dy[n,0,c]/rows + dy[n,1,c]·(x - mean)/((rows - 1)·y[n,1,c])
//
// One block per sample and channel.
//
// Definition: channel_stats.go.
#include "common.cuh"

struct Moments { float mean, deviation; };

// x is the channel's value of the first row.
__device__ inline Moments moments(const float* x, unsigned rows, unsigned C, float eps, float* partial) {
  float sum = 0, squares = 0;
  for (unsigned r = threadIdx.x; r < rows; r += blockDim.x) sum += x[(size_t)r * C];
  float mean = block_sum(sum, partial) / rows;
  for (unsigned r = threadIdx.x; r < rows; r += blockDim.x) {
    float d = x[(size_t)r * C] - mean;
    squares += d * d;
  }
  return {mean, sqrtf(block_sum(squares, partial) / (rows - 1) + eps)};
}

extern "C" __global__ void channel_stats(float* y, const float* x, unsigned n, unsigned rows, unsigned C, float eps) {
  __shared__ float partial[32];
  unsigned sample = blockIdx.x / C, c = blockIdx.x % C;
  Moments m = moments(x + (size_t)sample * rows * C + c, rows, C, eps, partial);
  if (threadIdx.x) return;
  y[2 * sample * C + c] = m.mean;
  y[(2 * sample + 1) * C + c] = m.deviation;
}

extern "C" __global__ void channel_stats_grad(float* dx, const float* dy, const float* x, unsigned n, unsigned rows, unsigned C, float eps) {
  __shared__ float partial[32];
  unsigned sample = blockIdx.x / C, c = blockIdx.x % C;
  size_t first = (size_t)sample * rows * C + c;
  Moments m = moments(x + first, rows, C, eps, partial);
  float mean = dy[2 * sample * C + c] / rows, along = dy[(2 * sample + 1) * C + c] / ((rows - 1) * m.deviation);
  for (unsigned r = threadIdx.x; r < rows; r += blockDim.x) dx[first + (size_t)r * C] = mean + along * (x[first + (size_t)r * C] - m.mean);
}
