// The loss of finite scalar quantization. The probability of a code is the product of those of its
// levels, p[n,j] = product over channels i of P[n,i,j_i]; no array has a value per token and code.
//
//   fsq_factors    P: softmax over the levels of scale·z·value; one thread per token and channel
//   fsq_mean       mean over tokens of p; one thread per code
//   fsq_entropies  sum over codes of -p·log max(p, 1e-5); one block per token and codebook
//   fsq_terms      partial sums [blocks,3] of the loss
//   fsq_loss_grad  dz_i = scale·sum over codes of p·g·(value_i - mean value_i), g the slope of the
//                  entropies in p; one block per token and codebook
//
// Definition: fsq_loss.go.
#include "common.cuh"

struct LevelCounts { int count[8]; };

namespace fsq_codes {

constexpr float MIN_PROBABILITY = 1e-5f;

__device__ inline float surprise(float p) { return -logf(fmaxf(p, MIN_PROBABILITY)); }
__device__ inline float surprise_slope(float p) { return surprise(p) - (p >= MIN_PROBABILITY); }
__device__ inline float value(int digit, int levels) { return float(digit - levels / 2) / float(levels / 2); }

// The probability of a code of the token whose levels have the probabilities p.
__device__ inline float probability(const float* p, unsigned code, int dims, const LevelCounts& levels) {
  float q = 1;
  for (int i = 0; i < dims; i++) {
    q *= p[code % levels.count[i]];
    code /= levels.count[i];
    p += levels.count[i];
  }
  return q;
}

// The value of the level that z is rounded to, in double precision as in fsq.cu.
__device__ inline double rounded(float z, int levels) {
  double radius = (levels - 1) * 1.001 / 2, offset = levels % 2 ? 0 : .5;
  return rint(tanh(z + atanh(offset / radius)) * radius - offset) / (levels / 2);
}

}  // namespace fsq_codes

// width is the number of levels of all channels.
extern "C" __global__ void fsq_factors(float* P, const float* z, unsigned n, int dims, LevelCounts levels, unsigned width, float scale) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  int channel = k % dims, count = levels.count[channel];
  float* p = P + (size_t)(k / dims) * width;
  for (int i = 0; i < channel; i++) p += levels.count[i];
  float logit = scale * z[k], top = fmaxf(logit * fsq_codes::value(0, count), logit * fsq_codes::value(count - 1, count)), sum = 0;
  for (int j = 0; j < count; j++) sum += p[j] = expf(logit * fsq_codes::value(j, count) - top);
  for (int j = 0; j < count; j++) p[j] /= sum;
}

// n is the number of codes of all books.
extern "C" __global__ void fsq_mean(float* mean, const float* P, unsigned n, unsigned codes, unsigned tokens, unsigned books, int dims, LevelCounts levels,
                                    unsigned width) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  float sum = 0;
  for (unsigned t = 0; t < tokens; t++) sum += fsq_codes::probability(P + (size_t)(t * books + k / codes) * width, k % codes, dims, levels);
  mean[k] = sum / tokens;
}

extern "C" __global__ void fsq_entropies(float* entropies, const float* P, unsigned codes, int dims, LevelCounts levels, unsigned width) {
  __shared__ float partial[32];
  const float* p = P + (size_t)blockIdx.x * width;
  float sum = 0;
  for (unsigned j = threadIdx.x; j < codes; j += blockDim.x) {
    float q = fsq_codes::probability(p, j, dims, levels);
    sum += q * fsq_codes::surprise(q);
  }
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) entropies[blockIdx.x] = sum;
}

// codes are those of all books, rows tokens·books.
extern "C" __global__ void fsq_terms(float* partials, const float* entropies, const float* z, const float* mean, unsigned rows, unsigned dims, unsigned codes, unsigned books,
                                     LevelCounts levels) {
  __shared__ float part[32];
  float sample = 0, batch = 0, commitment = 0;
  for (unsigned i = global_thread_id(); i < max(rows * dims, codes); i += gridDim.x * blockDim.x) {
    if (i < rows) sample += entropies[i];
    if (i < rows * dims) {
      float d = (float)(z[i] - fsq_codes::rounded(z[i], levels.count[i % dims]));
      commitment += d * d;
    }
    if (i < codes) batch += mean[i] * fsq_codes::surprise(mean[i]);
  }
  sample = block_sum(sample, part);
  batch = block_sum(batch, part);
  commitment = block_sum(commitment, part);
  if (threadIdx.x) return;
  partials += 3 * blockIdx.x;
  partials[0] = sample / rows;
  partials[1] = batch / books;
  partials[2] = commitment / (rows * dims);
}

extern "C" __global__ void fsq_loss_grad(float* dz, const float* dterms, const float* z, const float* P, const float* mean, unsigned rows, unsigned books, unsigned codes,
                                         int dims, LevelCounts levels, unsigned width, float scale) {
  __shared__ float partial[32];
  const float* p = P + (size_t)blockIdx.x * width;
  mean += (size_t)(blockIdx.x % books) * codes;
  float centre[8], sum[8] = {};
  const float* of = p;
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (i == dims) break;
    centre[i] = 0;
    for (int j = 0; j < levels.count[i]; j++) centre[i] += of[j] * fsq_codes::value(j, levels.count[i]);
    of += levels.count[i];
  }
  for (unsigned j = threadIdx.x; j < codes; j += blockDim.x) {
    float q = fsq_codes::probability(p, j, dims, levels);
    float g = q * (dterms[0] * fsq_codes::surprise_slope(q) + dterms[1] * fsq_codes::surprise_slope(mean[j]));
    unsigned rest = j;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      if (i == dims) break;
      sum[i] += g * (fsq_codes::value(rest % levels.count[i], levels.count[i]) - centre[i]);
      rest /= levels.count[i];
    }
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    if (i == dims) break;
    float total = block_sum(sum[i], partial);
    if (threadIdx.x) continue;
    size_t at = (size_t)blockIdx.x * dims + i;
    float d = (float)(z[at] - fsq_codes::rounded(z[at], levels.count[i]));
    dz[at] = scale * total / rows + dterms[2] * 2 * d / (rows * dims);
  }
}
