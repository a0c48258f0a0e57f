// An axis of T positions, twice as long or half as long.
//
//   resample       y[o] = sum over positions t of weight(o,t)·x[t]
//   resample_grad  dx[t] = sum over positions o of weight(o,t)·dy[o]
//
// One thread per value.
//
// Definition: resample.go.
#include "common.cuh"

// The values are those of kernels.Interpolation.
enum { NEAREST, LINEAR, MEAN_OF_THREE, MEAN_OF_THREE_CUT, MEAN_OF_TWO };

// The positions [first, first+count) that one reads, and their weights.
struct Taps {
  int first, count;
  float weight[3];
};

__device__ inline int resampled(int T, int kind) { return kind <= LINEAR ? 2 * T : T / 2; }

// The positions of the source that position o of the result reads.
__device__ inline Taps taps_of(int o, int T, int head, int kind) {
  if (kind == NEAREST) return {o / 2, 1, {1, 0, 0}};
  if (kind == LINEAR) {
    int first = 0, n = T;
    if (o < 2 * head)
      n = head;
    else if (head > 0)
      first = head, n = T - head;
    int low = max((o - 2 * first + 1) / 2 - 1, 0), high = min((o - 2 * first + 1) / 2, n - 1);
    if (low == high) return {first + low, 1, {1, 0, 0}};
    return {first + low, 2, {o % 2 ? .75f : .25f, o % 2 ? .25f : .75f, 0}};
  }
  if (kind == MEAN_OF_TWO) return {2 * o, 2, {.5f, .5f, 0}};
  constexpr float third = 1 / 3.f;
  if (o > 0) return {2 * o - 1, 3, {third, third, third}};
  return {0, 2, {kind == MEAN_OF_THREE_CUT ? 2 * third : third, third, 0}};
}

template <class T>
__device__ inline void resample_of(T* y, const T* x, unsigned n, int length, unsigned inner, int head, int kind) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  unsigned i = k % inner, o = k / inner % resampled(length, kind), clip = k / inner / resampled(length, kind);
  Taps t = taps_of(o, length, head, kind);
  x += ((size_t)clip * length + t.first) * inner + i;
  float sum = 0;
  for (int j = 0; j < t.count; j++) sum += t.weight[j] * load(x[(size_t)j * inner]);
  y[k] = as<T>(sum);
}

template <class T>
__device__ inline void resample_grad_of(T* dx, const T* dy, unsigned n, int length, unsigned inner, int head, int kind) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  int t = k / inner % length, to = resampled(length, kind), from = kind <= LINEAR ? 2 * t - 1 : t / 2;
  dy += (size_t)(k / inner / length) * to * inner + k % inner;
  float sum = 0;
  for (int o = max(from, 0); o < min(from + 4, to); o++) {  // all positions that read t are among these
    Taps taps = taps_of(o, length, head, kind);
    if (taps.first <= t && t < taps.first + taps.count) sum += taps.weight[t - taps.first] * load(dy[(size_t)o * inner]);
  }
  dx[k] = as<T>(sum);
}

#define RESAMPLE(suffix, T)                                                                                                                    \
  extern "C" __global__ void resample##suffix(T* y, const T* x, unsigned n, int length, unsigned inner, int head, int kind) {                  \
    resample_of(y, x, n, length, inner, head, kind);                                                                                           \
  }                                                                                                                                            \
  extern "C" __global__ void resample_grad##suffix(T* dx, const T* dy, unsigned n, int length, unsigned inner, int head, int kind) {           \
    resample_grad_of(dx, dy, n, length, inner, head, kind);                                                                                    \
  }

RESAMPLE(, float)
RESAMPLE(_half, bfloat)
