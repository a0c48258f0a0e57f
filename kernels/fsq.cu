// Finite scalar quantization. For a channel of L levels, r = (L-1)·1.001/2, o = 1/2 for even L,
// else 0, half = ⌊L/2⌋:
//
//   m = round(tanh(z + atanh(o/r))·r - o)
//
//   fsq_quantize  q = m/half; one thread per value
//   fsq_grad      dz = dq·(1 - tanh²)·r/half; one thread per value
//   fsq_index     idx = sum_i (m_i + half_i)·(L_0 ··· L_{i-1}); one thread per code
//   fsq_values    q of an index; one thread per code
//
// Computed in double precision, so that codes equal those of the definition.
//
// Definition: fsq.go.
#include "common.cuh"

struct Levels { int count[8]; };

struct Channel {
  double radius, offset, half;
  __device__ Channel(int levels) : radius((levels - 1) * 1.001 / 2), offset(levels % 2 ? 0 : .5), half(levels / 2) {}
  __device__ double squash(float z) const { return tanh(z + atanh(offset / radius)); }
  __device__ double round(float z) const { return rint(squash(z) * radius - offset); }
};

extern "C" __global__ void fsq_quantize(float* q, const float* z, unsigned n, unsigned dims, Levels levels) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  Channel c(levels.count[i % dims]);
  q[i] = (float)(c.round(z[i]) / c.half);
}

extern "C" __global__ void fsq_grad(float* dz, const float* dq, const float* z, unsigned n, unsigned dims, Levels levels) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  Channel c(levels.count[i % dims]);
  double t = c.squash(z[i]);
  dz[i] = (float)(dq[i] * ((1 - t * t) * c.radius / c.half));
}

extern "C" __global__ void fsq_index(float* idx, const float* z, unsigned codes, unsigned dims, Levels levels) {
  unsigned n = global_thread_id();
  if (n >= codes) return;
  double sum = 0, place = 1;
  for (unsigned i = 0; i < dims; i++) {
    Channel c(levels.count[i]);
    sum += (c.round(z[n * dims + i]) + c.half) * place;
    place *= levels.count[i];
  }
  idx[n] = (float)sum;
}

extern "C" __global__ void fsq_values(float* q, const float* idx, unsigned codes, unsigned dims, Levels levels) {
  unsigned n = global_thread_id();
  if (n >= codes) return;
  int rest = (int)idx[n];
  for (unsigned i = 0; i < dims; i++) {
    Channel c(levels.count[i]);
    q[n * dims + i] = (float)((rest % levels.count[i] - c.half) / c.half);
    rest /= levels.count[i];
  }
}
