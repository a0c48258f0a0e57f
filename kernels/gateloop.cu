// A gated recurrence over frames; a thread has a pixel and channel of a clip and goes
// through its frames, neighbours having neighbouring channels.
//
//   gateloop       h_t = sigmoid(a_t) h_t-1 + kv_t,  y_t = q_t h_t
//   gateloop_grad  dh_t = q_t dy_t + sigmoid(a_t+1) dh_t+1
//                  dq_t = dy_t h_t,  dkv_t = dh_t,  da_t = dh_t h_t-1 sigmoid'(a_t)
//
// The gradient goes forward first and leaves h where dq will be.
//
// Definition: gateloop.go.
#include "common.cuh"

// Where a thread's values of frame 0 stand, and how far apart the frames are.
struct Course {
  size_t y, x, dy, dx;  // x: q; kv and a are C and 2C behind
  __device__ Course(unsigned i, unsigned T, unsigned P, unsigned C) {
    unsigned c = i % C, p = i / C % P;
    size_t row = (size_t)i / C / P * T * P + p;
    y = row * C + c, x = 3 * row * C + c;
    dy = (size_t)P * C, dx = 3 * dy;
  }
};

extern "C" __global__ void gateloop(float* y, const float* qkva, unsigned n, unsigned T, unsigned P, unsigned C) {
  unsigned i = thread_number();
  if (i >= n) return;
  Course at(i, T, P, C);
  float h = 0;
  for (unsigned t = 0; t < T; t++) {
    const float* x = qkva + at.x + t * at.dx;
    h = sigmoid(x[2 * C]) * h + x[C];
    y[at.y + t * at.dy] = x[0] * h;
  }
}

extern "C" __global__ void gateloop_grad(float* dqkva, const float* dy, const float* qkva, unsigned n, unsigned T, unsigned P, unsigned C) {
  unsigned i = thread_number();
  if (i >= n) return;
  Course at(i, T, P, C);
  float h = 0;
  for (unsigned t = 0; t < T; t++) {
    const float* x = qkva + at.x + t * at.dx;
    h = sigmoid(x[2 * C]) * h + x[C];
    dqkva[at.x + t * at.dx] = h;
  }
  float dh = 0;
  for (unsigned t = T; t-- > 0;) {
    const float* x = qkva + at.x + t * at.dx;
    float *dx = dqkva + at.x + t * at.dx, d = dy[at.y + t * at.dy], g = sigmoid(x[2 * C]);
    dh += x[0] * d;
    dx[0] *= d;
    dx[C] = dh;
    dx[2 * C] = t > 0 ? dh * *(dx - at.dx) * g * (1 - g) : 0;
    dh *= g;
  }
}
