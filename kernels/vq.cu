// Vector quantization with a codebook that follows the latents of each code.
//
//   vq_index       idx = argmin_j |z - e_j|², the first of equally near codes; a CTA per
//                  token and book, its threads take every 256th code
//   vq_values      q = e_idx; a thread per value
//   vq_statistics  sum and number of the latents of each code; a thread per column of a
//                  code goes through all tokens in order: no atomics, the same bits always
//   vq_samples     the latent of the token that picks names, 0 outside of the batch; a
//                  thread per value
//   vq_average     average += rate·(stats - average); a thread per value
//   vq_total       N = sum_j n_j of a book; a CTA per book
//   vq_codebook    e = m/s with Laplace smoothing; dead codes become their samples; a
//                  thread per code
//
// Distances and totals are in double precision: a code must be the one that the definition
// finds. The last two columns of average are the sum's and the number's.
// Definition: vq.go.
#include "common.cuh"

constexpr double MIN_LENGTH = 1e-12, FARTHEST = 1.7976931348623157e308;

extern "C" __global__ void __launch_bounds__(256) vq_index(float* idx, const float* z, const float* codebook, unsigned rows, unsigned books, unsigned codes, unsigned dim) {
  __shared__ double least[256];
  __shared__ unsigned nearest[256];
  unsigned t = threadIdx.x, row = blockIdx.x;
  z += (size_t)row * dim;
  codebook += (size_t)(row % books) * codes * dim;
  double best = FARTHEST;
  unsigned code = 0;
  for (unsigned j = t; j < codes; j += blockDim.x) {
    const float* e = codebook + (size_t)j * dim;
    double d = 0;
    for (unsigned i = 0; i < dim; i++) {
      double v = (double)z[i] - e[i];
      d += v * v;
    }
    if (d < best) best = d, code = j;
  }
  least[t] = best, nearest[t] = code;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half && (least[t + half] < least[t] || (least[t + half] == least[t] && nearest[t + half] < nearest[t]))) {
      least[t] = least[t + half], nearest[t] = nearest[t + half];
    }
  }
  if (t == 0) idx[row] = (float)nearest[0];
}

extern "C" __global__ void vq_values(float* q, const float* idx, const float* codebook, unsigned n, unsigned books, unsigned codes, unsigned dim) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned row = i / dim;
  q[i] = codebook[((size_t)(row % books) * codes + (unsigned)idx[row]) * dim + i % dim];
}

extern "C" __global__ void vq_statistics(float* stats, const float* z, const float* idx, unsigned n, unsigned tokens, unsigned books, unsigned codes, unsigned dim) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned column = i % (dim + 1), code = i / (dim + 1) % codes, book = i / (dim + 1) / codes;
  double sum = 0;
  for (unsigned t = 0; t < tokens; t++) {
    size_t row = (size_t)t * books + book;
    if ((unsigned)idx[row] == code) sum += column < dim ? (double)z[row * dim + column] : 1;
  }
  stats[i] = (float)sum;
}

extern "C" __global__ void vq_samples(float* samples, const float* z, const float* picks, unsigned n, unsigned tokens, unsigned books, unsigned codes, unsigned dim) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  float token = picks[i / dim];
  bool here = token >= 0 && token < (float)tokens;
  samples[i] = here ? z[((size_t)(unsigned)token * books + i / dim / codes) * dim + i % dim] : 0;
}

extern "C" __global__ void vq_average(float* average, const float* stats, const float* guard, unsigned n, float rate) {
  unsigned i = global_thread_id();
  if (i < n && isfinite(*guard)) average[i] += rate * (stats[i] - average[i]);
}

extern "C" __global__ void __launch_bounds__(256) vq_total(double* totals, const float* average, unsigned codes, unsigned dim) {
  __shared__ double part[256];
  unsigned t = threadIdx.x;
  average += (size_t)blockIdx.x * codes * (dim + 1);
  double sum = 0;
  for (unsigned j = t; j < codes; j += blockDim.x) sum += average[(size_t)j * (dim + 1) + dim];
  part[t] = sum;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (t < half) part[t] += part[t + half];
  }
  if (t == 0) totals[blockIdx.x] = part[0];
}

// e = scale·x, or of norm 1.
__device__ inline void write_code(float* e, const float* x, unsigned dim, double scale, bool spherical) {
  if (spherical) {
    double squares = 0;
    for (unsigned i = 0; i < dim; i++) squares += (x[i] * scale) * (x[i] * scale);
    scale /= fmax(sqrt(squares), MIN_LENGTH);
  }
  for (unsigned i = 0; i < dim; i++) e[i] = (float)(scale * x[i]);
}

extern "C" __global__ void vq_codebook(float* codebook, float* average, const float* samples, const double* totals, const float* guard, unsigned n, unsigned codes, unsigned dim,
                                       float eps, float dead, unsigned spherical) {
  unsigned i = global_thread_id();
  if (i >= n || !isfinite(*guard)) return;
  float *e = codebook + (size_t)i * dim, *m = average + (size_t)i * (dim + 1);
  double total = totals[i / codes], mean = total / codes, count = m[dim];
  if (count > 0) write_code(e, m, dim, (total + codes * (double)eps) / (total * (count + eps)), spherical);
  const float* sample = samples + (size_t)i * dim;
  bool given = false;
  for (unsigned k = 0; k < dim; k++) given = given || sample[k] != 0;
  if (!(count < dead * mean) || !given) return;
  write_code(e, sample, dim, 1, spherical);
  for (unsigned k = 0; k < dim; k++) m[k] = (float)(e[k] * mean);
  m[dim] = (float)mean;
}
