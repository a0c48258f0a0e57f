// The product of a row's first C values u with the GELU of the others, g; a thread
// computes one.
//
//   geglu       y = u·GELU(g)
//   geglu_grad  du = dy·GELU(g), dg = dy·u·GELU'(g)
//
// Definition: geglu.go.
#include "common.cuh"

extern "C" __global__ void geglu(float* y, const float* x, unsigned n, unsigned C) {
  unsigned i = thread_number();
  if (i >= n) return;
  size_t u = i + (size_t)i / C * C;
  y[i] = x[u] * activate(GELU, x[u + C]);
}

extern "C" __global__ void geglu_grad(float* dx, const float* dy, const float* x, unsigned n, unsigned C) {
  unsigned i = thread_number();
  if (i >= n) return;
  size_t u = i + (size_t)i / C * C, g = u + C;
  dx[u] = dy[i] * activate(GELU, x[g]);
  dx[g] = dy[i] * x[u] * slope(GELU, x[g]);
}
