// The derivative of RMSNorm along a direction v of x, and its gradients. With n = ‖x‖²,
// s = sqrt(C)/max(‖x‖, 1e-12), g = dt·gamma; terms with 1/n are 0 where the floor holds:
//
//   rms_norm_tangent             t = s·(v - x·(v·x)/n)·gamma
//   rms_norm_tangent_grad_x      dx = s/n·(3·(g·x)(v·x)/n·x - (v·x)·g - (g·x)·v - (v·g)·x)
//   rms_norm_tangent_stats       stats[r] = s, (v·x)/n
//   rms_norm_tangent_grad_gamma  y[b,c] = sum of dt·s·(v - x·(v·x)/n) over the rows of chunk b
//
// One warp per row; rms_norm_tangent_grad_gamma: one thread per column and chunk.
//
// Definition: norm_tangent.go.
#include "common.cuh"

namespace tangent {

struct Scale { float s, inv; };  // s, and 1/n or 0

__device__ inline Scale scale(float n, unsigned C) {
  float norm = sqrtf(n), root = sqrtf((float)C);
  return norm <= 1e-12f ? Scale{root / 1e-12f, 0} : Scale{root / norm, 1 / n};
}

// The warp's sum of f(c) over the columns of a row.
template <class F>
__device__ inline float sum(unsigned C, F f) {
  float v = 0;
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) v += f(c);
  return warp_sum(v);
}

// Calls f(c) for the columns of the lane.
template <class F>
__device__ inline void each(unsigned C, F f) {
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) f(c);
}

}  // namespace tangent

extern "C" __global__ void rms_norm_tangent(float* t, const float* v, const float* x, const float* gamma, unsigned rows, unsigned C) {
  size_t row = global_thread_id() / 32;
  if (row >= rows) return;
  t += row * C, v += row * C, x += row * C;
  tangent::Scale k = tangent::scale(tangent::sum(C, [=](unsigned c) { return x[c] * x[c]; }), C);
  float along = tangent::sum(C, [=](unsigned c) { return v[c] * x[c]; }) * k.inv;
  tangent::each(C, [=](unsigned c) { t[c] = k.s * (v[c] - x[c] * along) * gamma[c]; });
}

extern "C" __global__ void rms_norm_tangent_grad_x(float* dx, const float* dt, const float* v, const float* x, const float* gamma, unsigned rows, unsigned C) {
  size_t row = global_thread_id() / 32;
  if (row >= rows) return;
  dx += row * C, dt += row * C, v += row * C, x += row * C;
  tangent::Scale k = tangent::scale(tangent::sum(C, [=](unsigned c) { return x[c] * x[c]; }), C);
  float gx = tangent::sum(C, [=](unsigned c) { return dt[c] * gamma[c] * x[c]; });
  float vx = tangent::sum(C, [=](unsigned c) { return v[c] * x[c]; });
  float vg = tangent::sum(C, [=](unsigned c) { return dt[c] * gamma[c] * v[c]; });
  float s = k.s * k.inv, of_x = s * (3 * gx * (vx * k.inv) - vg);
  tangent::each(C, [=](unsigned c) { dx[c] = of_x * x[c] - s * (vx * dt[c] * gamma[c] + gx * v[c]); });
}

extern "C" __global__ void rms_norm_tangent_stats(float* stats, const float* v, const float* x, unsigned rows, unsigned C) {
  size_t row = global_thread_id() / 32;
  if (row >= rows) return;
  v += row * C, x += row * C;
  tangent::Scale k = tangent::scale(tangent::sum(C, [=](unsigned c) { return x[c] * x[c]; }), C);
  float along = tangent::sum(C, [=](unsigned c) { return v[c] * x[c]; }) * k.inv;
  if (threadIdx.x % 32 == 0) stats[2 * row] = k.s, stats[2 * row + 1] = along;
}

extern "C" __global__ void rms_norm_tangent_grad_gamma(float* y, const float* dt, const float* v, const float* x, const float* stats, unsigned rows, unsigned C, unsigned chunk) {
  unsigned c = blockIdx.y * blockDim.x + threadIdx.x, from = blockIdx.x * chunk, to = min(rows, from + chunk);
  if (c >= C) return;
  float sum = 0;
  for (unsigned r = from; r < to; r++) {
    size_t i = (size_t)r * C + c;
    sum += dt[i] * stats[2 * r] * (v[i] - x[i] * stats[2 * r + 1]);
  }
  y[(size_t)blockIdx.x * C + c] = sum;
}
