// Causal attention of the newest token of N sequences over cached keys and values:
//
//   attention_step_scores  score_j = q·k_j·scale; a thread per sequence, head and key
//   attention_step         y = sum_j softmax(score)_j v_j; a CTA per sequence and head,
//                          whose threads take the keys for the softmax, then the channels
//
// Keys are those of the memory, of the first past tokens of the cache, and of the token
// itself, in this order. If past is not in [0, max_past], y is NaN.
//
// Definition: attention_step.go.
#include "common.cuh"

struct StepSize { unsigned N, Max, Heads, Dim, Memory; float Scale; };

namespace step {

// The number of keys, 0 if past is out of range.
__device__ inline unsigned keys(float past, StepSize s) { return past >= 0 && past <= s.Max ? s.Memory + (unsigned)past + 1 : 0; }

// The key (part 1) or value (2) number j of count; row is sequence·Heads + head.
__device__ inline const float* vector(const float* qkv, const float* cache, const float* memory, unsigned part, unsigned row, unsigned j, unsigned count, StepSize s) {
  unsigned n = row / s.Heads, head = row % s.Heads, width = s.Heads * s.Dim, at = part * width + head * s.Dim;
  if (j == count - 1) return qkv + (size_t)n * 3 * width + at;
  if (j < s.Memory) return memory + (((size_t)(part - 1) * s.Heads + head) * s.Memory + j) * s.Dim;
  return cache + ((size_t)(j - s.Memory) * s.N + n) * 3 * width + at;
}

}  // namespace step

extern "C" __global__ void attention_step_scores(float* scores, const float* qkv, const float* cache, const float* mem, const float* past, StepSize s) {
  unsigned i = global_thread_id(), most = s.Memory + s.Max + 1, row = i / most, j = i % most, count = step::keys(*past, s);
  if (row >= s.N * s.Heads || j >= count) return;
  const float* q = qkv + (size_t)(row / s.Heads) * 3 * s.Heads * s.Dim + row % s.Heads * s.Dim;
  const float* k = step::vector(qkv, cache, mem, 1, row, j, count, s);
  float sum = 0;
  for (unsigned d = 0; d < s.Dim; d++) sum += q[d] * k[d];
  scores[i] = sum * s.Scale;
}

extern "C" __global__ void attention_step(float* y, float* scores, const float* qkv, const float* cache, const float* mem, const float* past, StepSize s) {
  __shared__ float scratch[32];
  unsigned row = blockIdx.x, t = threadIdx.x, count = step::keys(*past, s);
  scores += (size_t)row * (s.Memory + s.Max + 1);
  float peak = -3.4e38f, sum = 0;
  for (unsigned j = t; j < count; j += blockDim.x) peak = fmaxf(peak, scores[j]);
  peak = block_max(peak, scratch);
  for (unsigned j = t; j < count; j += blockDim.x) sum += scores[j] = expf(scores[j] - peak);
  sum = block_sum(sum, scratch);  // its barriers also make the weights of all threads visible
  for (unsigned d = t; d < s.Dim; d += blockDim.x) {
    float total = 0;
    for (unsigned j = 0; j < count; j++) total += scores[j] * step::vector(qkv, cache, mem, 2, row, j, count, s)[d];
    y[(size_t)row * s.Dim + d] = count ? total / sum : nanf("");
  }
}
