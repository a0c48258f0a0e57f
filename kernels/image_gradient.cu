// The weighted error of differences between neighbouring pixels, with e = x - target:
//
//   loss = sum_p weight_p mean_c (|e[h+1,w] - e[h,w]| + |e[h,w+1] - e[h,w]|) / sum_p weight_p
//
//   image_gradient_loss       partial [blocks,2]: both sums over a chunk of pixels; one block per chunk. recon_loss_end divides them
//   image_gradient_loss_grad  dx = dloss·(sum of weight·sign over the four differences of a pixel)/(C·total); one thread per value
//
// Definition: image_gradient.go.
#include "common.cuh"

// 1, -1, or x itself for 0 and NaN.
__device__ inline float sign_of(float x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

// chunk is the number of pixels of a block.
extern "C" __global__ void image_gradient_loss(float* partials, const float* x, const float* target, const float* weight, unsigned pixels, int H, int W, int C, unsigned chunk) {
  __shared__ float scratch[32];
  unsigned from = blockIdx.x * chunk, to = min(pixels, from + chunk);
  float sum = 0, total = 0;
  for (unsigned p = from + threadIdx.x; p < to; p += blockDim.x) {
    bool down = int(p / W % H) + 1 < H, right = int(p % W) + 1 < W;
    float d = 0;
    for (int c = 0; c < C; c++) {
      size_t i = (size_t)p * C + c, below = i + (size_t)W * C, next = i + C;
      float e = x[i] - target[i];
      if (down) d += fabsf(x[below] - target[below] - e);
      if (right) d += fabsf(x[next] - target[next] - e);
    }
    sum += weight[p] * d;
    total += weight[p];
  }
  sum = block_sum(sum, scratch);
  total = block_sum(total, scratch);
  if (threadIdx.x) return;
  partials[2 * blockIdx.x] = sum / C;
  partials[2 * blockIdx.x + 1] = total;
}

// n is the number of values; sums [count] are partial sums of the weights.
extern "C" __global__ void image_gradient_loss_grad(float* dx, const float* dloss, const float* x, const float* target, const float* weight, const float* sums, unsigned n, int H,
                                                    int W, int C, unsigned count) {
  __shared__ float scratch[32];
  float total = 0;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) total += sums[i];
  total = block_sum(total, scratch);
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned p = i / C;
  int w = p % W, h = p / W % H, line = W * C;
  float e = x[i] - target[i], d = 0;
  if (h > 0) d += weight[p - W] * sign_of(e - (x[i - line] - target[i - line]));
  if (h + 1 < H) d -= weight[p] * sign_of(x[i + line] - target[i + line] - e);
  if (w > 0) d += weight[p - 1] * sign_of(e - (x[i - C] - target[i - C]));
  if (w + 1 < W) d -= weight[p] * sign_of(x[i + C] - target[i + C] - e);
  dx[i] = total == 0 ? 0 : dloss[0] * d / (C * total);
}
