// What the running statistics of a batch norm follow:
//
//   batch_moments  y_c = Σ_n w_n·m_nc / Σ_n w_n,  w_n = decay^(N-1-n), m the mean or the unbiased variance
//
// parts are those of group_norm_parts with one channel a group, [N,C,splits,3]. One thread per channel. The
// normalization is that of norm_group.cu.
//
// Definition: batch_norm.go.
#include "common.cuh"

extern "C" __global__ void batch_moments(float* y, const float* parts, unsigned N, unsigned C, unsigned splits, unsigned rows, float decay, int variance) {
  unsigned c = global_thread_id();
  if (c >= C) return;
  float sum = 0, total = 0;
  for (unsigned n = 0; n < N; n++) {
    float count = 0, mean = 0, squares = 0;
    for (unsigned i = 0; i < splits; i++) {
      const float* p = parts + 3 * ((size_t)(n * C + c) * splits + i);
      if (p[0] == 0) continue;
      float all = count + p[0], d = p[1] - mean;
      mean += d * (p[0] / all);
      squares += p[2] + d * d * (count * (p[0] / all));
      count = all;
    }
    sum = sum * decay + (variance ? squares / (rows - 1) : mean);
    total = total * decay + 1;
  }
  y[c] = sum / total;
}
