// Exponential moving averages:
//
//   running_average  y = average + rate·(x - average)
//   running_update   the same in place, if guard is finite
//
// One thread per value.
//
// Definition: running.go.
#include "common.cuh"

extern "C" __global__ void running_average(float* y, const float* average, const float* x, unsigned n, float rate) {
  unsigned i = global_thread_id();
  if (i < n) y[i] = average[i] + rate * (x[i] - average[i]);
}

extern "C" __global__ void running_update(float* average, const float* x, const float* guard, unsigned n, float rate) {
  unsigned i = global_thread_id();
  if (i < n && isfinite(*guard)) average[i] += rate * (x[i] - average[i]);
}
