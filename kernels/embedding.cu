// Sums of rows of a table, and the gradient of the table:
//
//   embedding       y_rc = sum_k table[ids_rk]_c; negative ids add nothing, ids of vocab or
//                   more give NaN; a thread per value
//   embedding_grad  dtable_vc = sum of dy_rc over the i = r·Ids + k with ids_i = v, of one
//                   split of i; a CTA per row v and split. Its threads compare one id each,
//                   then each thread adds the channels of the matches in ascending order: no
//                   atomics, the same bits always
//
// Definition: embedding.go.
#include "common.cuh"

template <class T>
__device__ inline void embed(T* y, const float* ids, const float* table, unsigned n, unsigned Ids, unsigned vocab, unsigned C) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned r = i / C, c = i % C;
  float sum = 0;
  for (unsigned k = 0; k < Ids; k++) {
    float id = ids[(size_t)r * Ids + k];
    if (id < 0) continue;
    sum += id < vocab ? table[(size_t)id * C + c] : nanf("");
  }
  y[i] = as<T>(sum);
}

template <class T>
__device__ inline void embed_grad(float* dtable, const T* dy, const float* ids, unsigned n, unsigned Ids, unsigned vocab, unsigned C, unsigned chunk) {
  __shared__ unsigned matches[32];  // a bit for each thread of a warp
  unsigned t = threadIdx.x, begin = blockIdx.y * chunk, end = min(n, begin + chunk);
  dtable += ((size_t)blockIdx.y * vocab + blockIdx.x) * C;
  for (unsigned c = t; c - t < C; c += blockDim.x) {
    float total = 0;
    for (unsigned from = begin; from < end; from += blockDim.x) {
      unsigned ballot = __ballot_sync(FULL_MASK, from + t < end && ids[from + t] == blockIdx.x);
      __syncthreads();  // the matches of the last pass may still be read
      if (t % 32 == 0) matches[t / 32] = ballot;
      __syncthreads();
      float sum = 0;
      for (unsigned w = 0; w < blockDim.x / 32 && c < C; w++)
        if (unsigned bits = matches[w])
          for (unsigned lane = 0; lane < 32; lane++)
            if (bits >> lane & 1) sum += load(dy[(size_t)((from + 32 * w + lane) / Ids) * C + c]);
      total += sum;
    }
    if (c < C) dtable[c] = total;
  }
}

#define EMBEDDINGS(T, SUFFIX)                                                                                                                                      \
  extern "C" __global__ void embedding##SUFFIX(T* y, const float* ids, const float* table, unsigned n, unsigned Ids, unsigned vocab, unsigned C) {                  \
    embed(y, ids, table, n, Ids, vocab, C);                                                                                                                         \
  }                                                                                                                                                                 \
  extern "C" __global__ void embedding_grad##SUFFIX(float* dtable, const T* dy, const float* ids, unsigned n, unsigned Ids, unsigned vocab, unsigned C, unsigned chunk) { \
    embed_grad(dtable, dy, ids, n, Ids, vocab, C, chunk);                                                                                                           \
  }

EMBEDDINGS(float, )
EMBEDDINGS(bfloat, _half)
