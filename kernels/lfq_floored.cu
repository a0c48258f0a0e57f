// LFQ's loss with a floor inside the logarithm, by the factors of lfq.cu: of token n
// code (a,b) has the probability p = A_a·B_b and the surprise -log max(p, 1e-5) =
// min(-log A_a - log B_b, 11.5), so that no array has a value for each token and code
// and no loop over codes a logarithm.
//
//   lfq_floored_entropies  sum over codes of p·surprise; a block has a token and book
//   lfq_floored_terms      parts [b,3] of the loss, as lfq_terms
//   lfq_floored_slopes     S = (surprise(mean) - [mean >= 1e-5])/(N·books); a thread a value
//   lfq_floored_grad       dz; a block has a token and book. With g the slope of its own
//                          p·surprise and R = S·B, Q = A·S of matmul, for a high bit i
//                          d/du_i = sum_a A_a (R_a + sum_b B_b g_ab) (bit_i(a) - sigmoid(u_i))
//
// Definition: lfq_floored.go.
#include "common.cuh"

constexpr int HALF = 1 << 10;  // values of a factor at most: 2^20 codes
constexpr float MIN_PROBABILITY = 1e-5f, MAX_SURPRISE = 11.512925464970229f;

__device__ inline float surprise(float p) { return -logf(fmaxf(p, MIN_PROBABILITY)); }

// A token's factor and the surprises of its values; both hold HALF values.
__device__ inline void load_factor(float* f, float* surprises, const float* from, unsigned n) {
  for (unsigned i = threadIdx.x; i < n; i += blockDim.x) {
    f[i] = from[i];
    surprises[i] = -logf(from[i]);  // infinite for 0: the floor holds
  }
}

// A [books,tokens,2^high], B [books,tokens,2^low], entropies [books·tokens].
extern "C" __global__ void lfq_floored_entropies(float* entropies, const float* A, const float* B, unsigned high, unsigned low) {
  __shared__ float a[HALF], b[HALF], la[HALF], lb[HALF], part[32];
  load_factor(a, la, A + ((size_t)blockIdx.x << high), 1u << high);
  load_factor(b, lb, B + ((size_t)blockIdx.x << low), 1u << low);
  __syncthreads();
  float sum = 0;
  for (unsigned i = threadIdx.x; i < 1u << (high + low); i += blockDim.x) {
    unsigned h = i >> low, l = i & ((1u << low) - 1);
    sum += a[h] * b[l] * fminf(la[h] + lb[l], MAX_SURPRISE);
  }
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) entropies[blockIdx.x] = sum;
}

// size is the absolute value of a code's coordinates. rows is tokens·books, values the
// length of z, codes that of mean.
extern "C" __global__ void lfq_floored_terms(float* parts, const float* entropies, const float* z, const float* mean, unsigned rows, unsigned values, unsigned codes,
                                             unsigned books, float size) {
  __shared__ float part[32];
  float sample = 0, batch = 0, commitment = 0;
  for (unsigned i = thread_number(); i < max(values, codes); i += gridDim.x * blockDim.x) {
    if (i < rows) sample += entropies[i];
    if (i < values) {
      float d = z[i] - (z[i] > 0 ? size : -size);
      commitment += d * d;
    }
    if (i < codes) batch += mean[i] * surprise(mean[i]);
  }
  sample = block_sum(sample, part);
  batch = block_sum(batch, part);
  commitment = block_sum(commitment, part);
  if (threadIdx.x) return;
  parts += 3 * blockIdx.x;
  parts[0] = sample / rows;
  parts[1] = batch / books;
  parts[2] = commitment / values;
}

extern "C" __global__ void lfq_floored_slopes(float* s, const float* mean, unsigned n, float tokens) {
  unsigned i = thread_number();
  if (i < n) s[i] = (surprise(mean[i]) - (mean[i] >= MIN_PROBABILITY)) / tokens;
}

// The sum over a factor's other half of its probabilities times the slopes of p·surprise.
__device__ inline float floored_slope(float l, const float* other, const float* surprises, unsigned n) {
  float sum = 0;
  for (unsigned i = 0; i < n; i++) {
    float s = l + surprises[i];
    sum += other[i] * (s <= MAX_SURPRISE ? s - 1 : MAX_SURPRISE);
  }
  return sum;
}

extern "C" __global__ void lfq_floored_grad(float* dz, const float* dterms, const float* z, const float* A, const float* R, const float* B, const float* Q, unsigned values,
                                            unsigned tokens, unsigned books, unsigned high, unsigned low, float inv, float size) {
  __shared__ float a[HALF], b[HALF], la[HALF], lb[HALF], ga[HALF], gb[HALF];
  unsigned token = blockIdx.x % tokens, book = blockIdx.x / tokens, bits = high + low;
  float own = dterms[0] / ((float)tokens * books);
  load_factor(a, la, A + ((size_t)blockIdx.x << high), 1u << high);
  load_factor(b, lb, B + ((size_t)blockIdx.x << low), 1u << low);
  R += (size_t)blockIdx.x << high;
  Q += (size_t)blockIdx.x << low;
  __syncthreads();
  // Each factor's values times the slopes of their codes.
  for (unsigned i = threadIdx.x; i < 1u << high; i += blockDim.x) ga[i] = a[i] * (own * floored_slope(la[i], b, lb, 1u << low) + dterms[1] * R[i]);
  for (unsigned i = threadIdx.x; i < 1u << low; i += blockDim.x) gb[i] = b[i] * (own * floored_slope(lb[i], a, la, 1u << high) + dterms[1] * Q[i]);
  __syncthreads();
  for (unsigned bit = threadIdx.x / 32; bit < bits; bit += blockDim.x / 32) {  // a warp has a bit
    const float* g = bit < high ? ga : gb;
    unsigned count = bit < high ? high : low, place = bit < high ? high - 1 - bit : bits - 1 - bit;
    size_t at = ((size_t)token * books + book) * bits + bit;
    float u = inv * z[at], on = sigmoid(u), off = sigmoid(-u), sum = 0;
    for (unsigned i = threadIdx.x % 32; i < 1u << count; i += 32) sum += g[i] * (i >> place & 1 ? off : -on);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) dz[at] = inv * sum + dterms[2] * 2 * (z[at] - (z[at] > 0 ? size : -size)) / values;
  }
}
