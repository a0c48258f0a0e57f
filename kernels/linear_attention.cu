// Attention with weights 1 + s + s²/2, s = q·k/sqrt(dim), through sums over the pixels
// of a frame: with z_D = 1 added to each vector, the products z_i z_j, i <= j, are
// features whose weighted product is the weight,
//
//   1 + s + s²/2 = sum over i <= j of c_ij (q_i q_j)(k_i k_j),  c = 1/2 where i = j < D, else 1
//
// (q taken times 1/sqrt(dim)), so that nothing grows with the square of the pixels.
// With [v,1] a value and a one behind it:
//
//   taylor_state    S_ijd = c_ij sum over pixels of z_i z_j [v,1]_d, or of e_d for [v,1]_d;
//                   a block has a frame, head and chunk of pixels, a thread a feature;
//                   where features are few, teams of threads share the pixels
//   taylor_apply    y_d = n_d/n_D,  n_d = sum_ij q_i q_j S_ijd
//   taylor_errors   e = [dy, -dy·y]/n_D, the gradient of n
//   taylor_grad_q   dq, dn through sum_d S_ijd e_d
//   taylor_grad_kv  with S made of q and e: dk likewise from [v,1], dv_d = sum_ij k_i k_j S_ijd
//
// In the last four a thread has a pixel of a frame and head, S lies in shared memory.
// Each for heads of up to 8 and of up to 16; wider ones run in attention.cu.
//
// Definition: linear_attention.go.
#include "common.cuh"

struct TaylorSize {
  int pixels, heads, dim;
};

// Vectors of width values, pitch values apart.
struct TaylorRows {
  const float* x;
  int width;
  size_t pitch;
};

// The frame and head of a block.
struct TaylorPlace {
  TaylorSize s;
  int frame, head;
  __device__ TaylorPlace(const TaylorSize& s) : s(s), frame(blockIdx.x / s.heads), head(blockIdx.x % s.heads) {}
  // Where their vector begins for pixel p, of one of so many parts.
  __device__ size_t at(int p, int parts, int part) const { return (((size_t)frame * s.pixels + p) * parts + part) * s.heads * s.dim + head * s.dim; }
  __device__ TaylorRows rows(const float* x, int parts, int part) const { return {x + at(0, parts, part), s.dim, (size_t)parts * s.heads * s.dim}; }
  // Errors have width values.
  __device__ size_t error(int p, int width) const { return (((size_t)frame * s.pixels + p) * s.heads + head) * width; }
};

template <int D>
struct Taylor {
  static constexpr int FEATURES = (D + 1) * (D + 2) / 2, STATE = FEATURES * (D + 1);
  static constexpr int LANES = (FEATURES + 31) / 32 * 32, TEAMS = 256 / LANES;  // LANES·TEAMS threads make a state
  static constexpr int OUTER = D > 8 ? 1 : D + 1;  // how far loops over features are unrolled: 17·17 products of 17 values compile for minutes
  static constexpr int STEP = 32, WORK = (2 * STEP + LANES) * (D + 1);         // pixels at once, values of shared memory

  // Value d of a row: beyond its width 0, and 1 behind dimension D.
  static __device__ float value(const TaylorRows& v, int p, int d) { return d < v.width ? v.x[p * v.pitch + d] : d == D; }

  // Writes the state of this block.
  static __device__ void state(float* S, const TaylorRows& z, const TaylorRows& v, float scale, int pixels, int chunk, float* work) {
    float *zs = work, *vs = zs + STEP * (D + 1), *sums = vs + STEP * (D + 1);
    int from = blockIdx.y * chunk, to = min(pixels, from + chunk);
    int f = threadIdx.x % LANES, team = threadIdx.x / LANES, i = 0, j = f;
    while (i < D && j > D - i) j -= D + 1 - i++;  // feature f is (i, i+j)
    j = min(i + j, D);
    float sum[D + 1] = {};
    for (int p0 = from; p0 < to; p0 += STEP) {
      __syncthreads();
      for (int k = threadIdx.x; k < STEP * (D + 1); k += LANES * TEAMS) {
        int p = p0 + k / (D + 1), d = k % (D + 1);
        zs[k] = p < to ? value(z, p, d) * (d < D ? scale : 1) : 0;
        vs[k] = p < to ? value(v, p, d) : 0;
      }
      __syncthreads();
      for (int k = team; k < STEP; k += TEAMS) {
        float phi = zs[k * (D + 1) + i] * zs[k * (D + 1) + j];
#pragma unroll
        for (int d = 0; d <= D; d++) sum[d] += phi * vs[k * (D + 1) + d];
      }
    }
    for (int t = 1; t < TEAMS; t++) {  // team 0 takes the sums of the others
      __syncthreads();
      if (team == t)
        for (int d = 0; d <= D; d++) sums[f * (D + 1) + d] = sum[d];
      __syncthreads();
      if (team == 0)
        for (int d = 0; d <= D; d++) sum[d] += sums[f * (D + 1) + d];
    }
    if (team > 0 || f >= FEATURES) return;
    S += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * STATE;
    for (int d = 0; d <= D; d++) S[f * (D + 1) + d] = i == j && i < D ? sum[d] / 2 : sum[d];
  }

  float z[D + 1];

  __device__ Taylor(const TaylorRows& v, int p, float scale) {
#pragma unroll
    for (int d = 0; d <= D; d++) z[d] = value(v, p, d) * (d < D ? scale : 1);
  }

  static __device__ void store(float* y, const float (&x)[D + 1], int n) {
#pragma unroll
    for (int d = 0; d <= D; d++)
      if (d < n) y[d] = x[d];
  }

  // n_d.
  __device__ void sums(float (&n)[D + 1], const float* S) const {
#pragma unroll
    for (int d = 0; d <= D; d++) n[d] = 0;
#pragma unroll OUTER
    for (int i = 0; i <= D; i++)
#pragma unroll
      for (int j = 0; j <= D; j++) {
        if (j < i) continue;
        float phi = z[i] * z[j];
#pragma unroll
        for (int d = 0; d <= D; d++) n[d] += phi * *S++;
      }
  }

  // dz, e being the gradient of n.
  __device__ void slopes(float (&dz)[D + 1], const float (&e)[D + 1], const float* S) const {
    asm volatile("" ::: "memory");  // else values of S stay in registers from sums, too many
#pragma unroll
    for (int d = 0; d <= D; d++) dz[d] = 0;
#pragma unroll OUTER
    for (int i = 0; i <= D; i++)
#pragma unroll
      for (int j = 0; j <= D; j++) {
        if (j < i) continue;
        float dphi = 0;
#pragma unroll
        for (int d = 0; d <= D; d++) dphi += *S++ * e[d];
        dz[i] += dphi * z[j];
        dz[j] += dphi * z[i];
      }
  }

  // e of pixel p.
  __device__ void errors(float (&e)[D + 1], const TaylorRows& dy, int p, const float* S) const {
    float n[D + 1];
    sums(n, S);
    e[D] = 0;
#pragma unroll
    for (int d = 0; d < D; d++) {
      e[d] = d < dy.width ? dy.x[p * dy.pitch + d] / n[D] : 0;
      e[D] -= e[d] * n[d] / n[D];
    }
  }

  // The pixel of this thread, or -1; the state of its frame and head comes to S.
  static __device__ int begin(float* S, const float* state, const TaylorSize& s) {
    for (int i = threadIdx.x; i < STATE; i += blockDim.x) S[i] = state[(size_t)blockIdx.x * STATE + i];
    __syncthreads();
    int p = blockIdx.y * blockDim.x + threadIdx.x;
    return p < s.pixels ? p : -1;
  }

  static __device__ void apply(float* y, const float* q, const float* state, const TaylorPlace& at, float scale, float* S) {
    int p = begin(S, state, at.s);
    if (p < 0) return;
    float n[D + 1];
    Taylor(at.rows(q, 1, 0), p, scale).sums(n, S);
#pragma unroll
    for (int d = 0; d < D; d++) n[d] /= n[D];
    store(y + at.at(p, 1, 0), n, at.s.dim);
  }

  static __device__ void store_errors(float* e, const float* dy, const float* q, const float* state, const TaylorPlace& at, float scale, float* S) {
    int p = begin(S, state, at.s);
    if (p < 0) return;
    float of[D + 1];
    Taylor(at.rows(q, 1, 0), p, scale).errors(of, at.rows(dy, 1, 0), p, S);
    store(e + at.error(p, D + 1), of, D + 1);
  }

  static __device__ void grad_q(float* dq, const float* dy, const float* q, const float* state, const TaylorPlace& at, float scale, float* S) {
    int p = begin(S, state, at.s);
    if (p < 0) return;
    Taylor of(at.rows(q, 1, 0), p, scale);
    float e[D + 1], dz[D + 1];
    of.errors(e, at.rows(dy, 1, 0), p, S);
    of.slopes(dz, e, S);
#pragma unroll
    for (int d = 0; d < D; d++) dz[d] *= scale;
    store(dq + at.at(p, 1, 0), dz, at.s.dim);
  }

  static __device__ void grad_kv(float* dkv, const float* kv, const float* state, const TaylorPlace& at, float* S) {
    int p = begin(S, state, at.s);
    if (p < 0) return;
    Taylor k(at.rows(kv, 2, 0), p, 1), v(at.rows(kv, 2, 1), p, 1);
    float n[D + 1], dz[D + 1];
    k.sums(n, S);
    store(dkv + at.at(p, 2, 1), n, at.s.dim);
    k.slopes(dz, v.z, S);
    store(dkv + at.at(p, 2, 0), dz, at.s.dim);
  }
};

// Blocks: x has frames and heads, y chunks of pixels. taylor_state is made of keys and
// values, taylor_state_grad of queries and errors.
#define TAYLOR(D)                                                                                                                           \
  extern "C" __global__ void taylor_state_##D(float* S, const float* kv, TaylorSize s, unsigned chunk) {                                    \
    __shared__ float work[Taylor<D>::WORK];                                                                                                 \
    TaylorPlace at(s);                                                                                                                      \
    Taylor<D>::state(S, at.rows(kv, 2, 0), at.rows(kv, 2, 1), 1, s.pixels, chunk, work);                                                    \
  }                                                                                                                                         \
  extern "C" __global__ void taylor_state_grad_##D(float* S, const float* q, const float* e, TaylorSize s, float scale, unsigned chunk) {   \
    __shared__ float work[Taylor<D>::WORK];                                                                                                 \
    TaylorPlace at(s);                                                                                                                      \
    Taylor<D>::state(S, at.rows(q, 1, 0), {e + at.error(0, D + 1), D + 1, (size_t)s.heads * (D + 1)}, scale, s.pixels, chunk, work);        \
  }                                                                                                                                         \
  extern "C" __global__ void taylor_apply_##D(float* y, const float* q, const float* state, TaylorSize s, float scale) {                    \
    __shared__ float S[Taylor<D>::STATE];                                                                                                   \
    Taylor<D>::apply(y, q, state, s, scale, S);                                                                                             \
  }                                                                                                                                         \
  extern "C" __global__ void taylor_errors_##D(float* e, const float* dy, const float* q, const float* state, TaylorSize s, float scale) {  \
    __shared__ float S[Taylor<D>::STATE];                                                                                                   \
    Taylor<D>::store_errors(e, dy, q, state, s, scale, S);                                                                                  \
  }                                                                                                                                         \
  extern "C" __global__ void taylor_grad_q_##D(float* dq, const float* dy, const float* q, const float* state, TaylorSize s, float scale) { \
    __shared__ float S[Taylor<D>::STATE];                                                                                                   \
    Taylor<D>::grad_q(dq, dy, q, state, s, scale, S);                                                                                       \
  }                                                                                                                                         \
  extern "C" __global__ void taylor_grad_kv_##D(float* dkv, const float* kv, const float* state, TaylorSize s) {                            \
    __shared__ float S[Taylor<D>::STATE];                                                                                                   \
    Taylor<D>::grad_kv(dkv, kv, state, s, S);                                                                                               \
  }

TAYLOR(8)
TAYLOR(16)
