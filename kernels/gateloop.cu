// The gated linear recurrence over frames:
//
//   gateloop       h_t = sigmoid(a_t) h_t-1 + kv_t,  y_t = q_t h_t
//   gateloop_grad  dh_t = q_t dy_t + sigmoid(a_t+1) dh_t+1
//                  dq_t = dy_t h_t,  dkv_t = dh_t,  da_t = dh_t h_t-1 sigmoid'(a_t)
//
// One thread per pixel of a clip and channel, or 8 contiguous channels if C is a multiple of
// 8; it loops over the frames. The gradient first recomputes h [N,T,P,C] into a workspace.
//
// Definition: gateloop.go.
#include "common.cuh"

namespace loop {

// The index of a thread's values in frame 0, and the stride between frames.
struct Course {
  size_t y, x, dy, dx;  // x is that of q; kv and a follow at C and 2C
  __device__ Course(unsigned i, unsigned T, unsigned P, unsigned C, unsigned V) {
    unsigned c = i % (C / V) * V, p = i / (C / V) % P;
    size_t row = (size_t)i / (C / V) / P * T * P + p;
    y = row * C + c, x = 3 * row * C + c;
    dy = (size_t)P * C, dx = 3 * dy;
  }
};

// Advances h by one frame.
template <int V, class A>
__device__ inline void step(float (&h)[V], const A* x, unsigned C) {
  float kv[V], a[V];
  load_values(kv, x + C), load_values(a, x + 2 * C);
#pragma unroll
  for (int k = 0; k < V; k++) h[k] = sigmoid(a[k]) * h[k] + kv[k];
}

template <int V, class A>
__device__ inline void forward(A* y, const A* qkva, unsigned n, unsigned T, unsigned P, unsigned C) {
  unsigned i = global_thread_id();
  if (i >= n / V) return;
  Course at(i, T, P, C, V);
  float h[V] = {};
  for (unsigned t = 0; t < T; t++) {
    float q[V];
    const A* x = qkva + at.x + t * at.dx;
    load_values(q, x);
    step(h, x, C);
#pragma unroll
    for (int k = 0; k < V; k++) q[k] *= h[k];
    store_values(y + at.y + t * at.dy, q);
  }
}

template <int V, class A>
__device__ inline void backward(A* dqkva, const A* dy, const A* qkva, float* states, unsigned n, unsigned T, unsigned P, unsigned C) {
  unsigned i = global_thread_id();
  if (i >= n / V) return;
  Course at(i, T, P, C, V);
  states += at.y;
  float h[V] = {};
  for (unsigned t = 0; t < T; t++) {
    step(h, qkva + at.x + t * at.dx, C);
    store_values(states + t * at.dy, h);
  }
  float dh[V] = {};
  for (unsigned t = T; t-- > 0;) {
    const A* x = qkva + at.x + t * at.dx;
    A* dx = dqkva + at.x + t * at.dx;
    float q[V], a[V], d[V], before[V] = {};
    load_values(q, x), load_values(a, x + 2 * C), load_values(d, dy + at.y + t * at.dy);
    load_values(h, states + t * at.dy);
    if (t > 0) load_values(before, states + (t - 1) * at.dy);
#pragma unroll
    for (int k = 0; k < V; k++) {
      float g = sigmoid(a[k]);
      dh[k] += q[k] * d[k];
      q[k] = dh[k];
      d[k] *= h[k];
      a[k] = dh[k] * before[k] * g * (1 - g);
      dh[k] *= g;
    }
    store_values(dx, d), store_values(dx + C, q), store_values(dx + 2 * C, a);
  }
}

}  // namespace loop

#define GATELOOPS(A, SUFFIX)                                                                                                                \
  extern "C" __global__ void gateloop##SUFFIX(A* y, const A* qkva, unsigned n, unsigned T, unsigned P, unsigned C) {                        \
    C % 8 ? loop::forward<1>(y, qkva, n, T, P, C) : loop::forward<8>(y, qkva, n, T, P, C);                                                  \
  }                                                                                                                                         \
  extern "C" __global__ void gateloop_grad##SUFFIX(A* dqkva, const A* dy, const A* qkva, float* h, unsigned n, unsigned T, unsigned P, unsigned C) { \
    C % 8 ? loop::backward<1>(dqkva, dy, qkva, h, n, T, P, C) : loop::backward<8>(dqkva, dy, qkva, h, n, T, P, C);                          \
  }

GATELOOPS(float, )
GATELOOPS(bfloat, _half)
