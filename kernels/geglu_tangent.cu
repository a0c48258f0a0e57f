// The derivative of GEGLU along v, a direction of x, and its gradient. A row of x has C values u,
// then C values g; a row of v has du, then dg.
//
//   geglu_tangent       t = du·GELU(g) + dg·u·GELU'(g)
//   geglu_tangent_grad  dx has the halves dt·dg·GELU'(g) and dt·(du·GELU'(g) + dg·u·GELU''(g))
//
// One thread per value of t, of n.
//
// Definition: geglu_tangent.go.
#include "common.cuh"

extern "C" __global__ void geglu_tangent(float* t, const float* v, const float* x, unsigned n, unsigned C) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  size_t a = (size_t)(i / C) * 2 * C + i % C, b = a + C;
  t[i] = v[a] * activate(GELU, x[b]) + v[b] * x[a] * slope(GELU, x[b]);
}

extern "C" __global__ void geglu_tangent_grad(float* dx, const float* dt, const float* v, const float* x, unsigned n, unsigned C) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  size_t a = (size_t)(i / C) * 2 * C + i % C, b = a + C;
  float g = x[b], first = slope(GELU, g), second = normal_density(g) * (2 - g * g);
  dx[a] = dt[i] * v[b] * first;
  dx[b] = dt[i] * (v[a] * first + v[b] * x[a] * second);
}
