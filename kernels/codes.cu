// The histogram of codes:
//
//   code_counts  counts[idx[i]] += 1, of counts that are zero; a thread an index
//
// Whole numbers below 2^24 are exact in float32, so no order of the additions matters.
// Definition: codes.go.
#include "common.cuh"

extern "C" __global__ void code_counts(float* counts, const float* idx, unsigned tokens, float codes) {
  unsigned i = thread_number();
  if (i < tokens && idx[i] >= 0 && idx[i] < codes) atomicAdd(counts + (unsigned)idx[i], 1.f);
}
