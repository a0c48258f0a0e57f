// AdamW and the average of the weights; a thread updates one value.
//
//   g <- g·Scale·min(1, MaxNorm/(sqrt(norm2)·Scale + 1e-6))
//   m <- m + Rate1·(g - m),  v <- v + Rate2·(g² - v)
//   p <- p·(1 - LR·Decay) - LR/Correct1·m/(sqrt(v)/sqrt(Correct2) + Eps)
//   ema <- ema + EMARate·(p - ema)
//
// Nothing changes if norm2 is not finite. Definition: optimizer.go.
#include "common.cuh"

// The order is that of kernels.HyperLR and those after it.
enum { LR, RATE1, RATE2, EPS, DECAY, CORRECT1, CORRECT2, MAX_NORM, EMA_RATE, SCALE };

extern "C" __global__ void adam_w(float* p, float* m, float* v, float* ema, const float* g, const float* norm2, const float* h, unsigned n) {
  unsigned i = thread_number();
  if (i >= n || !isfinite(norm2[0])) return;
  float scale = h[SCALE];
  if (h[MAX_NORM] > 0) scale *= fminf(1, h[MAX_NORM] / (sqrtf(norm2[0]) * scale + 1e-6f));
  float gi = g[i] * scale;
  float mi = (1 - h[RATE1]) * m[i] + h[RATE1] * gi;
  float vi = (1 - h[RATE2]) * v[i] + h[RATE2] * gi * gi;
  float pi = p[i] * (1 - h[LR] * h[DECAY]) - h[LR] / h[CORRECT1] * mi / (sqrtf(vi) / sqrtf(h[CORRECT2]) + h[EPS]);
  p[i] = pi;
  m[i] = mi;
  v[i] = vi;
  ema[i] += h[EMA_RATE] * (pi - ema[i]);
}
