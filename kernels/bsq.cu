// The loss of binary spherical quantization: with t = inv·u the probability of a bit is
// p = sigmoid(t), and m is its mean over the tokens, sums/count; or over those of a whole step, which is
// given, with a count of 1.
//
//   bsq_probabilities  p; a thread per value; sum_rows adds them up over the tokens
//   bsq_means          m; a thread per column
//   bsq_terms          partial sums [ctas,3] of the loss; a thread takes values of u and the
//                      entropies of columns
//   bsq_grad           du = inv·p·(1-p)/(tokens·books)·(-t·dterms[0] + log((1-m)/m)·dterms[1])
//                      + 2·(u - c)/n·dterms[2]; a thread per value
//
// Definition: bsq.go, bsq_step.go.
#include "common.cuh"

// The entropy of a bit with these odds; it is 0 where one of the two probabilities is.
__device__ inline float bit_entropy(float p) { return p > 0 && p < 1 ? -p * logf(p) - (1 - p) * log1pf(-p) : 0; }

// The same of a bit with probability sigmoid(t).
__device__ inline float logit_entropy(float t) {
  float a = fabsf(t), e = expf(-a);
  return e == 0 ? 0 : log1pf(e) + a * e / (1 + e);
}

extern "C" __global__ void bsq_probabilities(float* p, const float* u, unsigned n, float inv) {
  unsigned i = global_thread_id();
  if (i < n) p[i] = sigmoid(inv * u[i]);
}

extern "C" __global__ void bsq_means(float* mean, const float* sums, unsigned columns, unsigned tokens) {
  unsigned i = global_thread_id();
  if (i < columns) mean[i] = sums[i] / tokens;
}

extern "C" __global__ void bsq_terms(float* parts, const float* u, const float* sums, unsigned n, unsigned columns, unsigned tokens, unsigned books, unsigned count, float inv,
                                     float radius) {
  __shared__ float part[32];
  float sample = 0, codebook = 0, commitment = 0;
  for (unsigned i = global_thread_id(); i < n; i += gridDim.x * blockDim.x) {
    float d = u[i] - (u[i] > 0 ? radius : -radius);
    sample += logit_entropy(inv * u[i]);
    commitment += d * d;
    if (i < columns) codebook += bit_entropy(sums[i] / count);
  }
  sample = block_sum(sample, part);
  codebook = block_sum(codebook, part);
  commitment = block_sum(commitment, part);
  if (threadIdx.x) return;
  parts += 3 * blockIdx.x;
  parts[0] = sample / ((float)tokens * books);
  parts[1] = codebook / books;
  parts[2] = commitment / n;
}

extern "C" __global__ void bsq_grad(float* du, const float* dterms, const float* u, const float* sums, unsigned n, unsigned columns, unsigned tokens, unsigned books,
                                    unsigned count, float inv, float radius) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  float t = inv * u[i], dp = inv * sigmoid(t) * sigmoid(-t) / ((float)tokens * books), m = sums[i % columns] / count;
  float column = m > 0 && m < 1 ? logf((1 - m) / m) : 0, d = u[i] - (u[i] > 0 ? radius : -radius);
  du[i] = dp * (dterms[1] * column - dterms[0] * t) + dterms[2] * 2 * d / n;
}
