// Lookup-free quantization, and its loss by factors: with u = 4·InvTemp·z the
// probability of a code is a product over its bits, so that of its first bits (high)
// times that of the others (low),
//
//   p[n,j] = A[n, j / 2^low]·B[n, j mod 2^low],  mean[j] = (1/N) sum_n A·B
//
// and no array has a value for each token and code.
//
//   lfq_sign, lfq_index, lfq_values  the codes; a thread a value, a code, a code
//   lfq_factors   A [books,N,2^high] or B [books,N,2^low]; a thread a value
//   matmul        c[i,j] = scale·sum_k x[i,k] y[k,j]; a block 16×16 results of a book
//                 and a part of k, read through 16×16 tiles
//   lfq_terms     parts [b,3] of the loss; a thread a value of z and a value of mean
//   lfq_slopes    S = -log(mean)/(N·books), 0 where mean is; a thread a value
//   lfq_grad      dz; a thread a value. R = S·B and Q = A·S are matmul's:
//                 for a high bit i, d(batch entropy)/du_i = sum_a A[a] R[a] (bit_i(a) - sigmoid(u_i))
//
// Definition: lfq.go.
#include "common.cuh"

__device__ inline float sign(float z) { return z > 0 ? 1 : -1; }

extern "C" __global__ void lfq_sign(float* q, const float* z, unsigned n) {
  unsigned i = thread_number();
  if (i < n) q[i] = sign(z[i]);
}

extern "C" __global__ void lfq_index(float* idx, const float* z, unsigned codes, unsigned bits) {
  unsigned n = thread_number();
  if (n >= codes) return;
  unsigned code = 0;
  for (unsigned i = 0; i < bits; i++) code = 2 * code + (z[n * bits + i] > 0);
  idx[n] = (float)code;
}

extern "C" __global__ void lfq_values(float* q, const float* idx, unsigned codes, unsigned bits) {
  unsigned n = thread_number();
  if (n >= codes) return;
  unsigned code = (unsigned)idx[n];
  for (unsigned i = 0; i < bits; i++) q[n * bits + i] = code >> (bits - 1 - i) & 1 ? 1 : -1;
}

// first and count are the bits of this factor; n is books·tokens·2^count.
extern "C" __global__ void lfq_factors(float* f, const float* z, unsigned n, unsigned tokens, unsigned books, unsigned bits, unsigned first, unsigned count, float inv) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned part = i & ((1u << count) - 1), token = (i >> count) % tokens, book = (i >> count) / tokens;
  z += (token * books + book) * bits + first;
  float p = 1;
  for (unsigned b = 0; b < count; b++) {
    float u = inv * z[b];
    p *= sigmoid(part >> (count - 1 - b) & 1 ? u : -u);
  }
  f[i] = p;
}

// x[i,k] is x[i·xi + k·xk], y[k,j] is y[k·yk + j·yj], both behind a batch's xb, yb
// values. blockIdx.x has the tiles of c, y the batch, z the part of k; parts lie
// behind each other, each of all batches.
extern "C" __global__ void matmul(float* c, const float* x, const float* y, unsigned m, unsigned n, unsigned k, unsigned xb, unsigned xi, unsigned xk,
                                  unsigned yb, unsigned yk, unsigned yj, unsigned chunk, float scale) {
  __shared__ float xs[16][17], ys[16][17];
  unsigned tiles = (n + 15) / 16, tx = threadIdx.x, ty = threadIdx.y;
  unsigned i0 = blockIdx.x / tiles * 16, j0 = blockIdx.x % tiles * 16;
  x += (size_t)blockIdx.y * xb;
  y += (size_t)blockIdx.y * yb;
  unsigned from = blockIdx.z * chunk, to = min(k, from + chunk);
  float sum = 0;
  for (unsigned at = from; at < to; at += 16) {
    xs[ty][tx] = i0 + ty < m && at + tx < to ? x[(size_t)(i0 + ty) * xi + (size_t)(at + tx) * xk] : 0;
    ys[ty][tx] = at + ty < to && j0 + tx < n ? y[(size_t)(at + ty) * yk + (size_t)(j0 + tx) * yj] : 0;
    __syncthreads();
    for (int l = 0; l < 16; l++) sum += xs[ty][l] * ys[l][tx];
    __syncthreads();
  }
  if (i0 + ty < m && j0 + tx < n)
    c[((size_t)(blockIdx.z * gridDim.y + blockIdx.y) * m + i0 + ty) * n + j0 + tx] = scale * sum;
}

// The entropy of a bit that is 1 with probability sigmoid(u).
__device__ inline float binary_entropy(float u) {
  float a = fabsf(u), e = expf(-a);
  return e == 0 ? 0 : log1pf(e) + a * e / (1 + e);
}

// values is the length of z, codes that of mean, books·2^bits.
extern "C" __global__ void lfq_terms(float* parts, const float* z, const float* mean, unsigned values, unsigned codes, unsigned tokens, unsigned books, float inv) {
  __shared__ float part[32];
  float sample = 0, batch = 0, commitment = 0;
  for (unsigned i = thread_number(); i < max(values, codes); i += gridDim.x * blockDim.x) {
    if (i < values) {
      float d = z[i] - sign(z[i]);
      sample += binary_entropy(inv * z[i]);
      commitment += d * d;
    }
    if (i < codes && mean[i] > 0) batch -= mean[i] * logf(mean[i]);
  }
  sample = block_sum(sample, part);
  batch = block_sum(batch, part);
  commitment = block_sum(commitment, part);
  if (threadIdx.x) return;
  parts += 3 * blockIdx.x;
  parts[0] = sample / ((float)tokens * books);
  parts[1] = batch / books;
  parts[2] = commitment / values;
}

extern "C" __global__ void lfq_slopes(float* s, const float* mean, unsigned n, float tokens) {
  unsigned i = thread_number();
  if (i < n) s[i] = mean[i] > 0 ? -logf(mean[i]) / tokens : 0;
}

extern "C" __global__ void lfq_grad(float* dz, const float* dterms, const float* z, const float* A, const float* R, const float* B, const float* Q, unsigned n, unsigned tokens,
                                    unsigned books, unsigned high, unsigned low, float inv) {
  unsigned i = thread_number();
  if (i >= n) return;
  unsigned bits = high + low, bit = i % bits, book = i / bits % books, token = i / bits / books;
  bool first = bit < high;
  unsigned count = first ? high : low, place = first ? high - 1 - bit : bits - 1 - bit;
  size_t at = ((size_t)book * tokens + token) << count;
  const float *f = (first ? A : B) + at, *g = (first ? R : Q) + at;
  float u = inv * z[i], on = sigmoid(u), off = sigmoid(-u), batch = 0;
  for (unsigned j = 0; j < 1u << count; j++) batch += f[j] * g[j] * (j >> place & 1 ? off : -on);
  float sample = -u * on * off / ((float)tokens * books);
  dz[i] = inv * (dterms[0] * sample + dterms[1] * batch) + dterms[2] * 2 * (z[i] - sign(z[i])) / n;
}
