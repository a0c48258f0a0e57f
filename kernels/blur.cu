// A [1/4, 1/2, 1/4] filter along the chosen axes, with replicated borders:
//
//   blur  y[t,h,w] = sum over a,b,d in {-1,0,1} of f_a f_b f_d x[t+a,h+b,w+d], indices clamped
//
// One thread per value. NAME_8: one thread per 8 contiguous channels, C a multiple of 8.
//
// Definition: blur.go.
#include "packed.cuh"

// n is the number of threads. time and space are 1 if those axes are filtered, else 0.
template <int V, class T>
__device__ inline void blur_of(T* y, const T* x, unsigned n, int F, int H, int W, int C, int time, int space) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  int groups = C / V, p = k / groups, w = p % W, h = p / W % H, t = p / W / H % F;
  const T* clip = x + (size_t)(p / W / H / F) * F * H * W * C + k % groups * V;
  float sum[V] = {};
  for (int a = -time; a <= time; a++)
    for (int b = -space; b <= space; b++)
      for (int d = -space; d <= space; d++) {
        int from = (min(max(t + a, 0), F - 1) * H + min(max(h + b, 0), H - 1)) * W + min(max(w + d, 0), W - 1);
        float weight = (time ? a ? .25f : .5f : 1) * (space ? (b ? .25f : .5f) * (d ? .25f : .5f) : 1), v[V];
        load_values(v, clip + (size_t)from * C);
#pragma unroll
        for (int e = 0; e < V; e++) sum[e] += weight * v[e];
      }
  store_values(y + (size_t)k * V, sum);
}

#define BLUR(suffix, V, T)                                                                                                          \
  extern "C" __global__ void blur##suffix(T* y, const T* x, unsigned n, int F, int H, int W, int C, int time, int space) {          \
    blur_of<V>(y, x, n, F, H, W, C, time, space);                                                                                   \
  }

BLUR(, 1, float)
BLUR(_half, 1, bfloat)
BLUR(_8, 8, float)
BLUR(_8_half, 8, bfloat)
