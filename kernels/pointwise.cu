// Elementwise functions:
//
//   act        y = Act(x)             add     y = a + b
//   act_grad   dx = dy·Act'(s)        affine  y = mul·x + shift
//
// One thread per 8 contiguous values, with 16-byte access where pointers allow it.
//
// Definition: pointwise.go.
#include "packed.cuh"

template <class T>
__device__ inline void act_of(T* y, const T* x, unsigned n, int kind) {
  elementwise8(n, aligned(y, x), [=](auto at) {
    float v[8];
    at.load(v, x);
    dispatch_activation(kind, [&](auto k) {
#pragma unroll
      for (float& e : v) e = activate(k.value, e);
    });
    at.store(y, v);
  });
}

template <class T>
__device__ inline void act_grad_of(T* dx, const T* dy, const T* s, unsigned n, int kind) {
  elementwise8(n, aligned(dx, dy, s), [=](auto at) {
    float v[8], slopes[8];
    at.load(v, dy);
    at.load(slopes, s);
    dispatch_activation(kind, [&](auto k) {
#pragma unroll
      for (int e = 0; e < 8; e++) v[e] *= slope(k.value, slopes[e]);
    });
    at.store(dx, v);
  });
}

template <class T>
__device__ inline void add_of(T* y, const T* a, const T* b, unsigned n) {
  elementwise8(n, aligned(y, a, b), [=](auto at) {
    float v[8], w[8];
    at.load(v, a);
    at.load(w, b);
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] += w[e];
    at.store(y, v);
  });
}

template <class T>
__device__ inline void affine_of(T* y, const T* x, unsigned n, float mul, float shift) {
  elementwise8(n, aligned(y, x), [=](auto at) {
    float v[8];
    at.load(v, x);
#pragma unroll
    for (float& e : v) e = mul * e + shift;
    at.store(y, v);
  });
}

#define POINTWISE(suffix, T)                                                                                                              \
  extern "C" __global__ void act##suffix(T* y, const T* x, unsigned n, int kind) { act_of(y, x, n, kind); }                             \
  extern "C" __global__ void act_grad##suffix(T* dx, const T* dy, const T* s, unsigned n, int kind) { act_grad_of(dx, dy, s, n, kind); } \
  extern "C" __global__ void add##suffix(T* y, const T* a, const T* b, unsigned n) { add_of(y, a, b, n); }                               \
  extern "C" __global__ void affine##suffix(T* y, const T* x, unsigned n, float mul, float shift) { affine_of(y, x, n, mul, shift); }

POINTWISE(, float)
POINTWISE(_half, bfloat)
