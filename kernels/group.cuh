// group.cuh: values in groups of eight, a thread a group.
#pragma once
#include "common.cuh"

// Whether groups that begin at multiples of eight values are read and written by 16
// bytes. Parts of the arenas of parameters begin anywhere.
template <class... P>
__device__ inline bool aligned(const P*... p) {
  return ((... | (size_t)p) & 15) == 0;
}

// One value, or eight at a multiple of 16 bytes.
template <int V, class T>
__device__ inline void load_values(float (&v)[V], const T* x) {
  if constexpr (V == 8)
    load8(v, x);
  else
    v[0] = load(*x);
}

template <int V, class T>
__device__ inline void store_values(T* y, const float (&v)[V]) {
  if constexpr (V == 8)
    store8(y, v);
  else
    *y = as<T>(v[0]);
}

// Group is the values from position i on: eight, or count of them, one by one.
template <bool WHOLE>
struct Group {
  unsigned i, count;

  __device__ bool has(unsigned e) const { return WHOLE || e < count; }

  // Zeros behind the last.
  template <class T>
  __device__ void load(float (&v)[8], const T* x) const {
    if constexpr (WHOLE) {
      load8(v, x + i);
    } else {
#pragma unroll
      for (unsigned e = 0; e < 8; e++) v[e] = has(e) ? ::load(x[i + e]) : 0;
    }
  }

  template <class T>
  __device__ void store(T* y, const float (&v)[8]) const {
    if constexpr (WHOLE) {
      store8(y + i, v);
    } else {
#pragma unroll
      for (unsigned e = 0; e < 8; e++)
        if (has(e)) y[i + e] = as<T>(v[e]);
    }
  }
};

// Calls f with the group at position i of n values.
template <class F>
__device__ inline void group(unsigned i, unsigned n, bool wide, F f) {
  if (wide && i + 8 <= n)
    f(Group<true>{i, 8});
  else if (i < n)
    f(Group<false>{i, min(8u, n - i)});
}

// Calls f with this thread's group of n values.
template <class F>
__device__ inline void eight(unsigned n, bool wide, F f) {
  group(8 * thread_number(), n, wide, f);
}
