// Two activations mixed by one learned number, s = sigmoid(m); and the loss with a learned scale.
//
//   blend               y = s·a + (1-s)·b
//   blend_grad          dx = s·dy, or (1-s)·dy if second
//   blend_grad_mix      partial sums of s·(1-s)·dy·(a-b), one for each chunk
//   learned_scale       y = x·exp(-v) + K·v
//   learned_scale_grad  d = dy·exp(-v), or dy·(K - x·exp(-v)) if ofScale
//
// blend, blend_grad: one thread per 8 contiguous values. blend_grad_mix: one block per chunk.
// learned_scale, learned_scale_grad: one thread.
//
// Definition: blend.go.
#include "packed.cuh"

template <class T>
__device__ inline void blend_of(T* y, const T* a, const T* b, const float* m, unsigned n) {
  float s = sigmoid(m[0]), rest = sigmoid(-m[0]);
  elementwise8(n, aligned(y, a, b), [=](auto at) {
    float v[8], w[8];
    at.load(v, a);
    at.load(w, b);
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] = s * v[e] + rest * w[e];
    at.store(y, v);
  });
}

template <class T>
__device__ inline void blend_grad_of(T* dx, const T* dy, const float* m, unsigned n, int second) {
  float s = sigmoid(second ? -m[0] : m[0]);
  elementwise8(n, aligned(dx, dy), [=](auto at) {
    float v[8];
    at.load(v, dy);
#pragma unroll
    for (float& e : v) e *= s;
    at.store(dx, v);
  });
}

template <class T>
__device__ inline void blend_grad_mix_of(float* parts, const T* dy, const T* a, const T* b, const float* m, unsigned n, unsigned chunk, float* partial) {
  unsigned from = blockIdx.x * chunk, to = min(n, from + chunk);
  bool wide = aligned(dy, a, b);
  float sum = 0;
  for (unsigned i = from + 8 * threadIdx.x; i < to; i += 8 * blockDim.x)
    packed8(i, to, wide, [&](auto at) {
      float d[8], v[8], w[8];
      at.load(d, dy);
      at.load(v, a);
      at.load(w, b);
#pragma unroll
      for (int e = 0; e < 8; e++) sum += d[e] * (v[e] - w[e]);
    });
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum * sigmoid(m[0]) * sigmoid(-m[0]);
}

#define BLEND(suffix, T)                                                                                                                           \
  extern "C" __global__ void blend##suffix(T* y, const T* a, const T* b, const float* m, unsigned n) { blend_of(y, a, b, m, n); }                 \
  extern "C" __global__ void blend_grad##suffix(T* dx, const T* dy, const float* m, unsigned n, int second) { blend_grad_of(dx, dy, m, n, second); } \
  extern "C" __global__ void blend_grad_mix##suffix(float* parts, const T* dy, const T* a, const T* b, const float* m, unsigned n, unsigned chunk) { \
    __shared__ float partial[32];                                                                                                                  \
    blend_grad_mix_of(parts, dy, a, b, m, n, chunk, partial);                                                                                      \
  }

BLEND(, float)
BLEND(_half, bfloat)

extern "C" __global__ void learned_scale(float* y, const float* x, const float* v, float k) { y[0] = x[0] * expf(-v[0]) + k * v[0]; }

extern "C" __global__ void learned_scale_grad(float* d, const float* dy, const float* x, const float* v, float k, int ofScale) {
  float scale = expf(-v[0]);
  d[0] = dy[0] * (ofScale ? k - x[0] * scale : scale);
}
