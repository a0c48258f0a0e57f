// The cross-entropy of a softmax over C classes, with smoothed labels, and its gradient:
//
//   cross_entropy       rows[r] = log sum_c exp(logits_rc) - sum_c q_rc logits_rc, 0 where the
//                       label is negative; q_rc = (1 - smoothing)·[c = label] + smoothing/C
//   cross_entropy_end   loss = sum rows / n, 0 if n = 0: n is the number of labels; one block
//   cross_entropy_count n; one block
//   cross_entropy_grad  dlogits_rc = dloss/n·(softmax_c - q_rc); at the label, where softmax may
//                       be nearly 1, the others' negative sum, which loses no digits
//
// One warp per row.
//
// Definition: classify.go.
#include "common.cuh"

// log sum exp(x) = max + log, log = log sum exp(x - max), in every lane of the warp.
struct LogSumExp { float max, log; };

__device__ inline LogSumExp log_sum_exp(const float* x, unsigned C) {
  unsigned lane = threadIdx.x % 32;
  float peak = x[0], sum = 0;
  for (unsigned c = lane; c < C; c += 32) peak = fmaxf(peak, x[c]);
  peak = warp_max(peak);
  for (unsigned c = lane; c < C; c += 32) sum += expf(x[c] - peak);
  return {peak, logf(warp_sum(sum))};
}

// The number of labels, in every thread of a block.
__device__ inline float count_labels(const float* label, unsigned n, float* scratch) {
  float sum = 0;
  for (unsigned r = threadIdx.x; r < n; r += blockDim.x) sum += label[r] >= 0;
  return block_sum(sum, scratch);
}

extern "C" __global__ void cross_entropy(float* rows, const float* logits, const float* label, unsigned n, unsigned C, float smoothing) {
  unsigned r = global_thread_id() / 32, lane = threadIdx.x % 32;
  if (r >= n) return;
  float l = label[r];
  if (l < 0) {
    if (lane == 0) rows[r] = 0;
    return;
  }
  const float* row = logits + (size_t)r * C;
  LogSumExp s = log_sum_exp(row, C);
  float mean = 0;
  if (smoothing > 0) {
    for (unsigned c = lane; c < C; c += 32) mean += row[c] - s.max;
    mean = warp_sum(mean) / C;
  }
  if (lane == 0) rows[r] = l < C ? (1 - smoothing) * (s.max - row[(unsigned)l]) - smoothing * mean + s.log : nanf("");
}

extern "C" __global__ void cross_entropy_end(float* loss, const float* rows, const float* label, unsigned n) {
  __shared__ float scratch[32];
  float sum = 0, total = count_labels(label, n, scratch);
  for (unsigned r = threadIdx.x; r < n; r += blockDim.x) sum += rows[r];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) loss[0] = total == 0 ? 0 : sum / total;
}

extern "C" __global__ void cross_entropy_count(float* count, const float* label, unsigned n) {
  __shared__ float scratch[32];
  float total = count_labels(label, n, scratch);
  if (threadIdx.x == 0) count[0] = total;
}

extern "C" __global__ void cross_entropy_grad(float* dlogits, const float* dloss, const float* logits, const float* label, const float* count, unsigned n, unsigned C, float smoothing) {
  unsigned r = global_thread_id() / 32, lane = threadIdx.x % 32;
  if (r >= n) return;
  float l = label[r];
  float* d = dlogits + (size_t)r * C;
  const float* row = logits + (size_t)r * C;
  if (l < 0) {
    for (unsigned c = lane; c < C; c += 32) d[c] = 0;
    return;
  }
  LogSumExp s = log_sum_exp(row, C);
  float scale = dloss[0] / count[0], others = 0;
  for (unsigned c = lane; c < C; c += 32) {
    if (c == l) continue;
    d[c] = scale * (expf(row[c] - s.max - s.log) - smoothing / C);
    others += d[c];
  }
  others = warp_sum(others);
  if (lane == 0 && l < C) d[(unsigned)l] = -others;
}
