// The cross-entropy of a softmax over C classes, and its gradient:
//
//   cross_entropy       rows[r] = log sum_c exp(logits_rc) - logits_r,label and counts[r] = 1;
//                       both are 0 where the label is negative
//   cross_entropy_end   loss = sum rows / sum counts, 0 if no row counts; one block
//   cross_entropy_grad  dlogits_rc = dloss/n·(softmax_c - [c = label]), n = sum counts
//
// One thread per row: a batch has few clips, of a few classes each.
//
// Definition: classify.go.
#include "common.cuh"

// log sum exp(x) = max + log, log = log sum exp(x - max).
struct LogSumExp { float max, log; };

__device__ inline LogSumExp log_sum_exp(const float* x, unsigned C) {
  float peak = x[0], sum = 0;
  for (unsigned c = 1; c < C; c++) peak = fmaxf(peak, x[c]);
  for (unsigned c = 0; c < C; c++) sum += expf(x[c] - peak);
  return {peak, logf(sum)};
}

extern "C" __global__ void cross_entropy(float* rows, float* counts, const float* logits, const float* label, unsigned n, unsigned C) {
  unsigned r = global_thread_id();
  if (r >= n) return;
  float l = label[r];
  counts[r] = l < 0 ? 0 : 1;
  rows[r] = 0;
  if (l < 0) return;
  const float* row = logits + (size_t)r * C;
  LogSumExp s = log_sum_exp(row, C);
  rows[r] = l < C ? s.max - row[(unsigned)l] + s.log : nanf("");
}

extern "C" __global__ void cross_entropy_end(float* loss, const float* rows, const float* counts, unsigned n) {
  __shared__ float scratch[32];
  float sum = 0, total = 0;
  for (unsigned r = threadIdx.x; r < n; r += blockDim.x) {
    sum += rows[r];
    total += counts[r];
  }
  sum = block_sum(sum, scratch);
  total = block_sum(total, scratch);
  if (threadIdx.x == 0) loss[0] = total == 0 ? 0 : sum / total;
}

extern "C" __global__ void cross_entropy_grad(float* dlogits, const float* dloss, const float* logits, const float* label, unsigned n, unsigned C) {
  unsigned r = global_thread_id();
  if (r >= n) return;
  float* d = dlogits + (size_t)r * C;
  float l = label[r];
  unsigned counted = 0;
  for (unsigned i = 0; i < n; i++) counted += label[i] >= 0;
  const float* row = logits + (size_t)r * C;
  LogSumExp s = log_sum_exp(row, C);
  for (unsigned c = 0; c < C; c++) d[c] = l < 0 ? 0 : dloss[0] / counted * (expf(row[c] - s.max - s.log) - (c == l));
}
