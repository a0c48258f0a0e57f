// Attention on tensor cores for heads of up to 32 channels and bfloat16 activations: the sums of
// attention.cu with bfloat16 operands. The memory, the weights a_ij and their gradients ds_ij are
// rounded to bfloat16; logits, softmax and accumulators are float32.
//
//   attention_mma              y_i, and lse_i as in attention.cu
//   attention_grad_q_mma       dq_i, and the softmax statistics of each query (rows) unless they are known; dq may be null
//   attention_grad_kv_mma      dk_j and dv_j
//   attention_grad_memory_mma  the same for the memory's keys, over chunks of all queries
//
// A warp has 16 queries (the last two kernels: keys) in registers and loops over all keys
// (queries), which its block loads into shared memory in tiles of 64. The accumulators of one
// mma, 16×8 logits, have the register layout of operand A of the next.
//
// Definition: attention.go, rounded as in precision.go.
#include "attention.cuh"
#include "mma.cuh"

namespace attend_mma {

using namespace attend;

// Channels of a head, tokens of a tile, row pitch (8 rows are in different banks), rows of a warp.
constexpr int DIM = 32, SPAN = 64, PITCH = DIM + 8, TILE = SPAN * PITCH, WARP = 16;

// Accumulators of 16 rows and 8·N columns. Of each 8 columns lane 4g+t has columns 2t and 2t+1
// of rows g and g+8.
template <int N>
using Sums = float[N][4];

__device__ inline int row_of(int e) { return threadIdx.x % 32 / 4 + e / 2 * 8; }
__device__ inline int column_of(int n, int e) { return n * 8 + threadIdx.x % 4 * 2 + e % 2; }
__device__ inline int warp_first() { return threadIdx.x / 32 * WARP; }

__device__ inline unsigned pair(float low, float high) { return as<bfloat>(low).bits | (unsigned)as<bfloat>(high).bits << 16; }

// Loads rows of v from r0, zeros outside.
template <class T>
__device__ inline void fill(bfloat* tile, const Rows<T>& v, int r0, int dim) {
  for (int i = threadIdx.x; i < SPAN * (DIM / 8); i += blockDim.x) {
    int r = r0 + i / (DIM / 8), c = i % (DIM / 8) * 8;
    uint4 x = {0, 0, 0, 0};
    if (dim % 8 == 0 && r >= v.first) {
      if (r < v.count && c < dim) x = *(const uint4*)(v.x + (r - v.first) * v.pitch + c);
    } else if (r < v.count) {
      auto at = [&](int j) { return c + j < dim ? v(r, c + j, dim) : 0; };
      x = {pair(at(0), at(1)), pair(at(2), at(3)), pair(at(4), at(5)), pair(at(6), at(7))};
    }
    *(uint4*)(tile + i / (DIM / 8) * PITCH + c) = x;
  }
}

// Operand A: 16 rows, all channels.
struct Left {
  unsigned r[DIM / 16][4];
  // Loads the warp's rows of a tile.
  __device__ Left(const bfloat* tile) {
    int i = threadIdx.x % 32 / 8, j = threadIdx.x % 8;
#pragma unroll
    for (int k = 0; k < DIM / 16; k++) ldmatrix_x4<false>(r[k], tile + (warp_first() + j + i % 2 * 8) * PITCH + 16 * k + i / 2 * 8);
  }
};

// sum = x · rows n0 to n0+15 of a tile: a column per row.
__device__ inline void logits(Sums<2>& sum, const Left& x, const bfloat* tile, int n0) {
  int i = threadIdx.x % 32 / 8, j = threadIdx.x % 8;
#pragma unroll
  for (int e = 0; e < 4; e++) sum[0][e] = sum[1][e] = 0;
#pragma unroll
  for (int k = 0; k < DIM / 16; k++) {
    unsigned b[4];
    ldmatrix_x4<false>(b, tile + (n0 + j + i / 2 * 8) * PITCH + 16 * k + i % 2 * 8);
    mma_m16n8k16(sum[0], x.r[k], b[0], b[1]);
    mma_m16n8k16(sum[1], x.r[k], b[2], b[3]);
  }
}

// sum += w · rows k0 to k0+15 of a tile.
__device__ inline void add_weighted(Sums<DIM / 8>& sum, const Sums<2>& w, const bfloat* tile, int k0) {
  int i = threadIdx.x % 32 / 8, j = threadIdx.x % 8;
  unsigned a[4] = {pair(w[0][0], w[0][1]), pair(w[0][2], w[0][3]), pair(w[1][0], w[1][1]), pair(w[1][2], w[1][3])};
#pragma unroll
  for (int n = 0; n < DIM / 8; n += 2) {
    unsigned b[4];
    ldmatrix_x4<true>(b, tile + (k0 + j + i % 2 * 8) * PITCH + 8 * n + i / 2 * 8);
    mma_m16n8k16(sum[n], a, b[0], b[1]);
    mma_m16n8k16(sum[n + 1], a, b[2], b[3]);
  }
}

// Reductions over the four lanes that share a row, in each of them.
__device__ inline float row_sum(float v) {
  v += __shfl_xor_sync(FULL_MASK, v, 1);
  return v + __shfl_xor_sync(FULL_MASK, v, 2);
}
__device__ inline float row_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(FULL_MASK, v, 1));
  return fmaxf(v, __shfl_xor_sync(FULL_MASK, v, 2));
}

// The online softmax of a lane's two queries: the greatest logits so far and, over this lane's keys,
// the sums of weights relative to them.
struct OnlineSoftmax {
  float peak[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  // Replaces products w with the keys from k0 by weights. rescale is the factor for earlier sums.
  __device__ void add(float (&w)[SPAN / 16][2][4], float (&rescale)[2], const AttentionSize& s, int from, int k0) {
    float high[2] = {peak[0], peak[1]};
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float& v = w[g][n][e];
          v = sees(s, from + row_of(e), k0 + 16 * g + column_of(n, e)) ? v * s.scale : -INFINITY;
          high[e / 2] = fmaxf(high[e / 2], v);
        }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      high[i] = row_max(high[i]);
      rescale[i] = expf(peak[i] - high[i]);
      peak[i] = high[i], total[i] *= rescale[i];
    }
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++)
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) total[e / 2] += w[g][n][e] = expf(w[g][n][e] - high[e / 2]);
  }
};

// Stores the warp's rows below count. f(row, channel) is the index.
template <class T, class F>
__device__ inline void store(T* y, const Sums<DIM / 8>& sum, int first, int count, int dim, F f) {
#pragma unroll
  for (int n = 0; n < DIM / 8; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      int r = first + row_of(e), c = column_of(n, e);
      if (r < count && c < dim) put(y + f(r, c), sum[n][e]);
    }
}

// The warp's first query is p.from + warp_first().
__device__ inline void forward(bfloat* y, float* lse, const bfloat* q, const bfloat* kv, const float* memory, const AttentionSize& s, unsigned tokens, bfloat* ks,
                               bfloat* vs) {
  int span = blockDim.x / 2;
  Tile p = tile_of(s, span);
  fill(ks, queries(q, s, p), p.from, s.dim);
  __syncthreads();
  Left x(ks);
  int first = p.from + warp_first();
  Sums<DIM / 8> sum = {};
  OnlineSoftmax softmax;
  for (int k0 = 0; k0 < seen(s, p.from, span); k0 += SPAN) {
    __syncthreads();  // both may still be read
    fill(ks, keys(kv, memory, s, p, 0), k0, s.dim);
    fill(vs, keys(kv, memory, s, p, 1), k0, s.dim);
    __syncthreads();
    float w[SPAN / 16][2][4], rescale[2];
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++) logits(w[g], x, ks, 16 * g);
    softmax.add(w, rescale, s, first, k0);
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum[n][e] *= rescale[e / 2];
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++) add_weighted(sum, w[g], vs, 16 * g);
  }
  float inverse[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    float total = row_sum(softmax.total[i]);
    int query = first + row_of(2 * i);
    if (lse && threadIdx.x % 4 == 0 && query < s.length) lse[at_lse(s, p, tokens, query)] = softmax.peak[i] + logf(total);
    inverse[i] = 1 / total;
  }
#pragma unroll
  for (int n = 0; n < DIM / 8; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) sum[n][e] *= inverse[e / 2];
  store(y, sum, first, s.length, s.dim, [=](int i, int c) { return at_query(s, p, i, c, s.heads * s.dim); });
}

__device__ inline void grad_q(bfloat* dq, float* rows, const bfloat* dy, const bfloat* q, const bfloat* kv, const float* memory, const AttentionSize& s, unsigned tokens,
                              bool known, bfloat* ks, bfloat* vs) {
  int span = blockDim.x / 2;
  Tile p = tile_of(s, span);
  fill(ks, queries(q, s, p), p.from, s.dim);
  fill(vs, slopes(dy, s, p), p.from, s.dim);
  __syncthreads();
  Left x(ks), d(vs);
  int first = p.from + warp_first(), end = seen(s, p.from, span);
  auto load = [&](int k0) {
    __syncthreads();  // both may still be read
    fill(ks, keys(kv, memory, s, p, 0), k0, s.dim);
    fill(vs, keys(kv, memory, s, p, 1), k0, s.dim);
    __syncthreads();
  };
  OnlineSoftmax softmax;
  float mean[2] = {0, 0}, inverse[2];
  for (int k0 = 0; k0 < end && !known; k0 += SPAN) {
    load(k0);
    float w[SPAN / 16][2][4], rescale[2];
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++) logits(w[g], x, ks, 16 * g);
    softmax.add(w, rescale, s, first, k0);
    mean[0] *= rescale[0], mean[1] *= rescale[1];
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++) {
      Sums<2> da;
      logits(da, d, vs, 16 * g);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) mean[e / 2] += w[g][n][e] * da[n][e];
    }
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    float total = row_sum(softmax.total[i]), sum = row_sum(mean[i]);
    int query = first + row_of(2 * i);
    if (known) {
      QueryStats of = stats(rows, s, p, tokens);
      bool here = query < s.length;
      softmax.peak[i] = here ? of.peak(query) : INFINITY, inverse[i] = here ? of.inverse(query) : 0, mean[i] = here ? of.mean(query) : 0;
      continue;
    }
    if (threadIdx.x % 4 == 0 && query < s.length) store_stats(rows, s, p, tokens, query, softmax.peak[i], total, sum);
    inverse[i] = 1 / total, mean[i] = sum / total;
  }
  if (!dq) return;
  Sums<DIM / 8> sum = {};
  for (int k0 = 0; k0 < end; k0 += SPAN) {
    if (end > SPAN || known) load(k0);  // a single tile is still loaded
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++) {
      Sums<2> w, da;
      logits(w, x, ks, 16 * g);
      logits(da, d, vs, 16 * g);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float a = sees(s, first + row_of(e), k0 + 16 * g + column_of(n, e)) ? expf(w[n][e] * s.scale - softmax.peak[e / 2]) * inverse[e / 2] : 0;
          w[n][e] = a * (da[n][e] - mean[e / 2]) * s.scale;
        }
      add_weighted(sum, w, ks, 16 * g);
    }
  }
  store(dq, sum, first, s.length, s.dim, [=](int i, int c) { return at_query(s, p, i, c, s.queryPitch); });
}

// Accumulates dk and dv of the warp's keys, of the block's tile from k0, over the queries
// [from,to). With causal, row i of k and v is token i. of is shared memory of three values per
// row of a tile.
template <class K>
__device__ inline void key_gradients(Sums<DIM / 8>& dk, Sums<DIM / 8>& dv, const AttentionSize& s, const K& k, const K& v, int k0, const Rows<bfloat>& q,
                                     const Rows<bfloat>& dy, const QueryStats& rows, int from, int to, bool causal, bfloat* qs, bfloat* ds, float* of) {
  fill(qs, k, k0, s.dim);
  fill(ds, v, k0, s.dim);
  __syncthreads();
  Left x(qs), d(ds);
  int first = k0 + warp_first();
  for (int q0 = from; q0 < to; q0 += SPAN) {
    __syncthreads();  // all may still be read
    fill(qs, q, q0, s.dim);
    fill(ds, dy, q0, s.dim);
    for (int i = threadIdx.x; i < SPAN; i += blockDim.x) {
      bool here = q0 + i < to;
      of[i] = here ? rows.peak(q0 + i) : INFINITY;  // queries past the end, which may be another chunk's, get weight 0
      of[SPAN + i] = here ? rows.inverse(q0 + i) : 0;
      of[2 * SPAN + i] = here ? rows.mean(q0 + i) : 0;
    }
    __syncthreads();
#pragma unroll
    for (int g = 0; g < SPAN / 16; g++) {
      Sums<2> w, da;
      logits(w, x, qs, 16 * g);
      logits(da, d, ds, 16 * g);
#pragma unroll
      for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          int i = 16 * g + column_of(n, e), key = first + row_of(e);
          bool sees = key < k.count && (!causal || key <= q0 + i);
          float a = sees ? expf(w[n][e] * s.scale - of[i]) * of[SPAN + i] : 0;
          da[n][e] = a * (da[n][e] - of[2 * SPAN + i]) * s.scale;
          w[n][e] = a;
        }
      add_weighted(dv, w, ds, 16 * g);
      add_weighted(dk, da, qs, 16 * g);
    }
  }
}

__device__ inline void grad_kv(bfloat* dkv, const bfloat* dy, const bfloat* q, const bfloat* kv, const float* rows, const AttentionSize& s, unsigned tokens, bfloat* qs,
                               bfloat* ds, float* of) {
  Tile p = tile_of(s, blockDim.x / 2);
  Sums<DIM / 8> dk = {}, dv = {};
  key_gradients(dk, dv, s, token_keys(kv, s, p, 0), token_keys(kv, s, p, 1), p.from, queries(q, s, p), slopes(dy, s, p), stats(rows, s, p, tokens),
                s.causal ? p.from : 0, s.length, s.causal, qs, ds, of);
  int first = p.from + warp_first();
  store(dkv, dk, first, s.length, s.dim, [=](int i, int c) { return at_key(s, p, 0, i, c); });
  store(dkv, dv, first, s.length, s.dim, [=](int i, int c) { return at_key(s, p, 1, i, c); });
}

// As grad_memory of attention.cu.
__device__ inline void grad_memory(float* dmemory, const bfloat* dy, const bfloat* q, const float* memory, const float* rows, const AttentionSize& s, unsigned tokens,
                                   unsigned chunk, bfloat* qs, bfloat* ds, float* of) {
  int span = blockDim.x / 2, tiles = (s.memory + span - 1) / span, k0 = blockIdx.x % tiles * span, to = min(tokens, (blockIdx.z + 1) * chunk);
  Tile p = {int(blockIdx.x / tiles), 0, 0};
  AttentionSize all = s;
  all.length = tokens, all.group = 1;
  Sums<DIM / 8> dk = {}, dv = {};
  key_gradients(dk, dv, s, memory_keys<bfloat>(memory, s, p.head, 0), memory_keys<bfloat>(memory, s, p.head, 1), k0, queries(q, all, p), slopes(dy, all, p),
                stats(rows, all, p, tokens), blockIdx.z * chunk, to, false, qs, ds, of);
  int first = k0 + warp_first();
  store(dmemory, dk, first, s.memory, s.dim, [=](int i, int c) { return at_memory(s, p.head, 0, i, c); });
  store(dmemory, dv, first, s.memory, s.dim, [=](int i, int c) { return at_memory(s, p.head, 1, i, c); });
}

}  // namespace attend_mma

extern "C" __global__ void __launch_bounds__(128, 4) attention_mma(bfloat* y, float* lse, const bfloat* q, const bfloat* kv, const float* memory, AttentionSize s,
                                                                unsigned tokens) {
  __shared__ uint4 ks[attend_mma::TILE / 8], vs[attend_mma::TILE / 8];
  attend_mma::forward(y, lse, q, kv, memory, s, tokens, (bfloat*)ks, (bfloat*)vs);
}

extern "C" __global__ void __launch_bounds__(128, 4)
    attention_grad_q_mma(bfloat* dq, float* rows, const bfloat* dy, const bfloat* q, const bfloat* kv, const float* memory, AttentionSize s, unsigned tokens, int known) {
  __shared__ uint4 ks[attend_mma::TILE / 8], vs[attend_mma::TILE / 8];
  attend_mma::grad_q(dq, rows, dy, q, kv, memory, s, tokens, known, (bfloat*)ks, (bfloat*)vs);
}

extern "C" __global__ void __launch_bounds__(128, 3)
    attention_grad_kv_mma(bfloat* dkv, const bfloat* dy, const bfloat* q, const bfloat* kv, const float* rows, AttentionSize s, unsigned tokens) {
  __shared__ uint4 qs[attend_mma::TILE / 8], ds[attend_mma::TILE / 8];
  __shared__ float of[3 * attend_mma::SPAN];
  attend_mma::grad_kv(dkv, dy, q, kv, rows, s, tokens, (bfloat*)qs, (bfloat*)ds, of);
}

// dmemory has a [2,heads,memory,dim] for each chunk of tokens (blockIdx.z).
extern "C" __global__ void __launch_bounds__(128, 3)
    attention_grad_memory_mma(float* dmemory, const bfloat* dy, const bfloat* q, const float* memory, const float* rows, AttentionSize s, unsigned tokens, unsigned chunk) {
  __shared__ uint4 qs[attend_mma::TILE / 8], ds[attend_mma::TILE / 8];
  __shared__ float of[3 * attend_mma::SPAN];
  attend_mma::grad_memory(dmemory, dy, q, memory, rows, s, tokens, chunk, (bfloat*)qs, (bfloat*)ds, of);
}
