// Attention of queries to keys, a tile of either at a time: no array has a value for
// each query and key. With s_ij = scale·q_i·k_j, e_ij = exp(s_ij - peak_i), or
// 1 + s + s²/2 (Taylor), and a_ij = e_ij/sum_l e_il:
//
//   attention              y_i = sum_j a_ij v_j
//   attention_rows         of each query peak_i, 1/sum_l e_il, mean_i = sum_j a_ij da_ij, da_ij = dy_i·v_j
//   attention_grad_q       dq_i = sum_j ds_ij k_j,  ds_ij = scale·a_ij (da_ij - mean_i);
//                          with Taylor 1 + s_ij stands for e_ij in this a_ij
//   attention_grad_kv      dk_j = sum_i ds_ij q_i,  dv_j = sum_i a_ij dy_i
//   attention_grad_memory  the same for the keys of the memory, over chunks of all queries
//
// A block of 64 threads has 32 queries (the last two: 32 keys) of a sequence and head
// and passes over all keys (queries) in tiles of 32; a thread has 4×4 products. Of the
// result it has 32 channels (blockIdx.y): wider heads compute products again for each 32.
//
// Definition: attention.go; of Taylor with wide heads linear_attention.go.
#include "common.cuh"

struct AttentionSize {
  int length, group;  // token i of a sequence stands at its first + i·group
  int heads, dim, memory, causal, taylor;
  int queryPitch, keyPitch, keyAt;  // from token to token; where keys begin, values follow them
  float scale;
};

namespace attend {

constexpr int SPAN = 32, ROW = SPAN + 1, ARRAY = SPAN * ROW;  // of a tile

// Vectors of dim values: first in a memory, others pitch values apart.
struct Rows {
  const float *memory, *x;
  int first, count;
  size_t pitch;
};

// A sequence's head and a tile of it.
struct Tile {
  int head, from;
  size_t token;  // first of the sequence
};

__device__ inline Tile tile_of(const AttentionSize& s) {
  int tiles = (s.length + SPAN - 1) / SPAN, i = blockIdx.x / tiles, sequence = i / s.heads;
  return {i % s.heads, int(blockIdx.x % tiles * SPAN), (size_t)sequence / s.group * s.group * s.length + sequence % s.group};
}

__device__ inline Rows queries(const float* q, const AttentionSize& s, const Tile& p) {
  return {nullptr, q + p.token * s.queryPitch + p.head * s.dim, 0, s.length, (size_t)s.group * s.queryPitch};
}

__device__ inline Rows slopes(const float* dy, const AttentionSize& s, const Tile& p) {
  size_t width = s.heads * s.dim;
  return {nullptr, dy + p.token * width + p.head * s.dim, 0, s.length, s.group * width};
}

// Keys (part 0) or values (1), the memory's first.
__device__ inline Rows keys(const float* kv, const float* memory, const AttentionSize& s, const Tile& p, int part) {
  return {memory + (part * s.heads + p.head) * s.memory * s.dim, kv + p.token * s.keyPitch + s.keyAt + (part * s.heads + p.head) * s.dim, s.memory,
          s.memory + s.length, (size_t)s.group * s.keyPitch};
}

// The products and results of a thread.
__device__ inline int line(int i) { return threadIdx.x / 8 * 4 + i; }
__device__ inline int column(int j) { return threadIdx.x % 8 * 4 + j; }
__device__ inline int channel(int j) { return threadIdx.x % 8 + 8 * j; }

// Channels c0.. of rows r0.., zeros outside: x[row][channel] or, turned, x[channel][row].
template <bool Turned>
__device__ inline void load(float* tile, const Rows& v, int r0, int c0, int dim) {
  int c = threadIdx.x % 32;
  for (int i = threadIdx.x / 32; i < SPAN; i += 2) {
    int r = r0 + i;
    const float* x = r < v.first ? v.memory + (size_t)r * dim : v.x + (r - v.first) * v.pitch;
    tile[Turned ? c * ROW + i : i * ROW + c] = r < v.count && c0 + c < dim ? x[c0 + c] : 0;
  }
}

// sum[i][j] = row a0 + line(i) of a times row b0 + column(j) of b.
__device__ inline void products(float (&sum)[4][4], const Rows& a, int a0, const Rows& b, int b0, int dim, float* as, float* bs) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] = 0;
  for (int c0 = 0; c0 < dim; c0 += SPAN) {
    __syncthreads();  // both may still be read
    load<true>(as, a, a0, c0, dim);
    load<true>(bs, b, b0, c0, dim);
    __syncthreads();
#pragma unroll 8
    for (int c = 0; c < SPAN; c++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += as[c * ROW + line(i)] * bs[c * ROW + column(j)];
  }
}

// sum[i][j] += weights[line(i)] times channel(j) of rows r0.. of v; x is a tile for them.
__device__ inline void add_weighted(float (&sum)[4][4], const float* weights, const Rows& v, int r0, int c0, int dim, float* x) {
  __syncthreads();
  load<false>(x, v, r0, c0, dim);
  __syncthreads();
#pragma unroll 8
  for (int k = 0; k < SPAN; k++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) sum[i][j] += weights[line(i) * ROW + k] * x[k * ROW + channel(j)];
}

// The sum over the eight threads of a line; each gets it.
__device__ inline float line_sum(float v) {
  for (int d = 4; d > 0; d /= 2) v += __shfl_xor_sync(ALL, v, d);
  return v;
}

// e of a logit, and its derivative.
__device__ inline float weight(int taylor, float s, float peak) { return taylor ? 1 + s + s * s / 2 : expf(s - peak); }
__device__ inline float weight_slope(int taylor, float s, float e) { return taylor ? 1 + s : e; }

// Whether query i weighs key j, the memory counted.
__device__ inline bool sees(const AttentionSize& s, int i, int j) { return j < s.memory + s.length && (!s.causal || j - s.memory <= i); }

// How many keys the queries of a tile see at most.
__device__ inline int seen(const AttentionSize& s, int from) { return s.memory + (s.causal ? min(s.length, from + SPAN) : s.length); }

// A query's sum of weights so far, of this thread's keys, relative to the greatest logit.
struct Running {
  float peak, total;
  __device__ Running(int taylor) : peak(taylor ? 0 : -INFINITY), total(0) {}
  // Makes weights of products w with the keys from k0; returns by what to multiply
  // earlier ones. All threads of the line call it.
  __device__ float add(float (&w)[4], const AttentionSize& s, int query, int k0) {
    float high = peak;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] *= s.scale;
      if (!s.taylor && sees(s, query, k0 + column(j))) high = fmaxf(high, w[j]);
    }
    for (int d = 4; d > 0; d /= 2) high = fmaxf(high, __shfl_xor_sync(ALL, high, d));
    float shrink = s.taylor ? 1 : expf(peak - high);
    peak = high;
    total *= shrink;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] = sees(s, query, k0 + column(j)) ? weight(s.taylor, w[j], high) : 0;
      total += w[j];
    }
    return shrink;
  }
};

// What attention_rows leaves of each query: three arrays [heads,tokens].
struct QueryStats {
  const float* x;
  size_t size, pitch;  // of an array; from query to query
  __device__ float peak(int i) const { return x[i * pitch]; }
  __device__ float inverse(int i) const { return x[size + i * pitch]; }
  __device__ float mean(int i) const { return x[2 * size + i * pitch]; }
};

__device__ inline QueryStats stats(const float* x, const AttentionSize& s, const Tile& p, unsigned tokens) {
  return {x + (size_t)p.head * tokens + p.token, (size_t)s.heads * tokens, (size_t)s.group};
}

// Adds to dk and dv the parts of the queries [from,to). The first of keys and values is
// key 0 of a causal sequence. The tiles hold ARRAY values.
__device__ inline void key_gradients(float (&dk)[4][4], float (&dv)[4][4], const AttentionSize& s, const Rows& k, const Rows& v, int k0, const Rows& q,
                                     const Rows& dy, const QueryStats& rows, int from, int to, bool causal, float* as, float* bs, float* ps, float* ds) {
  int c0 = blockIdx.y * SPAN;
  for (int q0 = from; q0 < to; q0 += SPAN) {
    float w[4][4], da[4][4];
    products(w, k, k0, q, q0, s.dim, as, bs);
    products(da, v, k0, dy, q0, s.dim, as, bs);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int query = q0 + column(j);
      bool here = query < to;
      float peak = here ? rows.peak(query) : 0, inverse = here ? rows.inverse(query) : 0, mean = here ? rows.mean(query) : 0;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        int key = k0 + line(i), at = line(i) * ROW + column(j);
        float logit = w[i][j] * s.scale, e = weight(s.taylor, logit, peak);
        bool sees = here && key < k.count && (!causal || key <= query);
        ps[at] = sees ? e * inverse : 0;
        ds[at] = sees ? weight_slope(s.taylor, logit, e) * inverse * (da[i][j] - mean) * s.scale : 0;
      }
    }
    add_weighted(dk, ds, q, q0, c0, s.dim, as);
    add_weighted(dv, ps, dy, q0, c0, s.dim, bs);
  }
}

// Calls f(line, channel, value) for the results of this thread.
template <class F>
__device__ inline void store(const float (&sum)[4][4], int lines, int dim, F f) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) {
      int c = blockIdx.y * SPAN + channel(j);
      if (line(i) < lines && c < dim) f(line(i), c, sum[i][j]);
    }
}

}  // namespace attend

extern "C" __global__ void __launch_bounds__(64) attention(float* y, const float* q, const float* kv, const float* memory, AttentionSize s) {
  using namespace attend;
  __shared__ float as[ARRAY], bs[ARRAY], ws[ARRAY];
  Tile p = tile_of(s);
  float sum[4][4] = {};
  Running r[4] = {s.taylor, s.taylor, s.taylor, s.taylor};
  for (int k0 = 0; k0 < seen(s, p.from); k0 += SPAN) {
    float w[4][4];
    products(w, queries(q, s, p), p.from, keys(kv, memory, s, p, 0), k0, s.dim, as, bs);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float shrink = r[i].add(w[i], s, p.from + line(i), k0);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        sum[i][j] *= shrink;
        ws[line(i) * ROW + column(j)] = w[i][j];
      }
    }
    add_weighted(sum, ws, keys(kv, memory, s, p, 1), k0, blockIdx.y * SPAN, s.dim, as);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float total = line_sum(r[i].total);
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] /= total;
  }
  size_t width = s.heads * s.dim;
  store(sum, s.length - p.from, s.dim, [=](int i, int c, float v) { y[(p.token + (size_t)(p.from + i) * s.group) * width + p.head * s.dim + c] = v; });
}

extern "C" __global__ void __launch_bounds__(64) attention_rows(float* rows, const float* dy, const float* q, const float* kv, const float* memory, AttentionSize s,
                                                                unsigned tokens) {
  using namespace attend;
  __shared__ float as[ARRAY], bs[ARRAY];
  Tile p = tile_of(s);
  float mean[4] = {};
  Running r[4] = {s.taylor, s.taylor, s.taylor, s.taylor};
  for (int k0 = 0; k0 < seen(s, p.from); k0 += SPAN) {
    float w[4][4], da[4][4];
    products(w, queries(q, s, p), p.from, keys(kv, memory, s, p, 0), k0, s.dim, as, bs);
    products(da, slopes(dy, s, p), p.from, keys(kv, memory, s, p, 1), k0, s.dim, as, bs);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      mean[i] *= r[i].add(w[i], s, p.from + line(i), k0);
#pragma unroll
      for (int j = 0; j < 4; j++) mean[i] += w[i][j] * da[i][j];
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float total = line_sum(r[i].total), sum = line_sum(mean[i]);
    if (threadIdx.x % 8 || p.from + line(i) >= s.length) continue;
    float* x = rows + (size_t)p.head * tokens + p.token + (size_t)(p.from + line(i)) * s.group;
    size_t size = (size_t)s.heads * tokens;
    x[0] = r[i].peak;
    x[size] = 1 / total;
    x[2 * size] = sum / total;
  }
}

extern "C" __global__ void __launch_bounds__(64) attention_grad_q(float* dq, const float* dy, const float* q, const float* kv, const float* memory, const float* rows,
                                                                  AttentionSize s, unsigned tokens) {
  using namespace attend;
  __shared__ float as[ARRAY], bs[ARRAY], ds[ARRAY];
  Tile p = tile_of(s);
  QueryStats of = stats(rows, s, p, tokens);
  float sum[4][4] = {};
  for (int k0 = 0; k0 < seen(s, p.from); k0 += SPAN) {
    float w[4][4], da[4][4];
    products(w, queries(q, s, p), p.from, keys(kv, memory, s, p, 0), k0, s.dim, as, bs);
    products(da, slopes(dy, s, p), p.from, keys(kv, memory, s, p, 1), k0, s.dim, as, bs);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int query = p.from + line(i);
      bool here = query < s.length;
      float peak = here ? of.peak(query) : 0, inverse = here ? of.inverse(query) : 0, mean = here ? of.mean(query) : 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float logit = w[i][j] * s.scale, e = weight(s.taylor, logit, peak);
        bool weighed = here && sees(s, query, k0 + column(j));
        ds[line(i) * ROW + column(j)] = weighed ? weight_slope(s.taylor, logit, e) * inverse * (da[i][j] - mean) * s.scale : 0;
      }
    }
    add_weighted(sum, ds, keys(kv, memory, s, p, 0), k0, blockIdx.y * SPAN, s.dim, as);
  }
  store(sum, s.length - p.from, s.dim,
               [=](int i, int c, float v) { dq[(p.token + (size_t)(p.from + i) * s.group) * s.queryPitch + p.head * s.dim + c] = v; });
}

extern "C" __global__ void __launch_bounds__(64) attention_grad_kv(float* dkv, const float* dy, const float* q, const float* kv, const float* rows, AttentionSize s,
                                                                   unsigned tokens) {
  using namespace attend;
  __shared__ float as[ARRAY], bs[ARRAY], ps[ARRAY], ds[ARRAY];
  Tile p = tile_of(s);
  AttentionSize own = s;  // the tokens' keys alone
  own.memory = 0;
  float dk[4][4] = {}, dv[4][4] = {};
  key_gradients(dk, dv, s, keys(kv, nullptr, own, p, 0), keys(kv, nullptr, own, p, 1), p.from, queries(q, s, p), slopes(dy, s, p), stats(rows, s, p, tokens),
                s.causal ? p.from : 0, s.length, s.causal, as, bs, ps, ds);
  auto at = [=](int part, int i, int c) { return (p.token + (size_t)(p.from + i) * s.group) * s.keyPitch + s.keyAt + (part * s.heads + p.head) * s.dim + c; };
  store(dk, s.length - p.from, s.dim, [=](int i, int c, float v) { dkv[at(0, i, c)] = v; });
  store(dv, s.length - p.from, s.dim, [=](int i, int c, float v) { dkv[at(1, i, c)] = v; });
}

// dmemory has a [2,heads,memory,dim] for each chunk of tokens (blockIdx.z). All queries
// see the memory, so that the tokens of all sequences stand in a row.
extern "C" __global__ void __launch_bounds__(64) attention_grad_memory(float* dmemory, const float* dy, const float* q, const float* memory, const float* rows,
                                                                       AttentionSize s, unsigned tokens, unsigned chunk) {
  using namespace attend;
  __shared__ float as[ARRAY], bs[ARRAY], ps[ARRAY], ds[ARRAY];
  int tiles = (s.memory + SPAN - 1) / SPAN, k0 = blockIdx.x % tiles * SPAN, to = min(tokens, (blockIdx.z + 1) * chunk);
  Tile p = {int(blockIdx.x / tiles), 0, 0};
  AttentionSize all = s;
  all.length = tokens, all.group = 1;
  auto of = [=](int part) { return Rows{memory + (part * s.heads + p.head) * s.memory * s.dim, nullptr, s.memory, s.memory, 0}; };
  float dk[4][4] = {}, dv[4][4] = {};
  key_gradients(dk, dv, s, of(0), of(1), k0, queries(q, all, p), slopes(dy, all, p), stats(rows, all, p, tokens), blockIdx.z * chunk, to, false, as, bs, ps, ds);
  auto at = [=](int part, int i, int c) { return (((size_t)(blockIdx.z * 2 + part) * s.heads + p.head) * s.memory + k0 + i) * s.dim + c; };
  store(dk, s.memory - k0, s.dim, [=](int i, int c, float v) { dmemory[at(0, i, c)] = v; });
  store(dv, s.memory - k0, s.dim, [=](int i, int c, float v) { dmemory[at(1, i, c)] = v; });
}
