// LFQ's loss with a floor inside the logarithm, from the factors of lfq.cu: code (a,b) of a token
// has probability p = A_a·B_b and surprise -log max(p, 1e-5) = min(-log A_a - log B_b, 11.5). So
// no array has a value per token and code, and the loop over codes has no logarithm.
//
//   lfq_floored_entropies  sum over codes of p·surprise; one block per token and codebook
//   lfq_floored_terms      partial sums [blocks,3] of the loss, as lfq_terms
//   lfq_floored_slopes     S = (surprise(mean) - [mean >= 1e-5])/(N·books); one thread per value
//   lfq_floored_grad       dz; one block per token and codebook. With g the derivative of the token's own
//                          p·surprise and R = S·B, Q = A·S of matmul, for a high bit i
//                          d/du_i = sum_a A_a (R_a + sum_b B_b g_ab) (bit_i(a) - sigmoid(u_i))
//
// Computed, not measured: for 5120 tokens with codes of 18 bits the entropies take three
// instructions per code, 0.14 ms on an H100's 132·128 lanes at 1.75 GHz, the gradient ten, 0.5 ms;
// with 10 bits both take some microseconds.
//
// Definition: lfq_floored.go.
#include "common.cuh"

constexpr int HALF = 1 << 10;  // the most values of a factor: 2^20 codes
constexpr float MIN_PROBABILITY = 1e-5f, MAX_SURPRISE = 11.512925464970229f;

__device__ inline float surprise(float p) { return -logf(fmaxf(p, MIN_PROBABILITY)); }

// A value of a factor. Its surprise is infinite where p is 0: the floor holds.
struct alignas(8) Factor { float p, surprise; };

// Loads a token's factor, padded to a multiple of 4 with values that add nothing.
__device__ inline void load_factor(Factor* f, const float* from, unsigned n) {
  for (unsigned i = threadIdx.x; i < (n + 3) / 4 * 4; i += blockDim.x) f[i] = i < n ? Factor{from[i], -logf(from[i])} : Factor{0, 0};
}

// A [books,tokens,2^high], B [books,tokens,2^low], entropies [books·tokens]. A thread
// has four values of B and loops over its share of A.
extern "C" __global__ void __launch_bounds__(256) lfq_floored_entropies(float* entropies, const float* A, const float* B, unsigned high, unsigned low) {
  __shared__ Factor a[HALF], b[HALF];
  __shared__ float part[32];
  load_factor(a, A + ((size_t)blockIdx.x << high), 1u << high);
  load_factor(b, B + ((size_t)blockIdx.x << low), 1u << low);
  __syncthreads();
  unsigned teams = low > 2 ? 1u << (low - 2) : 1;  // threads that have different values of B: at most HALF/4
  const Factor* mine = b + threadIdx.x % teams * 4;
  float p[4], s[4], sum = 0;
#pragma unroll
  for (int e = 0; e < 4; e++) p[e] = mine[e].p, s[e] = mine[e].surprise;
#pragma unroll 4
  for (unsigned h = threadIdx.x / teams; h < 1u << high; h += blockDim.x / teams) {
    Factor f = a[h];
    float inner = 0;
#pragma unroll
    for (int e = 0; e < 4; e++) inner += p[e] * fminf(f.surprise + s[e], MAX_SURPRISE);
    sum += f.p * inner;
  }
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) entropies[blockIdx.x] = sum;
}

// size is the absolute value of a code's coordinates; rows is tokens·books, values the
// length of z, codes that of mean.
extern "C" __global__ void lfq_floored_terms(float* partials, const float* entropies, const float* z, const float* mean, unsigned rows, unsigned values, unsigned codes,
                                             unsigned books, float size) {
  __shared__ float part[32];
  float sample = 0, batch = 0, commitment = 0;
  for (unsigned i = global_thread_id(); i < max(values, codes); i += gridDim.x * blockDim.x) {
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
  partials += 3 * blockIdx.x;
  partials[0] = sample / rows;
  partials[1] = batch / books;
  partials[2] = commitment / values;
}

extern "C" __global__ void lfq_floored_slopes(float* s, const float* mean, unsigned n, float tokens) {
  unsigned i = global_thread_id();
  if (i < n) s[i] = (surprise(mean[i]) - (mean[i] >= MIN_PROBABILITY)) / tokens;
}

// g_i = f_i·(own·sum_j other_j.p·slope of (i,j)'s p·surprise + batch·along_i): a thread
// has two values of f at once.
__device__ inline void floored_slopes(float* g, const Factor* f, unsigned n, const Factor* other, unsigned others, float own, float batch, const float* along) {
  for (unsigned i = threadIdx.x; i < n; i += 2 * blockDim.x) {
    unsigned at[2] = {i, min(i + blockDim.x, n - 1)};
    float l[2] = {f[at[0]].surprise, f[at[1]].surprise}, sum[2] = {};
#pragma unroll 4
    for (unsigned j = 0; j < others; j++) {
      Factor o = other[j];
#pragma unroll
      for (int e = 0; e < 2; e++) {
        float s = l[e] + o.surprise;
        sum[e] += o.p * (s <= MAX_SURPRISE ? s - 1 : MAX_SURPRISE);
      }
    }
#pragma unroll
    for (int e = 0; e < 2; e++)
      if (i + e * blockDim.x < n) g[at[e]] = f[at[e]].p * (own * sum[e] + batch * along[at[e]]);
  }
}

extern "C" __global__ void __launch_bounds__(256) lfq_floored_grad(float* dz, const float* dterms, const float* z, const float* A, const float* R, const float* B, const float* Q,
                                                                   unsigned values, unsigned tokens, unsigned books, unsigned high, unsigned low, float inv, float size) {
  __shared__ Factor a[HALF], b[HALF];
  __shared__ float ga[HALF], gb[HALF];
  unsigned token = blockIdx.x % tokens, book = blockIdx.x / tokens, bits = high + low;
  float own = dterms[0] / ((float)tokens * books);
  load_factor(a, A + ((size_t)blockIdx.x << high), 1u << high);
  load_factor(b, B + ((size_t)blockIdx.x << low), 1u << low);
  __syncthreads();
  floored_slopes(ga, a, 1u << high, b, 1u << low, own, dterms[1], R + ((size_t)blockIdx.x << high));
  floored_slopes(gb, b, 1u << low, a, 1u << high, own, dterms[1], Q + ((size_t)blockIdx.x << low));
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
