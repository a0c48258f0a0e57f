// Functions of single values; a thread computes one.
//
//   act        y = Kind(x)            add     y = a + b
//   act_grad   dx = dy·Kind'(s)       affine  y = mul·x + shift
//   fill       y = value
//
// Definition: pointwise.go.
#include "common.cuh"

extern "C" __global__ void act(float* y, const float* x, unsigned n, int kind) {
  unsigned i = thread_number();
  if (i < n) y[i] = activate(kind, x[i]);
}

extern "C" __global__ void act_grad(float* dx, const float* dy, const float* s, unsigned n, int kind) {
  unsigned i = thread_number();
  if (i < n) dx[i] = dy[i] * slope(kind, s[i]);
}

template <class T>
__device__ inline void sums(T* y, const T* a, const T* b, unsigned n) {
  unsigned i = thread_number();
  if (i < n) y[i] = as<T>(load(a[i]) + load(b[i]));
}

extern "C" __global__ void add(float* y, const float* a, const float* b, unsigned n) { sums(y, a, b, n); }
extern "C" __global__ void add_half(bfloat* y, const bfloat* a, const bfloat* b, unsigned n) { sums(y, a, b, n); }

extern "C" __global__ void affine(float* y, const float* x, unsigned n, float mul, float shift) {
  unsigned i = thread_number();
  if (i < n) y[i] = mul * x[i] + shift;
}

extern "C" __global__ void fill(float* y, unsigned n, float value) {
  unsigned i = thread_number();
  if (i < n) y[i] = value;
}
