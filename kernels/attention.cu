// Attention in tiles with an online softmax: no array has a value per query and key. With
// s_ij = scale·q_i·k_j, e_ij = exp(s_ij - peak_i), or 1 + s + s²/2 (Taylor), and
// a_ij = e_ij/sum_l e_il:
//
//   attention              y_i = sum_j a_ij v_j, and lse_i = peak_i + log sum_l e_il, which may be null
//   attention_rows         per query: peak_i, 1/sum_l e_il, mean_i = sum_j a_ij da_ij, da_ij = dy_i·v_j
//   attention_stats        the same three of lse and y: lse_i, 1, mean_i = dy_i·y_i
//   attention_grad_q       dq_i = sum_j ds_ij k_j,  ds_ij = scale·a_ij (da_ij - mean_i);
//                          with Taylor this a_ij has 1 + s_ij in place of e_ij
//   attention_grad_kv      dk_j = sum_i ds_ij q_i,  dv_j = sum_i a_ij dy_i
//   attention_grad_memory  the same for the memory's keys, over chunks of all queries
//
// A block of 64 threads has 32 queries (the last two kernels: 32 keys) of a sequence and head
// and loops over all keys (queries) in tiles of 32. A thread computes 4×4 logits of a tile. Of the
// output a block has 32 channels (blockIdx.y): wider heads recompute the logits for each 32.
//
// Definition: attention.go; Taylor with wide heads: linear_attention.go.
#include "attention.cuh"

namespace attend {

constexpr int SPAN = 32, ROW = SPAN + 1, ARRAY = SPAN * ROW;  // tokens, row pitch and size of a tile

// The line, column (of logits) and channel (of outputs) of element i or j of a thread.
__device__ inline int line(int i) { return threadIdx.x / 8 * 4 + i; }
__device__ inline int column(int j) { return threadIdx.x % 8 * 4 + j; }
__device__ inline int channel(int j) { return threadIdx.x % 8 + 8 * j; }

// Loads channels from c0 of rows from r0, zeros outside: tile[row][channel] or, transposed,
// tile[channel][row].
template <bool Transposed, class T>
__device__ inline void fill(float* tile, const Rows<T>& v, int r0, int c0, int dim) {
  int c = threadIdx.x % 32;
  for (int i = threadIdx.x / 32; i < SPAN; i += 2)
    tile[Transposed ? c * ROW + i : i * ROW + c] = r0 + i < v.count && c0 + c < dim ? v(r0 + i, c0 + c, dim) : 0;
}

// sum[i][j] = row a0 + line(i) of a · row b0 + column(j) of b.
template <class T>
__device__ inline void products(float (&sum)[4][4], const Rows<T>& a, int a0, const Rows<T>& b, int b0, int dim, float* as, float* bs) {
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] = 0;
  for (int c0 = 0; c0 < dim; c0 += SPAN) {
    __syncthreads();  // both may still be read
    fill<true>(as, a, a0, c0, dim);
    fill<true>(bs, b, b0, c0, dim);
    __syncthreads();
#pragma unroll 8
    for (int c = 0; c < SPAN; c++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sum[i][j] += as[c * ROW + line(i)] * bs[c * ROW + column(j)];
  }
}

// sum[i][j] += weights[line(i)] · channel(j) of the rows of v from r0. x is shared memory for them.
template <class T>
__device__ inline void add_weighted(float (&sum)[4][4], const float* weights, const Rows<T>& v, int r0, int c0, int dim, float* x) {
  __syncthreads();
  fill<false>(x, v, r0, c0, dim);
  __syncthreads();
#pragma unroll 8
  for (int k = 0; k < SPAN; k++)
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) sum[i][j] += weights[line(i) * ROW + k] * x[k * ROW + channel(j)];
}

// The sum over the eight threads of a line, in each of them.
__device__ inline float line_sum(float v) {
  for (int d = 4; d > 0; d /= 2) v += __shfl_xor_sync(FULL_MASK, v, d);
  return v;
}

// The weight e of a logit s, and its derivative.
__device__ inline float weight(int taylor, float s, float peak) { return taylor ? 1 + s + s * s / 2 : expf(s - peak); }
__device__ inline float weight_slope(int taylor, float s, float e) { return taylor ? 1 + s : e; }

// The online softmax of a query: the greatest logit so far and, over this thread's keys, the sum of
// weights relative to it.
struct OnlineSoftmax {
  float peak, total;
  __device__ OnlineSoftmax(int taylor) : peak(taylor ? 0 : -INFINITY), total(0) {}
  // Replaces products w with the keys from k0 by weights. Returns the factor that rescales
  // earlier sums. All threads of the line call it.
  __device__ float add(float (&w)[4], const AttentionSize& s, int query, int k0) {
    float high = peak;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] *= s.scale;
      if (!s.taylor && sees(s, query, k0 + column(j))) high = fmaxf(high, w[j]);
    }
    for (int d = 4; d > 0; d /= 2) high = fmaxf(high, __shfl_xor_sync(FULL_MASK, high, d));
    float rescale = s.taylor ? 1 : expf(peak - high);
    peak = high;
    total *= rescale;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      w[j] = sees(s, query, k0 + column(j)) ? weight(s.taylor, w[j], high) : 0;
      total += w[j];
    }
    return rescale;
  }
};

// Accumulates dk and dv over the queries [from,to). With causal, row i of k and v is token i.
// as, bs, ps and ds are tiles of ARRAY values.
template <class T>
__device__ inline void key_gradients(float (&dk)[4][4], float (&dv)[4][4], const AttentionSize& s, const Rows<T>& k, const Rows<T>& v, int k0, const Rows<T>& q,
                                     const Rows<T>& dy, const QueryStats& rows, int from, int to, bool causal, float* as, float* bs, float* ps, float* ds) {
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

// Calls f(line, channel, value) for the outputs of this thread.
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

template <class T>
__device__ inline void forward(T* y, float* lse, const T* q, const T* kv, const float* memory, const AttentionSize& s, unsigned tokens, float* as, float* bs, float* ws) {
  Tile p = tile_of(s, SPAN);
  float sum[4][4] = {};
  OnlineSoftmax r[4] = {s.taylor, s.taylor, s.taylor, s.taylor};
  for (int k0 = 0; k0 < seen(s, p.from, SPAN); k0 += SPAN) {
    float w[4][4];
    products(w, queries(q, s, p), p.from, keys(kv, memory, s, p, 0), k0, s.dim, as, bs);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float rescale = r[i].add(w[i], s, p.from + line(i), k0);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        sum[i][j] *= rescale;
        ws[line(i) * ROW + column(j)] = w[i][j];
      }
    }
    add_weighted(sum, ws, keys(kv, memory, s, p, 1), k0, blockIdx.y * SPAN, s.dim, as);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    float total = line_sum(r[i].total);
    if (lse && blockIdx.y == 0 && threadIdx.x % 8 == 0 && p.from + line(i) < s.length) lse[at_lse(s, p, tokens, p.from + line(i))] = r[i].peak + logf(total);
#pragma unroll
    for (int j = 0; j < 4; j++) sum[i][j] /= total;
  }
  store(sum, s.length - p.from, s.dim, [=](int i, int c, float v) { put(y + at_query(s, p, p.from + i, c, s.heads * s.dim), v); });
}

template <class T>
__device__ inline void rows(float* rows, const T* dy, const T* q, const T* kv, const float* memory, const AttentionSize& s, unsigned tokens, float* as, float* bs) {
  Tile p = tile_of(s, SPAN);
  float mean[4] = {};
  OnlineSoftmax r[4] = {s.taylor, s.taylor, s.taylor, s.taylor};
  for (int k0 = 0; k0 < seen(s, p.from, SPAN); k0 += SPAN) {
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
    if (threadIdx.x % 8 == 0 && p.from + line(i) < s.length) store_stats(rows, s, p, tokens, p.from + line(i), r[i].peak, total, sum);
  }
}

template <class T>
__device__ inline void grad_q(T* dq, const T* dy, const T* q, const T* kv, const float* memory, const float* rows, const AttentionSize& s, unsigned tokens, float* as,
                              float* bs, float* ds) {
  Tile p = tile_of(s, SPAN);
  QueryStats of = stats(rows, s, p, tokens);
  float sum[4][4] = {};
  for (int k0 = 0; k0 < seen(s, p.from, SPAN); k0 += SPAN) {
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
  store(sum, s.length - p.from, s.dim, [=](int i, int c, float v) { put(dq + at_query(s, p, p.from + i, c, s.queryPitch), v); });
}

template <class T>
__device__ inline void grad_kv(T* dkv, const T* dy, const T* q, const T* kv, const float* rows, const AttentionSize& s, unsigned tokens, float* as, float* bs, float* ps,
                               float* ds) {
  Tile p = tile_of(s, SPAN);
  float dk[4][4] = {}, dv[4][4] = {};
  key_gradients(dk, dv, s, token_keys(kv, s, p, 0), token_keys(kv, s, p, 1), p.from, queries(q, s, p), slopes(dy, s, p), stats(rows, s, p, tokens),
                s.causal ? p.from : 0, s.length, s.causal, as, bs, ps, ds);
  store(dk, s.length - p.from, s.dim, [=](int i, int c, float v) { put(dkv + at_key(s, p, 0, p.from + i, c), v); });
  store(dv, s.length - p.from, s.dim, [=](int i, int c, float v) { put(dkv + at_key(s, p, 1, p.from + i, c), v); });
}

// dmemory has a [2,heads,memory,dim] for each chunk of tokens (blockIdx.z). All queries
// see the memory, so that the tokens of all sequences stand in a row.
template <class T>
__device__ inline void grad_memory(float* dmemory, const T* dy, const T* q, const float* memory, const float* rows, const AttentionSize& s, unsigned tokens, unsigned chunk,
                                   float* as, float* bs, float* ps, float* ds) {
  int tiles = (s.memory + SPAN - 1) / SPAN, k0 = blockIdx.x % tiles * SPAN, to = min(tokens, (blockIdx.z + 1) * chunk);
  Tile p = {int(blockIdx.x / tiles), 0, 0};
  AttentionSize all = s;
  all.length = tokens, all.group = 1;
  float dk[4][4] = {}, dv[4][4] = {};
  key_gradients(dk, dv, s, memory_keys<T>(memory, s, p.head, 0), memory_keys<T>(memory, s, p.head, 1), k0, queries(q, all, p), slopes(dy, all, p),
                stats(rows, all, p, tokens), blockIdx.z * chunk, to, false, as, bs, ps, ds);
  store(dk, s.memory - k0, s.dim, [=](int i, int c, float v) { dmemory[at_memory(s, p.head, 0, k0 + i, c)] = v; });
  store(dv, s.memory - k0, s.dim, [=](int i, int c, float v) { dmemory[at_memory(s, p.head, 1, k0 + i, c)] = v; });
}

// A thread per query and head.
template <class T>
__device__ inline void known_stats(float* rows, const T* dy, const T* y, const float* lse, const AttentionSize& s, unsigned tokens) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x, token = i / s.heads, head = i % s.heads;
  if (token >= tokens) return;
  size_t size = (size_t)s.heads * tokens, at = (size_t)head * tokens + token;
  float mean = 0;
  for (int c = 0; c < s.dim; c++) mean += load(dy[(size_t)i * s.dim + c]) * load(y[(size_t)i * s.dim + c]);
  rows[at] = lse[at], rows[size + at] = 1, rows[2 * size + at] = mean;
}

}  // namespace attend

#define ATTENTION(T, SUFFIX)                                                                                                                              \
  extern "C" __global__ void __launch_bounds__(64, 6)                                                                                                    \
      attention##SUFFIX(T* y, float* lse, const T* q, const T* kv, const float* memory, AttentionSize s, unsigned tokens) {                              \
    __shared__ float as[attend::ARRAY], bs[attend::ARRAY], ws[attend::ARRAY];                                                                            \
    attend::forward(y, lse, q, kv, memory, s, tokens, as, bs, ws);                                                                                       \
  }                                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(256)                                                                                                      \
      attention_stats##SUFFIX(float* rows, const T* dy, const T* y, const float* lse, AttentionSize s, unsigned tokens) {                                \
    attend::known_stats(rows, dy, y, lse, s, tokens);                                                                                                    \
  }                                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(64, 6)                                                                                                    \
      attention_rows##SUFFIX(float* rows, const T* dy, const T* q, const T* kv, const float* memory, AttentionSize s, unsigned tokens) {                 \
    __shared__ float as[attend::ARRAY], bs[attend::ARRAY];                                                                                               \
    attend::rows(rows, dy, q, kv, memory, s, tokens, as, bs);                                                                                            \
  }                                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(64, 6)                                                                                                    \
      attention_grad_q##SUFFIX(T* dq, const T* dy, const T* q, const T* kv, const float* memory, const float* rows, AttentionSize s, unsigned tokens) {  \
    __shared__ float as[attend::ARRAY], bs[attend::ARRAY], ds[attend::ARRAY];                                                                            \
    attend::grad_q(dq, dy, q, kv, memory, rows, s, tokens, as, bs, ds);                                                                                  \
  }                                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(64, 6)                                                                                                    \
      attention_grad_kv##SUFFIX(T* dkv, const T* dy, const T* q, const T* kv, const float* rows, AttentionSize s, unsigned tokens) {                     \
    __shared__ float as[attend::ARRAY], bs[attend::ARRAY], ps[attend::ARRAY], ds[attend::ARRAY];                                                         \
    attend::grad_kv(dkv, dy, q, kv, rows, s, tokens, as, bs, ps, ds);                                                                                    \
  }                                                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(64, 6)                                                                                                    \
      attention_grad_memory##SUFFIX(float* dmemory, const T* dy, const T* q, const float* memory, const float* rows, AttentionSize s, unsigned tokens,   \
                                    unsigned chunk) {                                                                                                    \
    __shared__ float as[attend::ARRAY], bs[attend::ARRAY], ps[attend::ARRAY], ds[attend::ARRAY];                                                         \
    attend::grad_memory(dmemory, dy, q, memory, rows, s, tokens, chunk, as, bs, ps, ds);                                                                 \
  }

ATTENTION(float, )
ATTENTION(bfloat, _half)
