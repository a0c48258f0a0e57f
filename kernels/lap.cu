// A matrix on the values on both sides of each border between blocks of an axis:
//
//   lap  y[b-R+i] = sum over k in [0,2R) of m[i,k]·x[b-R+k], or of m[k,i]·x[b-R+k] if transposed
//
// for each border b between two blocks, R the reach; other values are copied. One thread per value.
//
// Definition: lap.go.
#include "common.cuh"

template <class T>
__device__ inline void lap_of(T* y, const T* x, const float* m, unsigned n, int length, unsigned inner, int size, int reach, int transposed) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  int t = k / inner % length, border = (t + reach) / size * size, i = t - border + reach;
  if (border == 0 || border >= length || i >= 2 * reach) {
    y[k] = x[k];
    return;
  }
  x += ((size_t)(k / inner / length) * length + border - reach) * inner + k % inner;
  m += transposed ? i : i * 2 * reach;
  float sum = 0;
  for (int j = 0; j < 2 * reach; j++) sum += m[transposed ? j * 2 * reach : j] * load(x[(size_t)j * inner]);
  y[k] = as<T>(sum);
}

#define LAP(suffix, T)                                                                                                                                             \
  extern "C" __global__ void lap##suffix(T* y, const T* x, const float* m, unsigned n, int length, unsigned inner, int size, int reach, int transposed) {           \
    lap_of(y, x, m, n, length, inner, size, reach, transposed);                                                                                                    \
  }

LAP(, float)
LAP(_half, bfloat)
