// The channels of a clip from stay on come from another frame; a thread writes one value.
//
//   token_shift  y[t,p,c] = x[t,p,c] for c < stay, else x[t+by,p,c], 0 outside of the clip
//
// Definition: shift.go.
#include "common.cuh"

extern "C" __global__ void token_shift(float* y, const float* x, unsigned n, unsigned T, unsigned frame, unsigned C, unsigned stay, int by) {
  unsigned i = thread_number();
  if (i >= n) return;
  int from = int(i / frame % T) + by;
  if (i % C < stay)
    y[i] = x[i];
  else
    y[i] = from < 0 || from >= int(T) ? 0 : x[int(i) + by * int(frame)];
}
