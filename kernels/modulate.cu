// Modulated weights per sample. With v_nokc = w_okc (1 + s_nc) and a row the values of one n and o:
//
//   modulate         m = v·r, r = 1/sqrt(max(sum over the row of v², 1e-8)), or 1 without demodulation
//   modulate_stats   r and along = r²·(sum over the row of v·dm), 0 where the floor holds
//   modulate_grad_w  dw_okc = sum over n of dv (1 + s_nc), dv = r (dm - v·along)
//   modulate_grad_s  partial sums of ds_nc = sum over o, k of dv w_okc: y[g,c] = sum over the rows
//                    (n,o,k) of group g
//
// modulate, modulate_stats: one block per row. modulate_grad_w: one thread per value.
// modulate_grad_s: see column_sums.
//
// Definition: modulate.go.
#include "common.cuh"

constexpr float MIN_POWER = 1e-8f;

struct Demodulation { float r, slope; };  // slope: r², 0 where r is constant

// Modulate.scale, in every thread of the block. w and s are those of the row.
__device__ inline Demodulation demodulate(const float* w, const float* s, unsigned row, unsigned C, int demod, float* part) {
  if (!demod) return {1, 0};
  float power = 0;
  for (unsigned i = threadIdx.x; i < row; i += blockDim.x) {
    float v = w[i] * (1 + s[i % C]);
    power += v * v;
  }
  power = block_sum(power, part);
  if (power < MIN_POWER) return {1 / sqrtf(MIN_POWER), 0};
  return {1 / sqrtf(power), 1 / power};
}

extern "C" __global__ void modulate(float* m, const float* w, const float* s, unsigned O, unsigned taps, unsigned C, int demod) {
  __shared__ float part[32];
  unsigned row = taps * C;
  m += (size_t)blockIdx.x * row;
  w += (size_t)(blockIdx.x % O) * row;
  s += (size_t)(blockIdx.x / O) * C;
  float r = demodulate(w, s, row, C, demod, part).r;
  for (unsigned i = threadIdx.x; i < row; i += blockDim.x) m[i] = w[i] * (1 + s[i % C]) * r;
}

extern "C" __global__ void modulate_stats(float* r, float* along, const float* dm, const float* w, const float* s, unsigned O, unsigned taps, unsigned C, int demod) {
  __shared__ float part[32];
  unsigned row = taps * C;
  dm += (size_t)blockIdx.x * row;
  w += (size_t)(blockIdx.x % O) * row;
  s += (size_t)(blockIdx.x / O) * C;
  Demodulation d = demodulate(w, s, row, C, demod, part);
  float sum = 0;
  if (d.slope > 0)  // the same for all threads
    for (unsigned i = threadIdx.x; i < row; i += blockDim.x) sum += w[i] * (1 + s[i % C]) * dm[i];
  sum = block_sum(sum, part);
  if (threadIdx.x) return;
  r[blockIdx.x] = d.r;
  along[blockIdx.x] = d.slope * sum;
}

extern "C" __global__ void modulate_grad_w(float* dw, const float* dm, const float* w, const float* s, const float* r, const float* along, unsigned n, unsigned samples,
                                           unsigned O, unsigned taps, unsigned C) {
  unsigned i = global_thread_id();
  if (i >= n) return;
  unsigned o = i / (taps * C), c = i % C;
  float sum = 0;
  for (unsigned k = 0; k < samples; k++) {
    float gain = 1 + s[k * C + c];
    sum += r[k * O + o] * (dm[(size_t)k * n + i] - w[i] * gain * along[k * O + o]) * gain;
  }
  dw[i] = sum;
}

extern "C" __global__ void modulate_grad_s(float* y, const float* dm, const float* w, const float* s, const float* r, const float* along, unsigned rows, unsigned columns,
                                           unsigned group, unsigned O, unsigned taps) {
  __shared__ float part[8 * 32];
  scalar_column_sums(y, rows, columns, group, part, [=](unsigned i, unsigned c) {
    unsigned at = i / taps;  // sample and output channel
    float v = w[(size_t)(i % (O * taps)) * columns + c];
    return r[at] * (dm[(size_t)i * columns + c] - v * (1 + s[at / O * columns + c]) * along[at]) * v;
  });
}
