// The histogram of codes:
//
//   code_counts  counts[idx[i]] += 1; counts are 0 before the launch
//
// One thread per index. Integers below 2^24 are exact in float32, so the order of the
// atomic additions does not matter.
//
// Definition: codes.go.
#include "common.cuh"

extern "C" __global__ void code_counts(float* counts, const float* idx, unsigned tokens, float codes) {
  unsigned i = global_thread_id();
  if (i < tokens && idx[i] >= 0 && idx[i] < codes) atomicAdd(counts + (unsigned)idx[i], 1.f);
}
