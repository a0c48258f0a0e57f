// A weighted distance between the features of two images, each pixel's scaled to unit length:
//
//   d[n] = 1/P · sum_p sum_c w_c (u_c(f[n,p]) - u_c(g[n,p]))²,  u(f) = f/(|f| + 1e-10)
//
//   feature_distance       partials [N,chunks]: sums over a chunk of an image's pixels; a block per chunk, a warp per pixel
//   feature_distance_end   d[n] = the sum of an image's partials/P; one thread per image
//   feature_distance_grad  df = k·e - k²·f/|f|·sum(e·f), e = 2/P·dd[n]·w·(u(f) - u(g)), k = 1/(|f| + 1e-10), 0 where |f| = 0; a warp per pixel
//
// Definition: feature_distance.go.
#include "common.cuh"

constexpr float FEATURE_EPS = 1e-10f;

struct Lengths { float f, g; };

// |f| and |g| of a pixel, in every lane.
template <class T>
__device__ inline Lengths feature_lengths(const T* f, const T* g, unsigned C) {
  float ff = 0, gg = 0;
  for (unsigned c = threadIdx.x % 32; c < C; c += 32) {
    float a = load(f[c]), b = load(g[c]);
    ff += a * a;
    gg += b * b;
  }
  return {sqrtf(warp_sum(ff)), sqrtf(warp_sum(gg))};
}

// chunk is the number of pixels of a block.
template <class T>
__device__ inline void feature_distance_of(float* partials, const T* f, const T* g, const float* w, unsigned P, unsigned C, unsigned chunk) {
  __shared__ float scratch[32];
  unsigned from = blockIdx.x * chunk, to = min(P, from + chunk);
  float sum = 0;
  for (unsigned p = from + threadIdx.x / 32; p < to; p += blockDim.x / 32) {
    size_t at = ((size_t)blockIdx.y * P + p) * C;
    Lengths r = feature_lengths(f + at, g + at, C);
    float kf = 1 / (r.f + FEATURE_EPS), kg = 1 / (r.g + FEATURE_EPS);
    for (unsigned c = threadIdx.x % 32; c < C; c += 32) {
      float e = load(f[at + c]) * kf - load(g[at + c]) * kg;
      sum += w[c] * e * e;
    }
  }
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partials[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

extern "C" __global__ void feature_distance(float* partials, const float* f, const float* g, const float* w, unsigned P, unsigned C, unsigned chunk) {
  feature_distance_of(partials, f, g, w, P, C, chunk);
}

extern "C" __global__ void feature_distance_half(float* partials, const bfloat* f, const bfloat* g, const float* w, unsigned P, unsigned C, unsigned chunk) {
  feature_distance_of(partials, f, g, w, P, C, chunk);
}

extern "C" __global__ void feature_distance_end(float* d, const float* partials, unsigned N, unsigned count, unsigned P) {
  unsigned n = global_thread_id();
  if (n >= N) return;
  float sum = 0;
  for (unsigned i = 0; i < count; i++) sum += partials[n * count + i];
  d[n] = sum / P;
}

template <class T>
__device__ inline void feature_distance_grad_of(T* df, const float* dd, const T* f, const T* g, const float* w, unsigned rows, unsigned P, unsigned C) {
  unsigned row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  size_t at = (size_t)row * C;
  Lengths r = feature_lengths(f + at, g + at, C);
  float kf = 1 / (r.f + FEATURE_EPS), kg = 1 / (r.g + FEATURE_EPS), by = 2 * dd[row / P] / P, along = 0;
  for (unsigned c = lane; c < C; c += 32) {
    float a = load(f[at + c]);
    along += by * w[c] * (a * kf - load(g[at + c]) * kg) * a;
  }
  along = warp_sum(along);
  for (unsigned c = lane; c < C; c += 32) {
    float a = load(f[at + c]), e = by * w[c] * (a * kf - load(g[at + c]) * kg);
    df[at + c] = as<T>(r.f == 0 ? 0 : kf * (e - a * (along * kf / r.f)));
  }
}

extern "C" __global__ void feature_distance_grad(float* df, const float* dd, const float* f, const float* g, const float* w, unsigned rows, unsigned P, unsigned C) {
  feature_distance_grad_of(df, dd, f, g, w, rows, P, C);
}

extern "C" __global__ void feature_distance_grad_half(bfloat* df, const float* dd, const bfloat* f, const bfloat* g, const float* w, unsigned rows, unsigned P, unsigned C) {
  feature_distance_grad_of(df, dd, f, g, w, rows, P, C);
}
