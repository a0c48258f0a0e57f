// common.cuh: storage types, activations, reductions and vectorized access, for all kernels.
#pragma once

// Dynamic shared memory: the launch gives its size. The emulator has a definition of its own.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

// A bfloat16 in memory: the upper half of a float32. Arithmetic is in float32. A kernel
// whose activations may have either type is a template with two instances: NAME for float
// and NAME_half for bfloat.
struct bfloat { unsigned short bits; };

// The bits of the bfloat16 nearest to x. Ties round to even.
__device__ inline unsigned bf16_bits(float x) {
  unsigned u = __float_as_uint(x);
  return (x != x ? u | 1u << 22 : u + 0x7fff + (u >> 16 & 1)) >> 16;
}

// Two bfloat16 packed in a word, x in the lower half. The payload of a NaN differs between
// device and emulator.
__device__ inline unsigned bf16x2(float x, float y) {
#ifdef __CUDA_ARCH__
  unsigned u;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(y), "f"(x));
  return u;
#else
  return bf16_bits(x) | bf16_bits(y) << 16;
#endif
}

__device__ inline float load(float x) { return x; }
__device__ inline float load(bfloat x) { return __uint_as_float((unsigned)x.bits << 16); }

template <class T> __device__ inline T as(float x);
template <> __device__ inline float as<float>(float x) { return x; }
template <> __device__ inline bfloat as<bfloat>(float x) { return {(unsigned short)bf16_bits(x)}; }

// Vectorized access to 8 contiguous values. The address is a multiple of 16 bytes.
__device__ inline void load8(float (&v)[8], const float* x) {
  float4 a = ((const float4*)x)[0], b = ((const float4*)x)[1];
  v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

__device__ inline void load8(float (&v)[8], const bfloat* x) {
  uint4 a = *(const uint4*)x;
  unsigned words[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

__device__ inline void store8(float* y, const float (&v)[8]) {
  ((float4*)y)[0] = {v[0], v[1], v[2], v[3]};
  ((float4*)y)[1] = {v[4], v[5], v[6], v[7]};
}

__device__ inline void store8(bfloat* y, const float (&v)[8]) {
  *(uint4*)y = {bf16x2(v[0], v[1]), bf16x2(v[2], v[3]), bf16x2(v[4], v[5]), bf16x2(v[6], v[7])};
}

// V contiguous values, V = 1 or 8.
template <class T>
__device__ inline void load_values(float (&v)[8], const T* x) { load8(v, x); }
template <class T>
__device__ inline void load_values(float (&v)[1], const T* x) { v[0] = load(*x); }
template <class T>
__device__ inline void store_values(T* y, const float (&v)[8]) { store8(y, v); }
template <class T>
__device__ inline void store_values(T* y, const float (&v)[1]) { *y = as<T>(v[0]); }

// load_values and store_values of parameters, whose addresses are multiples of 4 bytes only.
template <int V, class T>
__device__ inline void load_parameters(float (&v)[V], const T* x) {
  if ((size_t)x % 16 == 0) return load_values(v, x);
#pragma unroll
  for (int i = 0; i < V; i++) v[i] = load(x[i]);
}
template <int V, class T>
__device__ inline void store_parameters(T* y, const float (&v)[V]) {
  if ((size_t)y % 16 == 0) return store_values(y, v);
#pragma unroll
  for (int i = 0; i < V; i++) y[i] = as<T>(v[i]);
}

constexpr unsigned FULL_MASK = 0xffffffffu;  // all lanes of a warp

// The values are those of kernels.Activation.
enum { NONE, ELU, SILU, LEAKY_RELU, SIGMOID, TANH, GELU, SOFT_CLAMP, RELU, LEAKY_RELU_5 };

constexpr float LEAK = .1f, LEAK_5 = .2f, CLAMP_SCALE = 10;

__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ inline float normal_cdf(float x) { return .5f * erfcf(-x * .70710678f); }
__device__ inline float normal_density(float x) { return expf(-x * x / 2) * .39894228f; }

// Act(x), as Activation.Apply.
__device__ inline float activate(int kind, float x) {
  switch (kind) {
    case ELU: return x > 0 ? x : expm1f(x);
    case SILU: return x * sigmoid(x);
    case LEAKY_RELU: return x > 0 ? x : LEAK * x;
    case SIGMOID: return sigmoid(x);
    case TANH: return tanhf(x);
    case GELU: return x * normal_cdf(x);
    case SOFT_CLAMP: return CLAMP_SCALE * tanhf(x / CLAMP_SCALE);
    case RELU: return x > 0 || x != x ? x : 0;
    case LEAKY_RELU_5: return x > 0 ? x : LEAK_5 * x;
  }
  return x;
}

// The derivative Act'(s), as Activation.Slope: s is the input of SiLU and GELU, the output
// of the others.
__device__ inline float slope(int kind, float s) {
  switch (kind) {
    case ELU: return s > 0 ? 1 : s + 1;
    case SILU: {
      float p = sigmoid(s);
      return p * (1 + s * (1 - p));
    }
    case LEAKY_RELU: return s > 0 ? 1 : LEAK;
    case SIGMOID: return s * (1 - s);
    case TANH: return 1 - s * s;
    case GELU: return normal_cdf(s) + s * normal_density(s);
    case SOFT_CLAMP: return 1 - s * s / (CLAMP_SCALE * CLAMP_SCALE);
    case RELU: return s > 0;
    case LEAKY_RELU_5: return s > 0 ? 1 : LEAK_5;
  }
  return 1;
}

// The gradient of u·GELU(g): d, that of the result, becomes that of u, and u that of g.
template <int V>
__device__ inline void geglu_slopes(float (&d)[V], float (&u)[V], const float (&g)[V]) {
#pragma unroll
  for (int k = 0; k < V; k++) {
    float cdf = normal_cdf(g[k]);
    u[k] *= d[k] * (cdf + g[k] * normal_density(g[k]));
    d[k] *= g[k] * cdf;
  }
}

template <int K>
struct Kind { static constexpr int value = K; };

// Calls f(Kind<kind>{}): the branch on the activation is taken once, outside of f's loop.
template <class F>
__device__ inline void dispatch_activation(int kind, F f) {
  switch (kind) {
    case ELU: return f(Kind<ELU>{});
    case SILU: return f(Kind<SILU>{});
    case LEAKY_RELU: return f(Kind<LEAKY_RELU>{});
    case SIGMOID: return f(Kind<SIGMOID>{});
    case TANH: return f(Kind<TANH>{});
    case GELU: return f(Kind<GELU>{});
    case SOFT_CLAMP: return f(Kind<SOFT_CLAMP>{});
    case RELU: return f(Kind<RELU>{});
    case LEAKY_RELU_5: return f(Kind<LEAKY_RELU_5>{});
    default: return f(Kind<NONE>{});
  }
}

// How many pixels a Shuffle moves to the channels of one, as logarithms.
struct Neighbours {
  int t, h, w;
};

// The index of a pixel of [N,T,H,W] where neighbours follow one another.
__device__ inline int shuffled_index(int pixel, const Neighbours& near, int H, int W) {
  int k = pixel % W, j = pixel / W % H, i = pixel / W / H;  // i counts the frames of all clips
  int deep = ((i >> near.t) * (H >> near.h) + (j >> near.h)) * (W >> near.w) + (k >> near.w);
  return ((deep << near.t | (i & ((1 << near.t) - 1))) << near.h | (j & ((1 << near.h) - 1))) << near.w | (k & ((1 << near.w) - 1));
}

template <class T>
__device__ inline T ceil_div(T a, T b) { return (a + b - 1) / b; }

// The index of this thread in a one-dimensional grid.
__device__ inline unsigned global_thread_id() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The sum over a warp, in every lane.
__device__ inline float warp_sum(float v) {
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(FULL_MASK, v, d);
  return v;
}

__device__ inline float warp_max(float v) {
  for (int d = 16; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(FULL_MASK, v, d));
  return v;
}

// The sum over a one-dimensional block of whole warps, in every thread. The order of the
// additions is fixed. partial is shared memory of 32 values.
__device__ inline float block_sum(float v, float* partial) {
  v = warp_sum(v);
  __syncthreads();  // the last call's partial sums may still be read
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (unsigned i = 0; i < blockDim.x / 32; i++) v += partial[i];
  return v;
}

__device__ inline float block_max(float v, float* partial) {
  v = warp_max(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  v = partial[0];
  for (unsigned i = 1; i < blockDim.x / 32; i++) v = fmaxf(v, partial[i]);
  return v;
}

// Sums columns over groups of rows:
//
//   y[g,c] = sum of f(r,c) over the rows r of [g·group, (g+1)·group) that are below rows
//
// A block of (L,R) threads reduces V·L columns of one group. A thread accumulates V
// adjacent columns of every R-th row, UNROLL rows at a time so that their loads overlap.
// f(v, r, c) computes the V values of row r from column c. Consecutive blocks take the
// columns of a group first. partial is shared memory of V values per thread.
template <int V, class F>
__device__ inline void column_sums(float* y, unsigned rows, unsigned columns, unsigned group, float* partial, F f) {
  constexpr int UNROLL = V > 1 ? 4 : 8;
  unsigned blocks = ceil_div(columns, V * blockDim.x), step = blockDim.y;
  unsigned g = blockIdx.x / blocks, c = (blockIdx.x % blocks * blockDim.x + threadIdx.x) * V;
  unsigned r = g * group + threadIdx.y, end = min(rows, (g + 1) * group);
  float sum[V] = {};
  if (c < columns) {
    for (; r + (UNROLL - 1) * step < end; r += UNROLL * step) {
      float v[UNROLL][V];
#pragma unroll
      for (int k = 0; k < UNROLL; k++) f(v[k], r + k * step, c);
#pragma unroll
      for (int k = 0; k < UNROLL; k++)
#pragma unroll
        for (int i = 0; i < V; i++) sum[i] += v[k][i];
    }
    for (; r < end; r += step) {
      float v[V];
      f(v, r, c);
#pragma unroll
      for (int i = 0; i < V; i++) sum[i] += v[i];
    }
  }
  unsigned size = blockDim.x * blockDim.y, at = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
  for (int i = 0; i < V; i++) partial[i * size + at] = sum[i];
  for (unsigned half = step / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half)
#pragma unroll
      for (int i = 0; i < V; i++) partial[i * size + at] += partial[i * size + at + half * blockDim.x];
  }
  if (threadIdx.y > 0 || c >= columns) return;
#pragma unroll
  for (int i = 0; i < V; i++) y[(size_t)g * columns + c + i] = partial[i * size + at];
}

// column_sums<1> of a function f(r,c) that returns its value.
template <class F>
__device__ inline void scalar_column_sums(float* y, unsigned rows, unsigned columns, unsigned group, float* partial, F f) {
  column_sums<1>(y, rows, columns, group, partial, [=](float (&v)[1], unsigned r, unsigned c) { v[0] = f(r, c); });
}

// column_sums<8> where the row length is a multiple of 8, otherwise column_sums<1>. f takes
// either V.
template <class F>
__device__ inline void vector_column_sums(float* y, unsigned rows, unsigned columns, unsigned group, float* partial, F f) {
  if (columns % 8)
    column_sums<1>(y, rows, columns, group, partial, f);
  else
    column_sums<8>(y, rows, columns, group, partial, f);
}
