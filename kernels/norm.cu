// Normalization of rows of C values. With h = (x - mean)·scale, scale = 1/sqrt(variance + eps):
//
//   layer_norm             y = h·gamma + beta
//   layer_norm_grad_x      dx = scale·(g - mean(g) - h·mean(g·h)), g = dy·gamma
//   layer_norm_grad_gamma  y[g,c] = sum of dy·h over the rows of group g
//
// With scale = sqrt(C)/max(‖x‖, 1e-12), gamma per group of rows (a sample):
//
//   rms_norm               y = x·scale·gamma
//   rms_norm_grad_x        dx = scale·(g - x·(g·x)/‖x‖²) + r; the second term is 0 where the floor holds
//   rms_norm_grad_gamma    y[g,c] = sum of dy·x·scale over the rows of group g
//   rms_norm_grad          both at once, of rows that a CTA holds in registers
//
// With scale = 1/max(‖x‖, 1e-12):
//
//   normalize, normalize_grad  the same without gamma
//
// One warp per row, or per several short rows. A lane holds eight values of a row in registers;
// rows of more than 256 values are read again, mostly from L1. More registers per thread would
// lower occupancy.
//
// Definition: norm.go, norm_sample.go.
#include "common.cuh"

namespace norms {

constexpr float MIN_NORM = 1e-12f;

// The lanes of a warp that share a row. A lane holds KEPT values: V contiguous ones, then V more at
// each further lanes·V columns.
template <int V, int KEPT = 8>
struct Team {
  unsigned lanes, lane, C;

  __device__ Team(unsigned C) : lanes(32), C(C) {
    while (lanes > 1 && lanes / 2 * V >= C) lanes /= 2;
    lane = threadIdx.x % lanes;
  }

  // The index of the team in the grid.
  __device__ unsigned number() const { return global_thread_id() / lanes; }

  // The number of values of a row that the team holds.
  __device__ unsigned span() const { return lanes * KEPT; }

  __device__ float sum(float v) const {
    for (unsigned d = lanes / 2; d > 0; d /= 2) v += __shfl_xor_sync(FULL_MASK, v, d);
    return v;
  }

  // Calls f(k, c) for each V values of the lane: v[k] is that of column c.
  template <class F>
  __device__ void each(unsigned from, F f) const {
#pragma unroll
    for (int k = 0; k < KEPT; k += V) {
      unsigned c = from + k * lanes + lane * V;
      if (c < C) f(k, c);
    }
  }
};

// A row, of which the piece from column `from` is in registers.
template <int V, class T, int KEPT = 8>
struct Row {
  const T* x;
  unsigned from;
  float v[KEPT];

  __device__ Row(const T* x) : x(x), from(~0u) {}

  __device__ void need(const Team<V, KEPT>& t, unsigned piece, bool here = true) {
    if (piece == from) return;
    from = piece;
#pragma unroll
    for (int k = 0; k < KEPT; k++) v[k] = 0;
    if (here) t.each(piece, [&](int k, unsigned c) { load_values(*(float(*)[V])(v + k), x + c); });
  }
};

template <int V, int KEPT>
__device__ inline void parameters(float (&v)[KEPT], const float* x, const Team<V, KEPT>& t, unsigned piece) {
#pragma unroll
  for (int k = 0; k < KEPT; k++) v[k] = 0;
  t.each(piece, [&](int k, unsigned c) { load_parameters(*(float(*)[V])(v + k), x + c); });
}

template <int V, class T, int KEPT>
__device__ inline void store(T* y, const float (&v)[KEPT], const Team<V, KEPT>& t, unsigned piece) {
  t.each(piece, [&](int k, unsigned c) { store_values(y + c, *(const float(*)[V])(v + k)); });
}

// Calls f(first column) for each piece of a row.
template <int V, int KEPT, class F>
__device__ inline void pieces(const Team<V, KEPT>& t, F f) {
  for (unsigned piece = 0; piece < t.C; piece += t.span()) f(piece);
}

// The team's sum of f(k) over a row, k being the register of a value. prepare(piece) is called
// before the values of a piece.
template <int V, int KEPT, class P, class F>
__device__ inline float total(const Team<V, KEPT>& t, P prepare, F f) {
  float sum = 0;
  pieces(t, [&](unsigned piece) {
    prepare(piece);
    t.each(piece, [&](int k, unsigned) {
#pragma unroll
      for (int i = 0; i < V; i++) sum += f(k + i);
    });
  });
  return t.sum(sum);
}

struct Stats { float mean, scale; };

template <int V, class T, int KEPT>
__device__ inline Stats stats(Row<V, T, KEPT>& x, const Team<V, KEPT>& t, float eps) {
  auto need = [&](unsigned piece) { x.need(t, piece); };
  float mean = total(t, need, [&](int k) { return x.v[k]; }) / t.C;
  float variance = total(t, need, [&](int k) { return (x.v[k] - mean) * (x.v[k] - mean); }) / t.C;
  return {mean, 1 / sqrtf(variance + eps)};
}

template <int V, class T, int KEPT>
__device__ inline float squares(Row<V, T, KEPT>& x, const Team<V, KEPT>& t) {
  return total(t, [&](unsigned piece) { x.need(t, piece); }, [&](int k) { return x.v[k] * x.v[k]; });
}

__device__ inline float rms_scale(float squares, unsigned C) { return sqrtf((float)C) / fmaxf(sqrtf(squares), MIN_NORM); }

template <int V, class T>
__device__ inline void layer_norm(T* y, const T* x, const float* gamma, const float* beta, unsigned rows, unsigned C, float eps) {
  Team<V> t(C);
  unsigned row = t.number();
  size_t at = (size_t)min(row, rows - 1) * C;
  Row<V, T> of(x + at);
  Stats s = stats(of, t, eps);
  if (row >= rows) return;
  pieces(t, [&](unsigned piece) {
    float g[8], b[8];
    parameters(g, gamma, t, piece);
    parameters(b, beta, t, piece);
    of.need(t, piece);
#pragma unroll
    for (int k = 0; k < 8; k++) g[k] = (of.v[k] - s.mean) * s.scale * g[k] + b[k];
    store(y + at, g, t, piece);
  });
}

// Loads a piece of g = dy·gamma.
template <int V, class T>
__device__ inline void scaled(Row<V, T>& dy, const float* gamma, const Team<V>& t, unsigned piece) {
  if (piece == dy.from) return;
  float g[8];
  dy.need(t, piece);
  parameters(g, gamma, t, piece);
#pragma unroll
  for (int k = 0; k < 8; k++) dy.v[k] *= g[k];
}

template <int V, class T>
__device__ inline void layer_norm_grad_x(T* dx, const T* dy, const T* x, const float* gamma, unsigned rows, unsigned C, float eps) {
  Team<V> t(C);
  unsigned row = t.number();
  size_t at = (size_t)min(row, rows - 1) * C;
  Row<V, T> of(x + at), g(dy + at);
  auto need = [&](unsigned piece) { of.need(t, piece), scaled(g, gamma, t, piece); };
  need(0);  // issue both loads before the first sum
  Stats s = stats(of, t, eps);
  float mean = total(t, need, [&](int k) { return g.v[k]; }) / C;
  float along = total(t, need, [&](int k) { return g.v[k] * (of.v[k] - s.mean) * s.scale; }) / C;
  if (row >= rows) return;
  pieces(t, [&](unsigned piece) {
    float d[8];
    need(piece);
#pragma unroll
    for (int k = 0; k < 8; k++) d[k] = s.scale * (g.v[k] - mean - (of.v[k] - s.mean) * s.scale * along);
    store(dx + at, d, t, piece);
  });
}

template <int V, class T>
__device__ inline void rms_norm(T* y, const T* x, const float* gamma, unsigned rows, unsigned C, unsigned group) {
  Team<V> t(C);
  unsigned row = t.number();
  size_t at = (size_t)min(row, rows - 1) * C;
  Row<V, T> of(x + at);
  float scale = rms_scale(squares(of, t), C);
  if (row >= rows) return;
  gamma += (size_t)(row / group) * C;
  pieces(t, [&](unsigned piece) {
    float g[8];
    parameters(g, gamma, t, piece);
    of.need(t, piece);
#pragma unroll
    for (int k = 0; k < 8; k++) g[k] *= of.v[k] * scale;
    store(y + at, g, t, piece);
  });
}

// r may be null.
template <int V, class T>
__device__ inline void rms_norm_grad_x(T* dx, const T* dy, const T* x, const float* gamma, const T* r, unsigned rows, unsigned C, unsigned group) {
  Team<V> t(C);
  unsigned row = t.number();
  size_t at = (size_t)min(row, rows - 1) * C;
  gamma += (size_t)(min(row, rows - 1) / group) * C;
  Row<V, T> of(x + at), g(dy + at), skip(r + at);
  auto need = [&](unsigned piece) { of.need(t, piece), scaled(g, gamma, t, piece); };
  need(0);
  float norm2 = squares(of, t), scale = rms_scale(norm2, C);
  float along = total(t, need, [&](int k) { return g.v[k] * of.v[k]; });
  along = sqrtf(norm2) <= MIN_NORM ? 0 : along / norm2;
  if (row >= rows) return;
  pieces(t, [&](unsigned piece) {
    float d[8];
    need(piece);
    skip.need(t, piece, r);
#pragma unroll
    for (int k = 0; k < 8; k++) d[k] = scale * (g.v[k] - of.v[k] * along) + skip.v[k];
    store(dx + at, d, t, piece);
  });
}

// Adds sum over the teams of a CTA and stores the total of group blockIdx.x to y. part is shared
// memory of KEPT values for each thread.
template <int V, int KEPT>
__device__ inline void store_group_sums(float* y, const float (&sum)[KEPT], const Team<V, KEPT>& t, unsigned piece, float* part) {
  unsigned teams = blockDim.x / t.lanes, team = threadIdx.x / t.lanes;
#pragma unroll
  for (int k = 0; k < KEPT; k++) part[k * blockDim.x + threadIdx.x] = sum[k];
  for (unsigned half = teams / 2; half > 0; half /= 2) {
    __syncthreads();
    if (team < half)
#pragma unroll
      for (int k = 0; k < KEPT; k++) part[k * blockDim.x + threadIdx.x] += part[k * blockDim.x + threadIdx.x + half * t.lanes];
  }
  if (team > 0) return;
  t.each(piece, [&](int k, unsigned c) {
#pragma unroll
    for (int i = 0; i < V; i++) y[(size_t)blockIdx.x * t.C + c + i] = part[(k + i) * blockDim.x + threadIdx.x];
  });
}

// y[g,c] = sum of dy·(x - mean)·scale over the rows of group g, with Stats h(x). blockIdx.x: group.
// blockIdx.y: piece of the row, of up to 512 values; x is read once per piece. part is shared memory
// of 16 values for each of 256 threads.
template <int V>
constexpr int SUMMED = V > 1 ? 16 : 8;

template <int V, class T, class H>
__device__ inline void sum_of_products(float* y, const T* dy, const T* x, unsigned rows, unsigned C, unsigned group, float* part, H h) {
  constexpr int KEPT = SUMMED<V>;
  Team<V, KEPT> t(C);
  unsigned teams = blockDim.x / t.lanes, team = threadIdx.x / t.lanes, piece = blockIdx.y * t.span();
  unsigned end = min(rows, (blockIdx.x + 1) * group);
  float sum[KEPT] = {};
  for (unsigned r0 = blockIdx.x * group; r0 < end; r0 += teams) {
    unsigned row = r0 + team;
    size_t at = (size_t)min(row, rows - 1) * C;
    Row<V, T, KEPT> of(x + at), d(dy + at);
    d.need(t, piece, row < end);  // issue the load before the sums over x; zeros past the last row
    of.need(t, 0);
    auto s = h(of, t);
    of.need(t, piece);
#pragma unroll
    for (int k = 0; k < KEPT; k++) sum[k] += d.v[k] * (of.v[k] - s.mean) * s.scale;
  }
  store_group_sums(y, sum, t, piece, part);
}

template <int V, class T>
__device__ inline void layer_norm_grad_gamma(float* y, const T* dy, const T* x, unsigned rows, unsigned C, unsigned group, float eps, float* part) {
  sum_of_products<V>(y, dy, x, rows, C, group, part, [=](auto& of, auto& t) { return stats(of, t, eps); });
}

template <int V, class T>
__device__ inline void rms_norm_grad_gamma(float* y, const T* dy, const T* x, unsigned rows, unsigned C, unsigned group, float* part) {
  sum_of_products<V>(y, dy, x, rows, C, group, part, [=](auto& of, auto& t) { return Stats{0, rms_scale(squares(of, t), C)}; });
}

// dx and y of rms_norm_grad_x and rms_norm_grad_gamma; a team has a whole row in registers. r may be null.
template <int V, class T>
__device__ inline void rms_norm_grad(T* dx, float* y, const T* dy, const T* x, const float* gamma, const T* r, unsigned rows, unsigned C, unsigned group, float* part) {
  constexpr int KEPT = SUMMED<V>;
  Team<V, KEPT> t(C);
  unsigned teams = blockDim.x / t.lanes, team = threadIdx.x / t.lanes, end = min(rows, (blockIdx.x + 1) * group);
  float sum[KEPT] = {};
  for (unsigned r0 = blockIdx.x * group; r0 < end; r0 += teams) {
    unsigned row = r0 + team;
    size_t at = (size_t)min(row, rows - 1) * C;
    Row<V, T, KEPT> of(x + at), d(dy + at), skip(r + at);
    of.need(t, 0);
    d.need(t, 0, row < end);  // zeros past the last row
    float g[KEPT], norm2 = squares(of, t), scale = rms_scale(norm2, C);
    parameters(g, gamma, t, 0);
    float along = 0;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
      sum[k] += d.v[k] * of.v[k] * scale;
      g[k] *= d.v[k];
      along += g[k] * of.v[k];
    }
    along = t.sum(along);
    along = sqrtf(norm2) <= MIN_NORM ? 0 : along / norm2;
    if (row >= end) continue;
    skip.need(t, 0, r);
#pragma unroll
    for (int k = 0; k < KEPT; k++) g[k] = scale * (g[k] - of.v[k] * along) + skip.v[k];
    store(dx + at, g, t, 0);
  }
  store_group_sums(y, sum, t, 0, part);
}

template <int V, class T>
__device__ inline void normalize(T* y, const T* x, unsigned rows, unsigned C) {
  Team<V> t(C);
  unsigned row = t.number();
  size_t at = (size_t)min(row, rows - 1) * C;
  Row<V, T> of(x + at);
  float scale = 1 / fmaxf(sqrtf(squares(of, t)), MIN_NORM);
  if (row >= rows) return;
  pieces(t, [&](unsigned piece) {
    float v[8];
    of.need(t, piece);
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = of.v[k] * scale;
    store(y + at, v, t, piece);
  });
}

template <int V, class T>
__device__ inline void normalize_grad(T* dx, const T* dy, const T* x, unsigned rows, unsigned C) {
  Team<V> t(C);
  unsigned row = t.number();
  size_t at = (size_t)min(row, rows - 1) * C;
  Row<V, T> of(x + at), g(dy + at);
  auto need = [&](unsigned piece) { of.need(t, piece), g.need(t, piece); };
  need(0);
  float norm2 = squares(of, t), norm = sqrtf(norm2), along = total(t, need, [&](int k) { return g.v[k] * of.v[k]; });
  along = norm <= MIN_NORM ? 0 : along / norm2;
  if (row >= rows) return;
  pieces(t, [&](unsigned piece) {
    float d[8];
    need(piece);
#pragma unroll
    for (int k = 0; k < 8; k++) d[k] = (g.v[k] - of.v[k] * along) / fmaxf(norm, MIN_NORM);
    store(dx + at, d, t, piece);
  });
}

}  // namespace norms

// NAME: rows of a multiple of 8 values. NAME_odd: rows of any length.
#define NORMS(V, T, SUFFIX)                                                                                                                          \
  extern "C" __global__ void __launch_bounds__(256, V > 1 ? 4 : 3)                                                                                   \
      layer_norm##SUFFIX(T* y, const T* x, const float* gamma, const float* beta, unsigned rows, unsigned C, float eps) {                            \
    norms::layer_norm<V>(y, x, gamma, beta, rows, C, eps);                                                                                           \
  }                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, V > 1 ? 4 : 3)                                                                                   \
      layer_norm_grad_x##SUFFIX(T* dx, const T* dy, const T* x, const float* gamma, unsigned rows, unsigned C, float eps) {                          \
    norms::layer_norm_grad_x<V>(dx, dy, x, gamma, rows, C, eps);                                                                                     \
  }                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 3)                                                                                               \
      layer_norm_grad_gamma##SUFFIX(float* y, const T* dy, const T* x, unsigned rows, unsigned C, unsigned group, float eps) {                       \
    __shared__ float part[norms::SUMMED<V> * 256];                                                                                                   \
    norms::layer_norm_grad_gamma<V>(y, dy, x, rows, C, group, eps, part);                                                                            \
  }                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, V > 1 ? 4 : 3)                                                                                   \
      rms_norm##SUFFIX(T* y, const T* x, const float* gamma, unsigned rows, unsigned C, unsigned group) {                                            \
    norms::rms_norm<V>(y, x, gamma, rows, C, group);                                                                                                 \
  }                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, V > 1 ? 4 : 3)                                                                                   \
      rms_norm_grad_x##SUFFIX(T* dx, const T* dy, const T* x, const float* gamma, const T* r, unsigned rows, unsigned C, unsigned group) {           \
    norms::rms_norm_grad_x<V>(dx, dy, x, gamma, r, rows, C, group);                                                                                  \
  }                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 3)                                                                                               \
      rms_norm_grad_gamma##SUFFIX(float* y, const T* dy, const T* x, unsigned rows, unsigned C, unsigned group) {                                    \
    __shared__ float part[norms::SUMMED<V> * 256];                                                                                                   \
    norms::rms_norm_grad_gamma<V>(y, dy, x, rows, C, group, part);                                                                                   \
  }                                                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256, 2)                                                                                               \
      rms_norm_grad##SUFFIX(T* dx, float* y, const T* dy, const T* x, const float* gamma, const T* r, unsigned rows, unsigned C, unsigned group) {   \
    __shared__ float part[norms::SUMMED<V> * 256];                                                                                                   \
    norms::rms_norm_grad<V>(dx, y, dy, x, gamma, r, rows, C, group, part);                                                                           \
  }                                                                                                                                                  \
  extern "C" __global__ void normalize##SUFFIX(T* y, const T* x, unsigned rows, unsigned C) { norms::normalize<V>(y, x, rows, C); }                  \
  extern "C" __global__ void normalize_grad##SUFFIX(T* dx, const T* dy, const T* x, unsigned rows, unsigned C) {                                     \
    norms::normalize_grad<V>(dx, dy, x, rows, C);                                                                                                    \
  }

NORMS(8, float, )
NORMS(1, float, _odd)
NORMS(8, bfloat, _half)
NORMS(1, bfloat, _odd_half)
