// Linear attention with the weights 1 + s + s²/2, s = q·k/sqrt(dim), through sums over the pixels
// of a frame. With z_D = 1 appended to each vector, the products z_i z_j, i <= j, are features
// whose weighted product is the attention weight,
//
//   1 + s + s²/2 = sum over i <= j of c_ij (q_i q_j)(k_i k_j),  c = 1/2 where i = j < D, else 1
//
// (q scaled by 1/sqrt(dim)), so cost is linear in the pixels. [v,1] is a value with a 1 appended:
//
//   taylor_state    S_ijd = c_ij sum over pixels of z_i z_j [v,1]_d
//   taylor_state_grad  the same of queries and e_d
//   taylor_apply    y_d = n_d/n_D,  n_d = sum_ij q_i q_j S_ijd
//   taylor_errors   e = [dy, -dy·y]/n_D, the gradient of n
//   taylor_grad_q   dq: dn through sum_d S_ijd e_d
//   taylor_grad_kv  with S of q and e: dk likewise from [v,1], dv_d = sum_ij k_i k_j S_ijd
//
// taylor_state, taylor_state_grad: a block has a frame, head and chunk of pixels, a thread three
// features (fewer loads than multiplications), and teams of threads share the pixels. The others:
// a thread has one pixel of a frame and head, two for narrow heads, since a shared memory load takes
// four cycles and a multiplication one; S is in shared memory. Instances for heads of up to 8 and
// up to 16 channels; attention.cu takes wider ones.
//
// Definition: linear_attention.go.
#include "common.cuh"

struct TaylorSize {
  int pixels, heads, dim;
};

// Rows of width values, pitch values apart.
template <class T>
struct TaylorRows {
  const T* x;
  int width;
  size_t pitch;
};

// The frame and head of a block.
struct TaylorPlace {
  TaylorSize s;
  int frame, head;
  __device__ TaylorPlace(const TaylorSize& s) : s(s), frame(blockIdx.x / s.heads), head(blockIdx.x % s.heads) {}
  // The index of their vector of pixel p: part `part` of `parts`.
  __device__ size_t at(int p, int parts, int part) const { return (((size_t)frame * s.pixels + p) * parts + part) * s.heads * s.dim + head * s.dim; }
  template <class T>
  __device__ TaylorRows<T> rows(const T* x, int parts, int part) const { return {x + at(0, parts, part), s.dim, (size_t)parts * s.heads * s.dim}; }
  // The index of the errors of pixel p: D + 1 values with a pitch of D + 4.
  __device__ size_t error(int p, int D) const { return (((size_t)frame * s.pixels + p) * s.heads + head) * (D + 4); }
};

template <int D>
struct Taylor {
  static constexpr int N = D + 1, FEATURES = N * (N + 1) / 2, STATE = FEATURES * N;
  static constexpr int THREADS = 256, OWN = 3, LANES = FEATURES / OWN <= 16 ? 16 : 64, TEAMS = THREADS / LANES;  // of taylor_state
  static constexpr int STEP = THREADS / 2;                                                                     // pixels per iteration
  static constexpr int ROWS = 2 * STEP * N, TREE = TEAMS / 2 * LANES * OWN * N, WORK = ROWS > TREE ? ROWS : TREE;  // values of shared memory
  static constexpr int PIXELS = D > 8 ? 1 : 2;  // per thread
  static constexpr int OUTER = D > 8 ? 1 : N;   // unroll factor of loops over features: 17·17 products of 17 values would compile for minutes

  // Row p: 0 past its width, 1 at index D.
  template <class T>
  static __device__ void row(float (&v)[N], const TaylorRows<T>& rows, int p, float scale = 1) {
    const T* x = rows.x + p * rows.pitch;
    if (rows.width >= D)
#pragma unroll
      for (int d = 0; d < D; d += 8) load8(*(float(*)[8])(v + d), x + d);
    else
#pragma unroll
      for (int d = 0; d < D; d++) v[d] = d < rows.width ? load(x[d]) : 0;
#pragma unroll
    for (int d = 0; d < D; d++) v[d] *= scale;
    v[D] = rows.width > D ? load(x[D]) : 1;
  }

  // Stores the first n values of v.
  template <class T>
  static __device__ void store(T* y, const float (&v)[N], int n) {
    if (n >= D)
#pragma unroll
      for (int d = 0; d < D; d += 8) store8(y + d, *(const float(*)[8])(v + d));
    else
#pragma unroll
      for (int d = 0; d < D; d++)
        if (d < n) y[d] = as<T>(v[d]);
    if (n > D) y[D] = as<T>(v[D]);
  }

  // Writes the state of this block.
  template <class Z, class V>
  static __device__ void state(float* S, const TaylorRows<Z>& z, const TaylorRows<V>& v, float scale, int pixels, int chunk, float* work) {
    float *zs = work, *vs = zs + STEP * N;
    int from = blockIdx.y * chunk, to = min(pixels, from + chunk);
    int lane = threadIdx.x % LANES, team = threadIdx.x / LANES, first[OWN], second[OWN];
#pragma unroll
    for (int q = 0; q < OWN; q++) {
      int i = 0, j = lane * OWN + q;
      while (i < D && j > D - i) j -= N - i++;  // feature lane·OWN + q is (i, i+j)
      first[q] = i, second[q] = min(i + j, D);
    }
    float sum[OWN][N] = {};
    for (int p0 = from; p0 < to; p0 += STEP) {
      int k = threadIdx.x % STEP;
      float x[N];
#pragma unroll
      for (int d = 0; d < N; d++) x[d] = 0;
      if (p0 + k < to) {
        if (threadIdx.x < STEP)
          row(x, z, p0 + k, scale);
        else
          row(x, v, p0 + k);
      }
      __syncthreads();
#pragma unroll
      for (int d = 0; d < N; d++) work[threadIdx.x * N + d] = x[d];
      __syncthreads();
      for (k = team; k < STEP; k += TEAMS) {
        float phi[OWN];
#pragma unroll
        for (int q = 0; q < OWN; q++) phi[q] = zs[k * N + first[q]] * zs[k * N + second[q]];
#pragma unroll
        for (int d = 0; d < N; d++) {
          float value = vs[k * N + d];
#pragma unroll
          for (int q = 0; q < OWN; q++) sum[q][d] += phi[q] * value;
        }
      }
    }
    for (int half = TEAMS / 2; half > 0; half /= 2) {  // tree reduction: the lower half of the teams adds the sums of the upper
      float* at = work + team % half * LANES * OWN * N + lane;
      __syncthreads();
      if (team / half == 1)
#pragma unroll
        for (int i = 0; i < OWN * N; i++) at[i * LANES] = sum[i / N][i % N];
      __syncthreads();
      if (team < half)
#pragma unroll
        for (int i = 0; i < OWN * N; i++) sum[i / N][i % N] += at[i * LANES];
    }
    if (team > 0) return;
    S += ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * STATE;
#pragma unroll
    for (int q = 0; q < OWN; q++)
      if (lane * OWN + q < FEATURES)
#pragma unroll
        for (int d = 0; d < N; d++) S[(lane * OWN + q) * N + d] = first[q] == second[q] && first[q] < D ? sum[q][d] / 2 : sum[q][d];
  }

  // A vector of each pixel of a thread.
  using Values = float[PIXELS][N];

  // The pixels of this thread are those below size.
  int first, size;
  Values z;
  __device__ int pixel(int k) const { return first + k * blockDim.x; }

  // Loads the state of the block's frame and head into S.
  template <class T>
  __device__ Taylor(float* S, const float* state, const TaylorRows<T>& v, int pixels, float scale) : first(blockIdx.y * blockDim.x * PIXELS + threadIdx.x), size(pixels) {
    for (int i = threadIdx.x; i < STATE; i += blockDim.x) S[i] = state[(size_t)blockIdx.x * STATE + i];
    rows(z, v, scale);
    __syncthreads();
  }

  template <class T>
  __device__ void rows(Values& x, const TaylorRows<T>& v, float scale = 1) const {
#pragma unroll
    for (int k = 0; k < PIXELS; k++) row(x[k], v, min(pixel(k), size - 1), scale);
  }

  // Calls f(pixel, values).
  template <class F>
  __device__ void each(const Values& x, F f) const {
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
      if (pixel(k) < size) f(pixel(k), x[k]);
  }

  // n_d.
  __device__ void sums(Values& n, const float* S) const {
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
#pragma unroll
      for (int d = 0; d < N; d++) n[k][d] = 0;
#pragma unroll OUTER
    for (int i = 0; i <= D; i++)
#pragma unroll
      for (int j = 0; j <= D; j++) {
        if (j < i) continue;
        float phi[PIXELS];
#pragma unroll
        for (int k = 0; k < PIXELS; k++) phi[k] = z[k][i] * z[k][j];
#pragma unroll
        for (int d = 0; d <= D; d++) {
          float s = *S++;
#pragma unroll
          for (int k = 0; k < PIXELS; k++) n[k][d] += phi[k] * s;
        }
      }
  }

  // dz, from the gradient e of n.
  __device__ void slopes(Values& dz, const Values& e, const float* S) const {
    asm volatile("" ::: "memory");  // keeps the compiler from holding S in registers since sums()
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
#pragma unroll
      for (int d = 0; d < N; d++) dz[k][d] = 0;
#pragma unroll OUTER
    for (int i = 0; i <= D; i++)
#pragma unroll
      for (int j = 0; j <= D; j++) {
        if (j < i) continue;
        float dphi[PIXELS] = {};
#pragma unroll
        for (int d = 0; d <= D; d++) {
          float s = *S++;
#pragma unroll
          for (int k = 0; k < PIXELS; k++) dphi[k] += s * e[k][d];
        }
#pragma unroll
        for (int k = 0; k < PIXELS; k++) {
          dz[k][i] += dphi[k] * z[k][j];
          dz[k][j] += dphi[k] * z[k][i];
        }
      }
  }

  // e, from dy in e.
  __device__ void errors(Values& e, const float* S) const {
    Values n;
    sums(n, S);
#pragma unroll
    for (int k = 0; k < PIXELS; k++) {
      e[k][D] = 0;
#pragma unroll
      for (int d = 0; d < D; d++) {
        e[k][d] /= n[k][D];
        e[k][D] -= e[k][d] * n[k][d] / n[k][D];
      }
    }
  }

  template <class T>
  static __device__ void apply(T* y, const T* q, const float* state, const TaylorPlace& at, float scale, float* S) {
    Taylor of(S, state, at.rows(q, 1, 0), at.s.pixels, scale);
    Values n;
    of.sums(n, S);
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
#pragma unroll
      for (int d = 0; d < D; d++) n[k][d] /= n[k][D];
    of.each(n, [=](int p, const float (&v)[N]) { store(y + at.at(p, 1, 0), v, at.s.dim); });
  }

  template <class T>
  static __device__ void store_errors(float* e, const T* dy, const T* q, const float* state, const TaylorPlace& at, float scale, float* S) {
    Taylor of(S, state, at.rows(q, 1, 0), at.s.pixels, scale);
    Values d;
    of.rows(d, at.rows(dy, 1, 0));
    of.errors(d, S);
    of.each(d, [=](int p, const float (&v)[N]) { store(e + at.error(p, D), v, N); });
  }

  template <class T>
  static __device__ void grad_q(T* dq, const T* dy, const T* q, const float* state, const TaylorPlace& at, float scale, float* S) {
    Taylor of(S, state, at.rows(q, 1, 0), at.s.pixels, scale);
    Values e, dz;
    of.rows(e, at.rows(dy, 1, 0));
    of.errors(e, S);
    of.slopes(dz, e, S);
#pragma unroll
    for (int k = 0; k < PIXELS; k++)
#pragma unroll
      for (int d = 0; d < D; d++) dz[k][d] *= scale;
    of.each(dz, [=](int p, const float (&v)[N]) { store(dq + at.at(p, 1, 0), v, at.s.dim); });
  }

  template <class T>
  static __device__ void grad_kv(T* dkv, const T* kv, const float* state, const TaylorPlace& at, float* S) {
    Taylor k(S, state, at.rows(kv, 2, 0), at.s.pixels, 1);
    Values v, n, dz;
    k.sums(n, S);
    k.each(n, [=](int p, const float (&v)[N]) { store(dkv + at.at(p, 2, 1), v, at.s.dim); });
    k.rows(v, at.rows(kv, 2, 1));
    k.slopes(dz, v, S);
    k.each(dz, [=](int p, const float (&v)[N]) { store(dkv + at.at(p, 2, 0), v, at.s.dim); });
  }
};

// blockIdx.x: frame and head. blockIdx.y: chunk of pixels.
#define TAYLOR(D, T, SUFFIX)                                                                                                                        \
  extern "C" __global__ void __launch_bounds__(256) taylor_state_##D##SUFFIX(float* S, const T* kv, TaylorSize s, unsigned chunk) {                 \
    __shared__ float work[Taylor<D>::WORK];                                                                                                         \
    TaylorPlace at(s);                                                                                                                              \
    Taylor<D>::state(S, at.rows(kv, 2, 0), at.rows(kv, 2, 1), 1, s.pixels, chunk, work);                                                            \
  }                                                                                                                                                 \
  extern "C" __global__ void __launch_bounds__(256)                                                                                                 \
      taylor_state_grad_##D##SUFFIX(float* S, const T* q, const float* e, TaylorSize s, float scale, unsigned chunk) {                              \
    __shared__ float work[Taylor<D>::WORK];                                                                                                         \
    TaylorPlace at(s);                                                                                                                              \
    TaylorRows<float> errors = {e + at.error(0, D), D + 1, (size_t)s.heads * (D + 4)};                                                              \
    Taylor<D>::state(S, at.rows(q, 1, 0), errors, scale, s.pixels, chunk, work);                                                                    \
  }                                                                                                                                                 \
  extern "C" __global__ void taylor_apply_##D##SUFFIX(T* y, const T* q, const float* state, TaylorSize s, float scale) {                            \
    __shared__ float S[Taylor<D>::STATE];                                                                                                           \
    Taylor<D>::apply(y, q, state, s, scale, S);                                                                                                     \
  }                                                                                                                                                 \
  extern "C" __global__ void taylor_errors_##D##SUFFIX(float* e, const T* dy, const T* q, const float* state, TaylorSize s, float scale) {          \
    __shared__ float S[Taylor<D>::STATE];                                                                                                           \
    Taylor<D>::store_errors(e, dy, q, state, s, scale, S);                                                                                          \
  }                                                                                                                                                 \
  extern "C" __global__ void taylor_grad_q_##D##SUFFIX(T* dq, const T* dy, const T* q, const float* state, TaylorSize s, float scale) {             \
    __shared__ float S[Taylor<D>::STATE];                                                                                                           \
    Taylor<D>::grad_q(dq, dy, q, state, s, scale, S);                                                                                               \
  }                                                                                                                                                 \
  extern "C" __global__ void taylor_grad_kv_##D##SUFFIX(T* dkv, const T* kv, const float* state, TaylorSize s) {                                    \
    __shared__ float S[Taylor<D>::STATE];                                                                                                           \
    Taylor<D>::grad_kv(dkv, kv, state, s, S);                                                                                                       \
  }

TAYLOR(8, float, )
TAYLOR(16, float, )
TAYLOR(8, bfloat, _half)
TAYLOR(16, bfloat, _half)
