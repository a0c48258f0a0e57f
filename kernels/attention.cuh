// attention.cuh: addressing and masks of attention.cu and attention_mma.cu.
#pragma once
#include "common.cuh"

struct AttentionSize {
  int length, group;  // token i of a sequence is at its first token + i·group
  int heads, dim, memory, causal, taylor;
  int queryPitch, keyPitch, keyAt;  // strides in values from token to token; offset of the keys, which the values follow
  float scale;
};

namespace attend {

// Rows of dim values: the first `first` rows are in the memory, the others pitch values apart.
template <class T>
struct Rows {
  const float* memory;
  const T* x;
  int first, count;
  size_t pitch;
  // Values of the memory are rounded to the storage type of the others.
  __device__ float operator()(int r, int c, int dim) const { return load(r < first ? as<T>(memory[(size_t)r * dim + c]) : x[(r - first) * pitch + c]); }
};

// A tile of tokens of a sequence and head.
struct Tile {
  int head, from;
  size_t token;  // first token of the sequence
};

// The tile of this block. It has span tokens.
__device__ inline Tile tile_of(const AttentionSize& s, int span) {
  int tiles = (s.length + span - 1) / span, i = blockIdx.x / tiles, sequence = i / s.heads;
  return {i % s.heads, int(blockIdx.x % tiles * span), (size_t)sequence / s.group * s.group * s.length + sequence % s.group};
}

template <class T>
__device__ inline Rows<T> queries(const T* q, const AttentionSize& s, const Tile& p) {
  return {nullptr, q + p.token * s.queryPitch + p.head * s.dim, 0, s.length, (size_t)s.group * s.queryPitch};
}

template <class T>
__device__ inline Rows<T> slopes(const T* dy, const AttentionSize& s, const Tile& p) {
  size_t width = s.heads * s.dim;
  return {nullptr, dy + p.token * width + p.head * s.dim, 0, s.length, s.group * width};
}

// Keys (part 0) or values (part 1), those of the memory first.
template <class T>
__device__ inline Rows<T> keys(const T* kv, const float* memory, const AttentionSize& s, const Tile& p, int part) {
  return {memory + (part * s.heads + p.head) * s.memory * s.dim, kv + p.token * s.keyPitch + s.keyAt + (part * s.heads + p.head) * s.dim, s.memory,
          s.memory + s.length, (size_t)s.group * s.keyPitch};
}

// Keys or values of the tokens alone.
template <class T>
__device__ inline Rows<T> token_keys(const T* kv, const AttentionSize& s, const Tile& p, int part) {
  AttentionSize own = s;
  own.memory = 0;
  return keys(kv, nullptr, own, p, part);
}

// Those of the memory alone.
template <class T>
__device__ inline Rows<T> memory_keys(const float* memory, const AttentionSize& s, int head, int part) {
  return {memory + (part * s.heads + head) * s.memory * s.dim, nullptr, s.memory, s.memory, 0};
}

// The mask: whether query i attends to key j. Keys of the memory come first.
__device__ inline bool sees(const AttentionSize& s, int i, int j) { return j < s.memory + s.length && (!s.causal || j - s.memory <= i); }

// The number of keys that the queries of a tile can attend to.
__device__ inline int seen(const AttentionSize& s, int from, int span) { return s.memory + (s.causal ? min(s.length, from + span) : s.length); }

// Softmax statistics of each query, for the gradients: three arrays [heads,tokens].
struct QueryStats {
  const float* x;
  size_t size, pitch;  // values of an array; stride from query to query
  __device__ float peak(int i) const { return x[i * pitch]; }
  __device__ float inverse(int i) const { return x[size + i * pitch]; }
  __device__ float mean(int i) const { return x[2 * size + i * pitch]; }
};

__device__ inline QueryStats stats(const float* x, const AttentionSize& s, const Tile& p, unsigned tokens) {
  return {x + (size_t)p.head * tokens + p.token, (size_t)s.heads * tokens, (size_t)s.group};
}

// The index of query i in lse [heads,tokens].
__device__ inline size_t at_lse(const AttentionSize& s, const Tile& p, unsigned tokens, int i) { return (size_t)p.head * tokens + p.token + (size_t)i * s.group; }

__device__ inline void store_stats(float* x, const AttentionSize& s, const Tile& p, unsigned tokens, int i, float peak, float total, float mean) {
  size_t size = (size_t)s.heads * tokens;
  x += at_lse(s, p, tokens, i);
  x[0] = peak, x[size] = 1 / total, x[2 * size] = mean / total;
}

template <class T>
__device__ inline void put(T* y, float v) { *y = as<T>(v); }

// The index of channel c of query i, or of key i (part 0: keys, 1: values).
__device__ inline size_t at_query(const AttentionSize& s, const Tile& p, int i, int c, size_t pitch) {
  return (p.token + (size_t)i * s.group) * pitch + p.head * s.dim + c;
}
__device__ inline size_t at_key(const AttentionSize& s, const Tile& p, int part, int i, int c) {
  return (p.token + (size_t)i * s.group) * s.keyPitch + s.keyAt + (part * s.heads + p.head) * s.dim + c;
}
__device__ inline size_t at_memory(const AttentionSize& s, int head, int part, int i, int c) {
  return (((size_t)(blockIdx.z * 2 + part) * s.heads + head) * s.memory + i) * s.dim + c;
}

}  // namespace attend
