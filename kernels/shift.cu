// Token shift: channels from `stay` on are those of another frame.
//
//   token_shift  y[t,p,c] = x[t,p,c] for c < stay, else x[t+by,p,c], 0 outside of the clip
//
// One thread per value. token_shift_8: one thread per 8 contiguous channels, for C and stay
// that are multiples of 8.
//
// Definition: shift.go.
#include "common.cuh"

namespace shift {

// n, frame (values of a frame), C and stay count vectors of V values.
template <int V, class T>
__device__ inline void token_shift(T* y, const T* x, unsigned n, unsigned frames, unsigned frame, unsigned C, unsigned stay, int by) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  int t = int(i / frame % frames) + by;
  bool stays = i % C < stay;
  float v[V] = {};
  if (stays || (t >= 0 && t < int(frames))) load_values(v, x + ((long long)i + (stays ? 0 : by * int(frame))) * V);
  store_values(y + (size_t)i * V, v);
}

}  // namespace shift

#define SHIFTS(T, SUFFIX)                                                                                                                             \
  extern "C" __global__ void token_shift##SUFFIX(T* y, const T* x, unsigned n, unsigned frames, unsigned frame, unsigned C, unsigned stay, int by) {  \
    shift::token_shift<1>(y, x, n, frames, frame, C, stay, by);                                                                                            \
  }                                                                                                                                                   \
  /* sizes count vectors of 8 values */                                                                                                                \
  extern "C" __global__ void token_shift_8##SUFFIX(T* y, const T* x, unsigned n, unsigned frames, unsigned frame, unsigned C, unsigned stay, int by) { \
    shift::token_shift<8>(y, x, n, frames, frame, C, stay, by);                                                                                            \
  }

SHIFTS(float, )
SHIFTS(bfloat, _half)
