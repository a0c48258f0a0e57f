// The derivative of linear attention along a direction v of q or of kv, and its gradients. With dq,
// dk and dv the parts of the direction, 0 where it has none, and sums over the keys j of a query:
//
//   s_j = q·k_j·scale,  w_j = 1 + s_j + s_j²/2,  ds_j = (dq·k_j + q·dk_j)·scale,  dw_j = (1 + s_j)·ds_j
//   D_j = dt·v_j,  dD_j = dt·dv_j
//
//   linear_attention_tangent_stats    Z = sum w_j, dZ = sum dw_j, M = sum w_j D_j/Z, A = sum dw_j D_j + w_j dD_j
//   linear_attention_tangent          t = sum (dw_j/Z - w_j dZ/Z²) v_j + w_j/Z dv_j
//   linear_attention_tangent_grad_q   dq = scale·sum a_j k_j + b_j dk_j
//   linear_attention_tangent_grad_kv  of a key, sums over the queries: dk = scale·sum a q + b dq, dv = sum c dt
//
//   b' = (D_j - M)/Z,  b = b'·(1 + s_j),  c = dw_j/Z - w_j dZ/Z²
//   a = (dD_j/Z - (A + (D_j - 2M) dZ)/Z²)·(1 + s_j) + b'·ds_j
//
// One block per pixel (blockIdx.x: frame and pixel) and head (blockIdx.y). Its threads find the
// factors of a chunk of the others, then sum these by channel.
//
// Definition: linear_attention_tangent.go.
#include "common.cuh"

struct TangentSize {
  unsigned pixels, heads, dim, kv;  // kv: the direction is that of kv, else of q
  float scale;
};

namespace linear_tangent {

constexpr unsigned THREADS = 128;

// The vectors of one head. A frame's pixels are p < size.pixels.
struct Head {
  TangentSize s;
  size_t first;  // the frame's first pixel
  unsigned pixel, head;

  __device__ Head(TangentSize s) : s(s), first(blockIdx.x / s.pixels * s.pixels), pixel(blockIdx.x % s.pixels), head(blockIdx.y) {}

  // A pixel's vector in x, whose rows have that many parts of all heads.
  template <class T>
  __device__ T* of(T* x, unsigned p, unsigned parts, unsigned part) const {
    return x + (((first + p) * parts + part) * s.heads + head) * s.dim;
  }

  __device__ float dot(const float* a, const float* b) const {
    float sum = 0;
    for (unsigned d = 0; d < s.dim; d++) sum += a[d] * b[d];
    return sum;
  }

  __device__ size_t stats(unsigned p) const { return ((first + p) * s.heads + head) * 4; }
};

struct Pair { float s, w, ds, dw; };

// The weight of a query and a key, and its derivative.
__device__ inline Pair pair(const Head& h, const float* v, const float* q, const float* kv, unsigned i, unsigned j) {
  const float *query = h.of(q, i, 1, 0), *key = h.of(kv, j, 2, 0);
  float s = h.dot(query, key) * h.s.scale;
  float ds = (h.s.kv ? h.dot(query, h.of(v, j, 2, 0)) : h.dot(h.of(v, i, 1, 0), key)) * h.s.scale;
  return {s, 1 + s + s * s / 2, ds, (1 + s) * ds};
}

struct Factors { float a, b, c; };

// What a pair adds to the gradients of q, k and v.
__device__ inline Factors factors(const Head& h, const float* dt, const float* v, const float* q, const float* kv, const float* stats, unsigned i, unsigned j) {
  Pair p = pair(h, v, q, kv, i, j);
  const float *g = h.of(dt, i, 1, 0), *at = stats + h.stats(i);
  float Z = at[0], dZ = at[1], M = at[2], A = at[3];
  float D = h.dot(g, h.of(kv, j, 2, 1)), dD = h.s.kv ? h.dot(g, h.of(v, j, 2, 1)) : 0;
  float slope = (D - M) / Z;
  return {(dD - (A + (D - 2 * M) * dZ) / Z) / Z * (1 + p.s) + slope * p.ds, slope * (1 + p.s), (p.dw - p.w * dZ / Z) / Z};
}

// y[d] = scale·sum over the pixels n of a_n x_n[d] + b_n u_n[d], with {a, b} = f(n) and x_n = x(n), u_n = u(n).
// b is not used where u(n) is null.
template <class F, class X, class U>
__device__ inline void weigh(float* y, const Head& h, float scale, F f, X x, U u) {
  __shared__ float as[THREADS], bs[THREADS], sums[THREADS];
  for (unsigned d0 = 0; d0 < h.s.dim; d0 += THREADS) {
    unsigned width = min(h.s.dim - d0, THREADS), parts = THREADS / width, part = threadIdx.x / width, d = d0 + threadIdx.x % width;
    float sum = 0;
    for (unsigned n0 = 0; n0 < h.s.pixels; n0 += THREADS) {
      unsigned n = n0 + threadIdx.x, count = min(h.s.pixels - n0, THREADS);
      __syncthreads();  // the last chunk's factors may still be read
      if (n < h.s.pixels) f(n, as[threadIdx.x], bs[threadIdx.x]);
      __syncthreads();
      if (part < parts)
        for (unsigned k = part; k < count; k += parts) {
          sum += as[k] * x(n0 + k)[d];
          const float* along = u(n0 + k);
          if (along) sum += bs[k] * along[d];
        }
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (part == 0) {
      for (unsigned k = 1; k < parts; k++) sum += sums[k * width + threadIdx.x];
      y[d] = sum * scale;
    }
    __syncthreads();
  }
}

}  // namespace linear_tangent

// dt may be null: then M and A are 0.
extern "C" __global__ void linear_attention_tangent_stats(float* stats, const float* dt, const float* v, const float* q, const float* kv, TangentSize s) {
  __shared__ float scratch[32];
  linear_tangent::Head h(s);
  float Z = 0, dZ = 0, M = 0, A = 0;
  for (unsigned j = threadIdx.x; j < s.pixels; j += blockDim.x) {
    linear_tangent::Pair p = linear_tangent::pair(h, v, q, kv, h.pixel, j);
    Z += p.w, dZ += p.dw;
    if (!dt) continue;
    const float* g = h.of(dt, h.pixel, 1, 0);
    float D = h.dot(g, h.of(kv, j, 2, 1));
    M += p.w * D;
    A += p.dw * D + (s.kv ? p.w * h.dot(g, h.of(v, j, 2, 1)) : 0);
  }
  Z = block_sum(Z, scratch), dZ = block_sum(dZ, scratch), M = block_sum(M, scratch), A = block_sum(A, scratch);
  if (threadIdx.x > 0) return;
  stats += h.stats(h.pixel);
  stats[0] = Z, stats[1] = dZ, stats[2] = M / Z, stats[3] = A;
}

extern "C" __global__ void __launch_bounds__(128) linear_attention_tangent(float* t, const float* v, const float* q, const float* kv, const float* stats, TangentSize s) {
  linear_tangent::Head h(s);
  const float* at = stats + h.stats(h.pixel);
  float Z = at[0], dZ = at[1];
  linear_tangent::weigh(
      h.of(t, h.pixel, 1, 0), h, 1,
      [=](unsigned j, float& a, float& b) {
        linear_tangent::Pair p = linear_tangent::pair(h, v, q, kv, h.pixel, j);
        a = (p.dw - p.w * dZ / Z) / Z, b = p.w / Z;
      },
      [=](unsigned j) { return h.of(kv, j, 2, 1); }, [=](unsigned j) { return h.s.kv ? h.of(v, j, 2, 1) : nullptr; });
}

extern "C" __global__ void __launch_bounds__(128)
    linear_attention_tangent_grad_q(float* d, const float* dt, const float* v, const float* q, const float* kv, const float* stats, TangentSize s) {
  linear_tangent::Head h(s);
  linear_tangent::weigh(
      h.of(d, h.pixel, 1, 0), h, s.scale,
      [=](unsigned j, float& a, float& b) {
        linear_tangent::Factors f = linear_tangent::factors(h, dt, v, q, kv, stats, h.pixel, j);
        a = f.a, b = f.b;
      },
      [=](unsigned j) { return h.of(kv, j, 2, 0); }, [=](unsigned j) { return h.s.kv ? h.of(v, j, 2, 0) : nullptr; });
}

extern "C" __global__ void __launch_bounds__(128)
    linear_attention_tangent_grad_kv(float* d, const float* dt, const float* v, const float* q, const float* kv, const float* stats, TangentSize s) {
  linear_tangent::Head h(s);
  linear_tangent::weigh(
      h.of(d, h.pixel, 2, 0), h, s.scale,
      [=](unsigned i, float& a, float& b) {
        linear_tangent::Factors f = linear_tangent::factors(h, dt, v, q, kv, stats, i, h.pixel);
        a = f.a, b = f.b;
      },
      [=](unsigned i) { return h.of(q, i, 1, 0); }, [=](unsigned i) { return h.s.kv ? nullptr : h.of(v, i, 1, 0); });
  linear_tangent::weigh(
      h.of(d, h.pixel, 2, 1), h, 1,
      [=](unsigned i, float& a, float& b) {
        a = linear_tangent::factors(h, dt, v, q, kv, stats, i, h.pixel).c, b = 0;
      },
      [=](unsigned i) { return h.of(dt, i, 1, 0); }, [=](unsigned) { return (const float*)nullptr; });
}
