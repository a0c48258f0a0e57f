// Means of neighbours; a thread writes one value.
//
//   blur  y[t,h,w] = sum of x over t-1..t+1, h-1..h+1, w-1..w+1 with weights 1/4, 1/2, 1/4
//         along each chosen axis, the edge standing for what is beyond it
//
// Definition: blur.go.
#include "common.cuh"

// time and space are 1 where the axes are chosen, else 0.
extern "C" __global__ void blur(float* y, const float* x, unsigned n, int T, int H, int W, int C, int time, int space) {
  unsigned i = thread_number();
  if (i >= n) return;
  int p = i / C, w = p % W, h = p / W % H, t = p / W / H % T;
  const float* clip = x + (size_t)(p / W / H / T) * T * H * W * C + i % C;
  float sum = 0;
  for (int a = -time; a <= time; a++)
    for (int b = -space; b <= space; b++)
      for (int d = -space; d <= space; d++) {
        int from = (min(max(t + a, 0), T - 1) * H + min(max(h + b, 0), H - 1)) * W + min(max(w + d, 0), W - 1);
        float weight = (time ? a ? .25f : .5f : 1) * (space ? (b ? .25f : .5f) * (d ? .25f : .5f) : 1);
        sum += weight * clip[(size_t)from * C];
      }
  y[i] = sum;
}
