// common.cuh: what the kernels of several files need.
#pragma once

// Memory whose size the launch chooses. (The emulator has its own way to it.)
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]
#endif

// A value that is stored in bfloat16: the upper half of a float32. Kernels compute in
// float32; those of which activations may lie in either type are templates, with a
// kernel NAME for float and one NAME_half for bfloat.
struct bfloat { unsigned short bits; };

// The upper half of the bits of the bfloat16 nearest to x, ties to the even one.
__device__ inline unsigned bf16(float x) {
  unsigned u = __float_as_uint(x);
  return (x != x ? u | 1u << 22 : u + 0x7fff + (u >> 16 & 1)) >> 16;
}

// Two values as they lie in a word, the first one in its lower half. (NaN is another one on
// a device.)
__device__ inline unsigned bf16_pair(float x, float y) {
#ifdef __CUDA_ARCH__
  unsigned u;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(y), "f"(x));
  return u;
#else
  return bf16(x) | bf16(y) << 16;
#endif
}

__device__ inline float load(float x) { return x; }
__device__ inline float load(bfloat x) { return __uint_as_float((unsigned)x.bits << 16); }

template <class T> __device__ inline T as(float x);
template <> __device__ inline float as<float>(float x) { return x; }
template <> __device__ inline bfloat as<bfloat>(float x) { return {(unsigned short)bf16(x)}; }

// 8 values that start at a multiple of 16 bytes.
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
  *(uint4*)y = {bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7])};
}

constexpr unsigned ALL = 0xffffffffu;  // all lanes of a warp

// The order is that of kernels.Activation.
enum { NONE, ELU, SILU, LEAKY_RELU, SIGMOID, TANH, GELU, SOFT_CLAMP };

constexpr float LEAK = .1f, CLAMP_SCALE = 10;

__device__ inline float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ inline float normal_cdf(float x) { return .5f * erfcf(-x * .70710678f); }
__device__ inline float normal_density(float x) { return expf(-x * x / 2) * .39894228f; }

// Activation.Apply.
__device__ inline float activate(int kind, float x) {
  switch (kind) {
    case ELU: return x > 0 ? x : expm1f(x);
    case SILU: return x * sigmoid(x);
    case LEAKY_RELU: return x > 0 ? x : LEAK * x;
    case SIGMOID: return sigmoid(x);
    case TANH: return tanhf(x);
    case GELU: return x * normal_cdf(x);
    case SOFT_CLAMP: return CLAMP_SCALE * tanhf(x / CLAMP_SCALE);
  }
  return x;
}

// Activation.Slope: s is the output, of SiLU and GELU the input.
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
  }
  return 1;
}

// The number of this thread in a launch of one dimension.
__device__ inline unsigned thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

// The sum over a warp; every lane gets it.
__device__ inline float warp_sum(float v) {
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(ALL, v, d);
  return v;
}

__device__ inline float warp_max(float v) {
  for (int d = 16; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(ALL, v, d));
  return v;
}

// The sum over a block of one dimension, whole warps; every thread gets it, in the
// same order always. part holds 32 values.
__device__ inline float block_sum(float v, float* part) {
  v = warp_sum(v);
  __syncthreads();  // part may still be read
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (unsigned i = 0; i < blockDim.x / 32; i++) v += part[i];
  return v;
}

__device__ inline float block_max(float v, float* part) {
  v = warp_max(v);
  __syncthreads();
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = part[0];
  for (unsigned i = 1; i < blockDim.x / 32; i++) v = fmaxf(v, part[i]);
  return v;
}

// V neighbouring values, 1 or 8.
template <class T>
__device__ inline void load_values(float (&v)[8], const T* x) { load8(v, x); }
template <class T>
__device__ inline void load_values(float (&v)[1], const T* x) { v[0] = load(*x); }
template <class T>
__device__ inline void store_values(T* y, const float (&v)[8]) { store8(y, v); }
template <class T>
__device__ inline void store_values(T* y, const float (&v)[1]) { *y = as<T>(v[0]); }

// The same of parameters, which begin anywhere.
template <int V>
__device__ inline void load_parameters(float (&v)[V], const float* x) {
  if ((size_t)x % 16 == 0) return load_values(v, x);
#pragma unroll
  for (int i = 0; i < V; i++) v[i] = x[i];
}

// Sums over columns of groups of rows:
//
//   y[g,c] = sum of f(r,c) over the rows r of [g·group, (g+1)·group) below rows
//
// A block of (L,R) threads has V·L columns of one group; a thread has V neighbours of
// every R-th row, some rows at once so that many loads are on their way. f(v, r, c) makes
// the V values from column c on. Blocks go through the columns first. part holds V values
// for each thread.
template <int V, class F>
__device__ inline void sum_columns(float* y, unsigned rows, unsigned columns, unsigned group, float* part, F f) {
  constexpr int AHEAD = V > 1 ? 4 : 8;
  unsigned blocks = (columns + V * blockDim.x - 1) / (V * blockDim.x), step = blockDim.y;
  unsigned g = blockIdx.x / blocks, c = (blockIdx.x % blocks * blockDim.x + threadIdx.x) * V;
  unsigned r = g * group + threadIdx.y, end = min(rows, (g + 1) * group);
  float sum[V] = {};
  if (c < columns) {
    for (; r + (AHEAD - 1) * step < end; r += AHEAD * step) {
      float v[AHEAD][V];
#pragma unroll
      for (int k = 0; k < AHEAD; k++) f(v[k], r + k * step, c);
#pragma unroll
      for (int k = 0; k < AHEAD; k++)
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
  for (int i = 0; i < V; i++) part[i * size + at] = sum[i];
  for (unsigned half = step / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half)
#pragma unroll
      for (int i = 0; i < V; i++) part[i * size + at] += part[i * size + at + half * blockDim.x];
  }
  if (threadIdx.y > 0 || c >= columns) return;
#pragma unroll
  for (int i = 0; i < V; i++) y[(size_t)g * columns + c + i] = part[i * size + at];
}

// sum_columns of single values f(r,c).
template <class F>
__device__ inline void column_sums(float* y, unsigned rows, unsigned columns, unsigned group, float* part, F f) {
  sum_columns<1>(y, rows, columns, group, part, [=](float (&v)[1], unsigned r, unsigned c) { v[0] = f(r, c); });
}

// sum_columns of eight values at once where rows are multiples of eight. f is for both.
template <class F>
__device__ inline void wide_column_sums(float* y, unsigned rows, unsigned columns, unsigned group, float* part, F f) {
  if (columns % 8)
    sum_columns<1>(y, rows, columns, group, part, f);
  else
    sum_columns<8>(y, rows, columns, group, part, f);
}
