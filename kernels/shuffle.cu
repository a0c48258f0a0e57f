// Channels to time and space, or back:
//
//   up    y[n, t·FT+a, h·FH+i, w·FW+j, c] = x[n, t, h, w, ((c·FT+a)·FH+i)·FW+j]
//   down  the inverse
//
// A thread moves one value of the wide array, the one with few channels.
// Definition: shuffle.go.
#include "common.cuh"

extern "C" __global__ void shuffle(float* y, const float* x, unsigned n, unsigned T, unsigned H, unsigned W, unsigned C,
                                   unsigned FT, unsigned FH, unsigned FW, int down) {
  unsigned wide = thread_number();
  if (wide >= n) return;
  unsigned r = wide, c = r % C;
  r /= C;
  unsigned w = r % (W * FW) / FW, j = r % FW;  // W·FW is a multiple of FW
  r /= W * FW;
  unsigned h = r % (H * FH) / FH, i = r % FH;
  r /= H * FH;
  unsigned t = r % (T * FT) / FT, a = r % FT;
  r /= T * FT;
  unsigned deep = (((r * T + t) * H + h) * W + w) * (C * FT * FH * FW) + ((c * FT + a) * FH + i) * FW + j;
  if (down)
    y[deep] = x[wide];
  else
    y[wide] = x[deep];
}
