// AdamW with gradient clipping and an exponential moving average of the weights:
//
//   g <- g·Scale·min(1, MaxNorm/(sqrt(norm2)·Scale + 1e-6))
//   m <- m + Rate1·(g - m),  v <- v + Rate2·(g² - v)
//   p <- p·(1 - LR·Decay) - LR/Correct1·m/(sqrt(v)/sqrt(Correct2) + Eps)
//   ema <- ema + EMARate·(p - ema), which is neither loaded nor stored where EMARate is 0
//
// norm2 is the squared norm of all gradients. If it is not finite the step is skipped.
// One thread per 8 contiguous parameters.
//
// Definition: optimizer.go.
#include "packed.cuh"

// Indices of hyperparameters in h, as kernels.HyperLR and the constants that follow it.
enum { LR, RATE1, RATE2, EPS, DECAY, CORRECT1, CORRECT2, MAX_NORM, EMA_RATE, SCALE };

extern "C" __global__ void adam_w(float* p, float* m, float* v, float* ema, const float* g, const float* norm2, const float* h, unsigned n) {
  if (!isfinite(norm2[0])) return;
  elementwise8(n, aligned(p, m, v, ema, g), [=](auto at) {
    float ps[8], ms[8], vs[8], emas[8], gs[8];
    at.load(gs, g);
    at.load(ms, m);
    at.load(vs, v);
    at.load(ps, p);
    bool average = h[EMA_RATE] != 0;
    if (average) at.load(emas, ema);
    float scale = h[SCALE];
    if (h[MAX_NORM] > 0) scale *= fminf(1, h[MAX_NORM] / (sqrtf(norm2[0]) * scale + 1e-6f));
    float rate1 = h[RATE1], rate2 = h[RATE2], decay = 1 - h[LR] * h[DECAY], step = h[LR] / h[CORRECT1], root = sqrtf(h[CORRECT2]), eps = h[EPS], ema_rate = h[EMA_RATE];
#pragma unroll
    for (int e = 0; e < 8; e++) {
      float grad = gs[e] * scale;
      ms[e] = (1 - rate1) * ms[e] + rate1 * grad;
      vs[e] = (1 - rate2) * vs[e] + rate2 * grad * grad;
      ps[e] = ps[e] * decay - step * ms[e] / (sqrtf(vs[e]) / root + eps);
      if (average) emas[e] += ema_rate * (ps[e] - emas[e]);
    }
    at.store(p, ps);
    at.store(m, ms);
    at.store(v, vs);
    if (average) at.store(ema, emas);
  });
}
