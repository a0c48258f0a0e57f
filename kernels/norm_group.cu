// Group normalization. A group is C/G consecutive channels of all rows of a sample.
//
//   group_norm_parts       count, mean and sum of squared deviations of a split of a group's rows
//   group_norm_stats       mean and 1/sqrt(variance + eps) of each group, from its splits
//   group_norm             y = Act((x - mean)·scale·gamma + beta)
//   group_norm_slopes      sums of g = dy·gamma and of g·h over a split, h = (x - mean)·scale
//   group_norm_grad_x      dx = scale·(g - mean(g) - h·mean(g·h))
//   group_norm_grad_gamma  sum over rows of dy·h
//
// group_norm_parts, group_norm_slopes: one block per split (blockIdx.x) and group (blockIdx.y).
// group_norm_stats: one thread per group. group_norm, group_norm_grad_x: one thread per value.
// group_norm_grad_gamma: see column_sums. Deviations are from the split's own mean, so that no
// large numbers cancel; splits merge by the formula of Chan, Golub and LeVeque (1979).
//
// Definition: norm_group.go.
#include "common.cuh"

namespace group_norm_of {

// The values of a split of a group: rows [from,to) of the sample, channels of the group.
struct Split {
  unsigned from, to, width, C;
  size_t first;  // the first channel of the group in the sample's first row

  __device__ Split(unsigned rows, unsigned C, unsigned G, unsigned splits) : width(C / G), C(C) {
    unsigned size = ceil_div(rows, splits), group = blockIdx.y % G, n = blockIdx.y / G;
    from = min(rows, blockIdx.x * size), to = min(rows, from + size);
    first = (size_t)n * rows * C + group * width;
  }
  __device__ unsigned count() const { return (to - from) * width; }

  // Calls f(index, channel of the group) for each value of the thread.
  template <class F>
  __device__ void each(F f) const {
    for (unsigned i = threadIdx.x; i < count(); i += blockDim.x) f(first + (size_t)(from + i / width) * C + i % width, i % width);
  }
};

template <class T>
__device__ inline void parts_of(float* parts, const T* x, unsigned rows, unsigned C, unsigned G, unsigned splits, float* partial) {
  Split s(rows, C, G, splits);
  float sum = 0, squares = 0;
  s.each([&](size_t at, unsigned) { sum += load(x[at]); });
  float mean = s.count() ? block_sum(sum, partial) / s.count() : 0;
  s.each([&](size_t at, unsigned) {
    float d = load(x[at]) - mean;
    squares += d * d;
  });
  squares = block_sum(squares, partial);
  if (threadIdx.x) return;
  parts += 3 * (size_t)(blockIdx.y * gridDim.x + blockIdx.x);
  parts[0] = s.count(), parts[1] = mean, parts[2] = squares;
}

// The parameter of value i.
__device__ inline unsigned parameter(unsigned i, unsigned rows, unsigned C, int adaptive) { return adaptive ? i / C / rows * C + i % C : i % C; }

// The group of value i, among those of all samples.
__device__ inline unsigned group_of(unsigned i, unsigned rows, unsigned C, unsigned G) { return i / C / rows * G + i % C / (C / G); }

template <class T>
__device__ inline void forward(T* y, const T* x, const float* gamma, const float* beta, const float* stats, unsigned n, unsigned rows, unsigned C, unsigned G, int adaptive,
                               int kind) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned k = parameter(i, rows, C, adaptive);
  const float* s = stats + 2 * group_of(i, rows, C, G);
  y[i] = as<T>(activate(kind, (load(x[i]) - s[0]) * s[1] * gamma[k] + beta[k]));
}

template <class T>
__device__ inline void slopes_of(float* parts, const T* dy, const T* x, const float* gamma, const float* stats, unsigned rows, unsigned C, unsigned G, unsigned splits,
                                 int adaptive, float* partial) {
  Split s(rows, C, G, splits);
  float mean = stats[2 * blockIdx.y], scale = stats[2 * blockIdx.y + 1], sum = 0, along = 0;
  gamma += blockIdx.y % G * s.width + (adaptive ? blockIdx.y / G * C : 0);
  s.each([&](size_t at, unsigned c) {
    float g = load(dy[at]) * gamma[c];
    sum += g;
    along += g * (load(x[at]) - mean) * scale;
  });
  sum = block_sum(sum, partial);
  along = block_sum(along, partial);
  if (threadIdx.x) return;
  parts += 2 * (size_t)(blockIdx.y * gridDim.x + blockIdx.x);
  parts[0] = sum, parts[1] = along;
}

template <class T>
__device__ inline void backward(T* dx, const T* dy, const T* x, const float* gamma, const float* stats, const float* sums, unsigned n, unsigned rows, unsigned C, unsigned G,
                                int adaptive) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned g = group_of(i, rows, C, G);
  float mean = stats[2 * g], scale = stats[2 * g + 1], count = (float)rows * (C / G);
  float h = (load(x[i]) - mean) * scale;
  dx[i] = as<T>(scale * (load(dy[i]) * gamma[parameter(i, rows, C, adaptive)] - sums[2 * g] / count - h * sums[2 * g + 1] / count));
}

template <class T>
__device__ inline void gamma_sums(float* y, const T* dy, const T* x, const float* stats, unsigned rows, unsigned columns, unsigned group, unsigned sample, unsigned G,
                                  float* partial) {
  scalar_column_sums(y, rows, columns, group, partial, [=](unsigned r, unsigned c) {
    const float* s = stats + 2 * (r / sample * G + c / (columns / G));
    size_t at = (size_t)r * columns + c;
    return load(dy[at]) * (load(x[at]) - s[0]) * s[1];
  });
}

}  // namespace group_norm_of

// n is the number of groups.
extern "C" __global__ void group_norm_stats(float* stats, const float* parts, unsigned n, unsigned splits, unsigned rows, unsigned channels, float eps) {
  unsigned g = global_thread_id();
  if (g >= n) return;
  float count = 0, mean = 0, squares = 0;
  for (unsigned i = 0; i < splits; i++) {
    const float* p = parts + 3 * (size_t)(g * splits + i);
    if (p[0] == 0) continue;
    float all = count + p[0], d = p[1] - mean;
    mean += d * (p[0] / all);
    squares += p[2] + d * d * (count * (p[0] / all));
    count = all;
  }
  stats[2 * g] = mean;
  stats[2 * g + 1] = 1 / sqrtf(squares / ((float)rows * channels) + eps);
}

#define GROUP_NORM(suffix, T)                                                                                                                          \
  extern "C" __global__ void group_norm_parts##suffix(float* parts, const T* x, unsigned rows, unsigned C, unsigned G, unsigned splits) {             \
    __shared__ float partial[32];                                                                                                                      \
    group_norm_of::parts_of(parts, x, rows, C, G, splits, partial);                                                                                    \
  }                                                                                                                                                    \
  extern "C" __global__ void group_norm##suffix(T* y, const T* x, const float* gamma, const float* beta, const float* stats, unsigned values,         \
                                                unsigned rows, unsigned C, unsigned G, int adaptive, int kind) {                                       \
    group_norm_of::forward(y, x, gamma, beta, stats, values, rows, C, G, adaptive, kind);                                                              \
  }                                                                                                                                                    \
  extern "C" __global__ void group_norm_slopes##suffix(float* parts, const T* dy, const T* x, const float* gamma, const float* stats, unsigned rows,  \
                                                       unsigned C, unsigned G, unsigned splits, int adaptive) {                                        \
    __shared__ float partial[32];                                                                                                                      \
    group_norm_of::slopes_of(parts, dy, x, gamma, stats, rows, C, G, splits, adaptive, partial);                                                       \
  }                                                                                                                                                    \
  extern "C" __global__ void group_norm_grad_x##suffix(T* dx, const T* dy, const T* x, const float* gamma, const float* stats, const float* sums,     \
                                                       unsigned values, unsigned rows, unsigned C, unsigned G, int adaptive) {                         \
    group_norm_of::backward(dx, dy, x, gamma, stats, sums, values, rows, C, G, adaptive);                                                              \
  }                                                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(256) group_norm_grad_gamma##suffix(float* y, const T* dy, const T* x, const float* stats,              \
                                                                                  unsigned rows, unsigned columns, unsigned group, unsigned sample,   \
                                                                                  unsigned G) {                                                        \
    __shared__ float partial[256];                                                                                                                     \
    group_norm_of::gamma_sums(y, dy, x, stats, rows, columns, group, sample, G, partial);                                                              \
  }

GROUP_NORM(, float)
GROUP_NORM(_half, bfloat)
