// Lookup-free quantization, and its loss in factored form. With u = 4·InvTemp·z the probability
// of a code is a product over its bits: that of its first bits (high) times that of the rest (low),
//
//   p[n,j] = A[n, j / 2^low]·B[n, j mod 2^low],  mean[j] = (1/N) sum_n A·B
//
// so no array has a value per token and code.
//
//   lfq_sign, lfq_index, lfq_values  codes; one thread per value, code, code
//   lfq_factors   A [books,N,2^high] and B [books,N,2^low]; one thread per value
//   matmul        c[i,j] = scale·sum_k x[i,k] y[k,j]; a block has a 64×64 tile of a codebook and
//                 a split of K, a thread 8×4 of it; the next 16 K are prefetched into registers
//   lfq_terms     partial sums [blocks,3] of the loss; one thread per value of z and of mean
//   lfq_slopes    S = -log(mean)/(N·books), 0 where mean is 0; with an offset the derivative of
//                 -mean·log(mean + offset); one thread per value
//   lfq_grad      dz; one thread per value. R = S·B and Q = A·S come from matmul:
//                 for a high bit i, d(batch entropy)/du_i = sum_a A[a] R[a] (bit_i(a) - sigmoid(u_i))
//
// Computed, not measured: for 5120 tokens the GEMMs take 0.01, 0.17 and 2.7 GFLOP with codes of
// 10, 14 and 18 bits, one for the loss, three for the gradient. At half of an H100's 60 TFLOP/s
// of float32 that is 0.1 ms each for 18 bits; with fewer bits, launches dominate.
//
// Definition: lfq.go.
#include "common.cuh"

__device__ inline float sign(float z) { return z > 0 ? 1 : -1; }

extern "C" __global__ void lfq_sign(float* q, const float* z, unsigned n) {
  unsigned i = global_thread_id();
  if (i < n) q[i] = sign(z[i]);
}

extern "C" __global__ void lfq_index(float* idx, const float* z, unsigned codes, unsigned bits, int low_first) {
  unsigned n = global_thread_id();
  if (n >= codes) return;
  unsigned code = 0;
  for (unsigned i = 0; i < bits; i++) code |= (unsigned)(z[n * bits + i] > 0) << (low_first ? i : bits - 1 - i);
  idx[n] = (float)code;
}

extern "C" __global__ void lfq_values(float* q, const float* idx, unsigned codes, unsigned bits, int low_first) {
  unsigned n = global_thread_id();
  if (n >= codes) return;
  unsigned code = (unsigned)idx[n];
  for (unsigned i = 0; i < bits; i++) q[n * bits + i] = code >> (low_first ? i : bits - 1 - i) & 1 ? 1 : -1;
}

// Threads of A come first, then those of B: n = (2^high + 2^low)·books·tokens.
extern "C" __global__ void lfq_factors(float* A, float* B, const float* z, unsigned n, unsigned tokens, unsigned books, unsigned high, unsigned low, float inv) {
  unsigned i = global_thread_id(), all = books * tokens;
  if (i >= n) return;
  bool first = i < all << high;
  if (!first) i -= all << high;
  unsigned count = first ? high : low, part = i & ((1u << count) - 1), token = (i >> count) % tokens, book = (i >> count) / tokens;
  z += (token * books + book) * (high + low) + (first ? 0 : high);
  float p = 1;
  for (unsigned b = 0; b < count; b++) {
    float u = inv * z[b];
    p *= sigmoid(part >> (count - 1 - b) & 1 ? u : -u);
  }
  (first ? A : B)[i] = p;
}

constexpr unsigned MATMUL_TILE = 64, MATMUL_K = 16;

// A row of an MN-major tile [MATMUL_K, MATMUL_TILE], padded by one float4.
using Line = float4[MATMUL_TILE / 4 + 1];

// The loads of a tile: the eight values of a thread are such that adjacent lanes read adjacent
// addresses, of a K-major or MN-major operand.
struct TileLoads {
  const float* x;
  unsigned first, end, row_stride, k_stride;
  bool k_major;

  __device__ TileLoads(const float* x, unsigned first, unsigned end, unsigned row_stride, unsigned k_stride)
      : x(x), first(first), end(end), row_stride(row_stride), k_stride(k_stride), k_major(k_stride == 1) {}
  __device__ unsigned row(unsigned e) const { return k_major ? threadIdx.x / 16 + 8 * e : threadIdx.x % 64; }
  __device__ unsigned k(unsigned e) const { return k_major ? threadIdx.x % 16 : threadIdx.x / 64 + 2 * e; }

  __device__ void fetch(float (&v)[8], unsigned at, unsigned to) const {
#pragma unroll
    for (unsigned e = 0; e < 8; e++) {
      unsigned i = first + row(e), k = at + this->k(e);
      v[e] = i < end && k < to ? x[(size_t)i * row_stride + (size_t)k * k_stride] : 0;
    }
  }
  __device__ void put(Line* tile, const float (&v)[8]) const {
#pragma unroll
    for (unsigned e = 0; e < 8; e++) ((float*)tile[k(e)])[row(e)] = v[e];
  }
};

// x[i,k] is x[i·xi + k·xk], y[k,j] is y[k·yk + j·yj]; xb and yb are the strides between
// batches. blockIdx.x: tile of c. blockIdx.y: batch. blockIdx.z: split of K; c is [splits,batches,m,n].
extern "C" __global__ void __launch_bounds__(128) matmul(float* c, const float* x, const float* y, unsigned m, unsigned n, unsigned k, unsigned xb, unsigned xi, unsigned xk,
                                                         unsigned yb, unsigned yk, unsigned yj, unsigned chunk, float scale) {
  __shared__ Line xs[MATMUL_K], ys[MATMUL_K];
  unsigned tiles = (n + MATMUL_TILE - 1) / MATMUL_TILE, tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  unsigned i0 = blockIdx.x / tiles * MATMUL_TILE, j0 = blockIdx.x % tiles * MATMUL_TILE;
  unsigned from = blockIdx.z * chunk, to = min(k, from + chunk);
  TileLoads lx(x + (size_t)blockIdx.y * xb, i0, m, xi, xk), ly(y + (size_t)blockIdx.y * yb, j0, n, yj, yk);
  float vx[8], vy[8], sum[8][4] = {};
  lx.fetch(vx, from, to);
  ly.fetch(vy, from, to);
  for (unsigned at = from; at < to; at += MATMUL_K) {
    __syncthreads();  // the tiles may still be read
    lx.put(xs, vx);
    ly.put(ys, vy);
    __syncthreads();
    if (at + MATMUL_K < to) {
      lx.fetch(vx, at + MATMUL_K, to);
      ly.fetch(vy, at + MATMUL_K, to);
    }
#pragma unroll
    for (unsigned l = 0; l < MATMUL_K; l++) {
      float4 a = xs[l][2 * ty], b = xs[l][2 * ty + 1], r = ys[l][tx];
      const float left[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}, right[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += left[i] * right[j];
    }
  }
  c += (size_t)(blockIdx.z * gridDim.y + blockIdx.y) * m * n;
#pragma unroll
  for (unsigned i = 0; i < 8; i++)
#pragma unroll
    for (unsigned j = 0; j < 4; j++)
      if (i0 + 8 * ty + i < m && j0 + 4 * tx + j < n) c[(size_t)(i0 + 8 * ty + i) * n + j0 + 4 * tx + j] = scale * sum[i][j];
}

// The entropy of a bit that is 1 with probability sigmoid(u).
__device__ inline float binary_entropy(float u) {
  float a = fabsf(u), e = expf(-a);
  return e == 0 ? 0 : log1pf(e) + a * e / (1 + e);
}

// values is the length of z, codes that of mean, books·2^bits.
extern "C" __global__ void lfq_terms(float* partials, const float* z, const float* mean, unsigned values, unsigned codes, unsigned tokens, unsigned books, float inv,
                                     float offset) {
  __shared__ float part[32];
  float sample = 0, batch = 0, commitment = 0;
  for (unsigned i = global_thread_id(); i < max(values, codes); i += gridDim.x * blockDim.x) {
    if (i < values) {
      float d = z[i] - sign(z[i]);
      sample += binary_entropy(inv * z[i]);
      commitment += d * d;
    }
    if (i < codes && mean[i] > 0) batch -= mean[i] * logf(mean[i] + offset);
  }
  sample = block_sum(sample, part);
  batch = block_sum(batch, part);
  commitment = block_sum(commitment, part);
  if (threadIdx.x) return;
  partials += 3 * blockIdx.x;
  partials[0] = sample / ((float)tokens * books);
  partials[1] = batch / books;
  partials[2] = commitment / values;
}

extern "C" __global__ void lfq_slopes(float* s, const float* mean, unsigned n, float tokens, float offset) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  float q = mean[i] + offset;
  s[i] = q > 0 ? -(logf(q) + (offset > 0 ? mean[i] / q : 0)) / tokens : 0;
}

extern "C" __global__ void lfq_grad(float* dz, const float* dterms, const float* z, const float* A, const float* R, const float* B, const float* Q, unsigned n, unsigned tokens,
                                    unsigned books, unsigned high, unsigned low, float inv) {
  unsigned i = global_thread_id();
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
