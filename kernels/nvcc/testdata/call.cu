__device__ __noinline__ float pick(const float *x, int n) {
  float v[8];
  for (int i = 0; i < 8; i++) v[i] = x[i];
  return v[n & 7];
}
extern "C" __global__ void call(float *y, const float *x, int n) { y[threadIdx.x] = pick(x + threadIdx.x, n) + 1; }
