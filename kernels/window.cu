// Windows of single frames, cut from clips, and their gradient:
//
//   windows       y[n,k,h,w,c] = x[n, t, h0+h, w0+w, c], (t,h0,w0) = at[n,k]
//   windows_grad  dx[n,t,h,w,c] = sum of dy[n,k,h-h0,w-w0,c] over the windows k that hold the pixel
//
// One thread per result.
//
// Definition: window.go.
#include "common.cuh"

namespace window {

struct Origin { unsigned t, h, w; };

__device__ inline unsigned inside(float v, unsigned most) { return v > 0 ? (unsigned)fminf(v, (float)most) : 0; }

__device__ inline Origin origin(const float* at, unsigned T, unsigned H, unsigned W, unsigned SH, unsigned SW) {
  return {inside(at[0], T - 1), inside(at[1], H - SH), inside(at[2], W - SW)};
}

}  // namespace window

// n is the number of values of y.
extern "C" __global__ void windows(float* y, const float* x, const float* at, unsigned n, unsigned T, unsigned H, unsigned W, unsigned C, unsigned K, unsigned SH, unsigned SW) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned c = i % C, w = i / C % SW, h = i / C / SW % SH, k = i / C / SW / SH;
  window::Origin o = window::origin(at + k * 3, T, H, W, SH, SW);
  y[i] = x[((((size_t)(k / K) * T + o.t) * H + o.h + h) * W + o.w + w) * C + c];
}

// n is the number of values of dx.
extern "C" __global__ void windows_grad(float* dx, const float* dy, const float* at, unsigned n, unsigned T, unsigned H, unsigned W, unsigned C, unsigned K, unsigned SH, unsigned SW) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned c = i % C, w = i / C % W, h = i / C / W % H, t = i / C / W / H % T, clip = i / C / W / H / T;
  float sum = 0;
  for (unsigned k = 0; k < K; k++) {
    unsigned row = clip * K + k;
    window::Origin o = window::origin(at + row * 3, T, H, W, SH, SW);
    if (t == o.t && h - o.h < SH && w - o.w < SW) sum += dy[(((size_t)row * SH + h - o.h) * SW + w - o.w) * C + c];
  }
  dx[i] = sum;
}
