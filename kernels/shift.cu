// The channels of a clip from stay on come from another frame; a thread writes eight
// values, or one where neighbours may differ in that.
//
//   token_shift  y[t,p,c] = x[t,p,c] for c < stay, else x[t+by,p,c], 0 outside of the clip
//
// Definition: shift.go.
#include "common.cuh"

namespace shift {

// Of n pieces of V values; frame and C count pieces.
template <int V, class T>
__device__ inline void pieces(T* y, const T* x, unsigned n, unsigned frames, unsigned frame, unsigned C, unsigned stay, int by) {
  unsigned i = thread_number();
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
    shift::pieces<1>(y, x, n, frames, frame, C, stay, by);                                                                                            \
  }                                                                                                                                                   \
  /* all sizes are counted in eights */                                                                                                               \
  extern "C" __global__ void token_shift_8##SUFFIX(T* y, const T* x, unsigned n, unsigned frames, unsigned frame, unsigned C, unsigned stay, int by) { \
    shift::pieces<8>(y, x, n, frames, frame, C, stay, by);                                                                                            \
  }

SHIFTS(float, )
SHIFTS(bfloat, _half)
