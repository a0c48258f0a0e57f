// One minus the structural similarity S of frames under a gaussian window, weighted by the pixel in
// the middle of a window:
//
//   loss = sum_q weight_q mean_c (1 - S_qc) / sum_q weight_q
//
//   ssim_loss       partial [blocks,2]: both sums over a chunk of windows; one block per chunk. recon_loss_end divides them
//   ssim_slopes     slopes [3,windows,C] = -weight·dS by a window's means of x, x² and x·target, and sums [blocks] of the weights
//   ssim_loss_grad  dx = dloss·sum over windows of g·(slope0 + 2·x·slope1 + target·slope2)/total; one thread per value
//
// Values are shifted by 1/2: variances are differences of the means of products.
//
// Definition: ssim.go. CPU form with the same shift: ssim_cpu.go.
#include "common.cuh"

constexpr int SSIM_LONGEST = 31;
constexpr float SSIM_SIGMA = 1.5f, SSIM_C1 = 1e-4f, SSIM_C2 = 9e-4f, SSIM_SHIFT = .5f;

struct SSIMSize {
  int H, W, C, window;
};

// The weights of a window along an axis, in shared memory. All threads of the block call it.
__device__ inline void ssim_taps(float* taps, int window) {
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int i = 0; i < window; i++) {
      float d = i - window / 2;
      sum += taps[i] = expf(-d * d / (2 * SSIM_SIGMA * SSIM_SIGMA));
    }
    for (int i = 0; i < window; i++) taps[i] /= sum;
  }
  __syncthreads();
}

struct SSIMWindow {
  size_t first;   // value
  size_t middle;  // pixel
};

// Window k, a number of [N,windows down,windows right,C].
__device__ inline SSIMWindow ssim_window(unsigned k, SSIMSize s) {
  unsigned c = k % s.C, right = s.W - s.window + 1, down = s.H - s.window + 1;
  k /= s.C;
  unsigned w = k % right, h = k / right % down, n = k / right / down;
  size_t p = ((size_t)n * s.H + h) * s.W + w;
  return {p * s.C + c, p + s.window / 2 * (s.W + 1)};
}

struct SSIMIndex { float s, dx, dxx, dxt; };

// S of the window from value first on, and its derivatives by the means of the shifted x, x² and x·target.
__device__ inline SSIMIndex ssim_index(const float* taps, const float* x, const float* target, size_t first, SSIMSize s) {
  float mx = 0, mt = 0, xx = 0, tt = 0, xt = 0;
  for (int a = 0; a < s.window; a++)
    for (int b = 0; b < s.window; b++) {
      size_t i = first + (size_t)(a * s.W + b) * s.C;
      float g = taps[a] * taps[b], u = x[i] - SSIM_SHIFT, v = target[i] - SSIM_SHIFT;
      mx += g * u;
      mt += g * v;
      xx += g * u * u;
      tt += g * v * v;
      xt += g * u * v;
    }
  float a2 = 2 * (xt - mx * mt) + SSIM_C2, b2 = xx - mx * mx + tt - mt * mt + SSIM_C2;
  mx += SSIM_SHIFT;
  mt += SSIM_SHIFT;
  float a1 = 2 * mx * mt + SSIM_C1, b1 = mx * mx + mt * mt + SSIM_C1;
  SSIMIndex r;
  r.s = a1 * a2 / (b1 * b2);
  r.dxx = -r.s / b2;
  r.dxt = 2 * a1 / (b1 * b2);
  r.dx = 2 * mt * (a2 - a1) / (b1 * b2) - 2 * mx * r.s * (1 / b1 - 1 / b2) + 2 * SSIM_SHIFT * r.dxx + SSIM_SHIFT * r.dxt;
  return r;
}

// n is the number of windows and channels, chunk that of a block.
extern "C" __global__ void ssim_loss(float* partials, const float* x, const float* target, const float* weight, unsigned n, SSIMSize s, unsigned chunk) {
  __shared__ float scratch[32], taps[SSIM_LONGEST];
  ssim_taps(taps, s.window);
  unsigned from = blockIdx.x * chunk, to = min(n, from + chunk);
  float sum = 0, total = 0;
  for (unsigned k = from + threadIdx.x; k < to; k += blockDim.x) {
    SSIMWindow at = ssim_window(k, s);
    sum += weight[at.middle] * (1 - ssim_index(taps, x, target, at.first, s).s);
    total += weight[at.middle];
  }
  sum = block_sum(sum, scratch);
  total = block_sum(total, scratch);
  if (threadIdx.x) return;
  partials[2 * blockIdx.x] = sum;
  partials[2 * blockIdx.x + 1] = total;
}

extern "C" __global__ void ssim_slopes(float* slopes, float* sums, const float* x, const float* target, const float* weight, unsigned n, SSIMSize s, unsigned chunk) {
  __shared__ float scratch[32], taps[SSIM_LONGEST];
  ssim_taps(taps, s.window);
  unsigned from = blockIdx.x * chunk, to = min(n, from + chunk);
  float total = 0;
  for (unsigned k = from + threadIdx.x; k < to; k += blockDim.x) {
    SSIMWindow at = ssim_window(k, s);
    SSIMIndex r = ssim_index(taps, x, target, at.first, s);
    float w = weight[at.middle];
    slopes[k] = -w * r.dx;
    slopes[(size_t)n + k] = -w * r.dxx;
    slopes[2 * (size_t)n + k] = -w * r.dxt;
    total += w;
  }
  total = block_sum(total, scratch);
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

// n is the number of values of x, windows that of windows and channels; sums [count] are partial sums of the weights.
extern "C" __global__ void ssim_loss_grad(float* dx, const float* dloss, const float* x, const float* target, const float* slopes, const float* sums, unsigned n, unsigned windows,
                                          SSIMSize s, unsigned count) {
  __shared__ float scratch[32], taps[SSIM_LONGEST];
  ssim_taps(taps, s.window);
  float total = 0;
  for (unsigned i = threadIdx.x; i < count; i += blockDim.x) total += sums[i];
  total = block_sum(total, scratch);
  unsigned i = global_thread_id();
  if (i >= n) return;
  int c = i % s.C, w = i / s.C % s.W, h = i / s.C / s.W % s.H, right = s.W - s.window + 1, down = s.H - s.window + 1;
  size_t frame = (size_t)(i / s.C / s.W / s.H) * down * right * s.C;
  float sum0 = 0, sum1 = 0, sum2 = 0;
  for (int a = max(h - s.window + 1, 0); a <= min(h, down - 1); a++)
    for (int b = max(w - s.window + 1, 0); b <= min(w, right - 1); b++) {
      float g = taps[h - a] * taps[w - b];
      size_t k = frame + (size_t)(a * right + b) * s.C + c;
      sum0 += g * slopes[k];
      sum1 += g * slopes[(size_t)windows + k];
      sum2 += g * slopes[2 * (size_t)windows + k];
    }
  dx[i] = total == 0 ? 0 : dloss[0] * (sum0 + 2 * (x[i] - SSIM_SHIFT) * sum1 + (target[i] - SSIM_SHIFT) * sum2) / total;
}
