// Norms of rows of C values. With h = (x - mean)·scale, scale = 1/sqrt(variance + eps):
//
//   layer_norm             y = h·gamma + beta
//   layer_norm_grad_x      dx = scale·(g - mean(g) - h·mean(g·h)), g = dy·gamma
//   layer_norm_stats       mean and scale of each row
//   layer_norm_grad_gamma  y[g,c] = sum of dy·h over the rows of group g (column_sums)
//
// With scale = sqrt(C)/max(‖x‖, 1e-12):
//
//   rms_norm               y = x·scale·gamma
//   rms_norm_grad_x        dx = scale·(g - x·(g·x)/‖x‖²), the last term 0 where the floor holds
//   rms_norm_scale         scale of each row
//   rms_norm_grad_gamma    y[g,c] = sum of dy·x·scale over the rows of group g
//
// gamma belonging to a group of rows, those of a sample. With scale = 1/max(‖x‖, 1e-12):
//
//   normalize, normalize_grad  the same without gamma
//
// A warp has a row. Definition: norm.go, norm_sample.go.
#include "common.cuh"

constexpr float MIN_NORM = 1e-12f;

__device__ inline unsigned row_of_warp() { return thread_number() / 32; }

struct Stats { float mean, scale; };

__device__ inline Stats row_stats(const float* x, unsigned C, float eps) {
  unsigned lane = threadIdx.x % 32;
  float mean = 0, variance = 0;
  for (unsigned c = lane; c < C; c += 32) mean += x[c];
  mean = warp_sum(mean) / C;
  for (unsigned c = lane; c < C; c += 32) variance += (x[c] - mean) * (x[c] - mean);
  variance = warp_sum(variance) / C;
  return {mean, 1 / sqrtf(variance + eps)};
}

extern "C" __global__ void layer_norm(float* y, const float* x, const float* gamma, const float* beta, unsigned rows, unsigned C, float eps) {
  unsigned row = row_of_warp();
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  Stats s = row_stats(x + at, C, eps);
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) y[at + c] = (x[at + c] - s.mean) * s.scale * gamma[c] + beta[c];
}

extern "C" __global__ void layer_norm_grad_x(float* dx, const float* dy, const float* x, const float* gamma, unsigned rows, unsigned C, float eps) {
  unsigned row = row_of_warp(), lane = threadIdx.x % 32;
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  Stats s = row_stats(x + at, C, eps);
  float mean = 0, along = 0;
  for (unsigned c = lane; c < C; c += 32) {
    float g = dy[at + c] * gamma[c];
    mean += g;
    along += g * (x[at + c] - s.mean) * s.scale;
  }
  mean = warp_sum(mean) / C;
  along = warp_sum(along) / C;
  for (unsigned c = lane; c < C; c += 32)
    dx[at + c] = s.scale * (dy[at + c] * gamma[c] - mean - (x[at + c] - s.mean) * s.scale * along);
}

extern "C" __global__ void layer_norm_stats(float* mean, float* scale, const float* x, unsigned rows, unsigned C, float eps) {
  unsigned row = row_of_warp();
  if (row >= rows) return;
  Stats s = row_stats(x + (size_t)row * C, C, eps);
  if (threadIdx.x % 32) return;
  mean[row] = s.mean;
  scale[row] = s.scale;
}

extern "C" __global__ void layer_norm_grad_gamma(float* y, const float* dy, const float* x, const float* mean, const float* scale, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 32];
  column_sums(y, rows, columns, group, part, [=](unsigned r, unsigned c) {
    size_t i = (size_t)r * columns + c;
    return dy[i] * (x[i] - mean[r]) * scale[r];
  });
}

// The squared norm of a row; every lane gets it.
__device__ inline float row_squares(const float* x, unsigned C) {
  float sum = 0;
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) sum += x[c] * x[c];
  return warp_sum(sum);
}

__device__ inline float rms_scale(float squares, unsigned C) { return sqrtf((float)C) / fmaxf(sqrtf(squares), MIN_NORM); }

extern "C" __global__ void rms_norm(float* y, const float* x, const float* gamma, unsigned rows, unsigned C, unsigned group) {
  unsigned row = row_of_warp();
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  gamma += (size_t)(row / group) * C;
  float scale = rms_scale(row_squares(x + at, C), C);
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) y[at + c] = x[at + c] * scale * gamma[c];
}

extern "C" __global__ void rms_norm_grad_x(float* dx, const float* dy, const float* x, const float* gamma, unsigned rows, unsigned C, unsigned group) {
  unsigned row = row_of_warp(), lane = threadIdx.x % 32;
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  gamma += (size_t)(row / group) * C;
  float squares = row_squares(x + at, C), scale = rms_scale(squares, C), along = 0;
  for (unsigned c = lane; c < C; c += 32) along += dy[at + c] * gamma[c] * x[at + c];
  along = sqrtf(squares) <= MIN_NORM ? 0 : warp_sum(along) / squares;
  for (unsigned c = lane; c < C; c += 32) dx[at + c] = scale * (dy[at + c] * gamma[c] - x[at + c] * along);
}

extern "C" __global__ void rms_norm_scale(float* scale, const float* x, unsigned rows, unsigned C) {
  unsigned row = row_of_warp();
  if (row >= rows) return;
  float squares = row_squares(x + (size_t)row * C, C);
  if (threadIdx.x % 32 == 0) scale[row] = rms_scale(squares, C);
}

extern "C" __global__ void rms_norm_grad_gamma(float* y, const float* dy, const float* x, const float* scale, unsigned rows, unsigned columns, unsigned group) {
  __shared__ float part[8 * 32];
  column_sums(y, rows, columns, group, part, [=](unsigned r, unsigned c) {
    size_t i = (size_t)r * columns + c;
    return dy[i] * x[i] * scale[r];
  });
}

extern "C" __global__ void normalize(float* y, const float* x, unsigned rows, unsigned C) {
  unsigned row = row_of_warp();
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  float scale = 1 / fmaxf(sqrtf(row_squares(x + at, C)), MIN_NORM);
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) y[at + c] = x[at + c] * scale;
}

extern "C" __global__ void normalize_grad(float* dx, const float* dy, const float* x, unsigned rows, unsigned C) {
  unsigned row = row_of_warp(), lane = threadIdx.x % 32;
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  float squares = row_squares(x + at, C), norm = sqrtf(squares), along = 0;
  for (unsigned c = lane; c < C; c += 32) along += dy[at + c] * x[at + c];
  along = norm <= MIN_NORM ? 0 : warp_sum(along) / squares;
  for (unsigned c = lane; c < C; c += 32) dx[at + c] = (dy[at + c] - x[at + c] * along) / fmaxf(norm, MIN_NORM);
}
