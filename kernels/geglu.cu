// GEGLU: a row of x has C values u, then C values g.
//
//   geglu       y = u·GELU(g)
//   geglu_grad  du = dy·GELU(g), dg = dy·u·GELU'(g)
//
// One warp per row. A lane has 8 values at a time, contiguous if C is a multiple of 8.
//
// Definition: geglu.go.
#include "common.cuh"

namespace glu {

// Calls f(loads, stores) for each 8 columns of the lane: loads(v, x) reads them from the row x,
// stores(y, v) writes them to the row y.
template <class F>
__device__ inline void each(unsigned C, F f) {
  unsigned lane = threadIdx.x % 32;
  if (C % 8 == 0)
    for (unsigned c = lane * 8; c < C; c += 256)
      f([=](float (&v)[8], const auto* x) { load8(v, x + c); }, [=](auto* y, const float (&v)[8]) { store8(y + c, v); });
  else
    for (unsigned c = lane; c < C; c += 256)
      f(
          [=](float (&v)[8], const auto* x) {
#pragma unroll
            for (int k = 0; k < 8; k++) v[k] = c + 32 * k < C ? load(x[c + 32 * k]) : 0;
          },
          [=](auto* y, const float (&v)[8]) {
#pragma unroll
            for (int k = 0; k < 8; k++)
              if (c + 32 * k < C) store_values(y + c + 32 * k, *(const float(*)[1])(v + k));
          });
}

template <class T>
__device__ inline void forward(T* y, const T* x, unsigned rows, unsigned C) {
  size_t row = global_thread_id() / 32;
  if (row >= rows) return;
  y += row * C, x += row * 2 * C;
  each(C, [=](auto loads, auto stores) {
    float u[8], g[8];
    loads(u, x), loads(g, x + C);
#pragma unroll
    for (int k = 0; k < 8; k++) u[k] *= activate(GELU, g[k]);
    stores(y, u);
  });
}

template <class T>
__device__ inline void backward(T* dx, const T* dy, const T* x, unsigned rows, unsigned C) {
  size_t row = global_thread_id() / 32;
  if (row >= rows) return;
  dx += row * 2 * C, dy += row * C, x += row * 2 * C;
  each(C, [=](auto loads, auto stores) {
    float d[8], u[8], g[8];
    loads(d, dy), loads(u, x), loads(g, x + C);
    geglu_slopes(d, u, g);
    stores(dx, d), stores(dx + C, u);
  });
}

}  // namespace glu

#define GEGLUS(T, SUFFIX)                                                                                            \
  extern "C" __global__ void geglu##SUFFIX(T* y, const T* x, unsigned rows, unsigned C) { glu::forward(y, x, rows, C); } \
  extern "C" __global__ void geglu_grad##SUFFIX(T* dx, const T* dy, const T* x, unsigned rows, unsigned C) { glu::backward(dx, dy, x, rows, C); }

GEGLUS(float, )
GEGLUS(bfloat, _half)
