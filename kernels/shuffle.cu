// Channel-to-space-time shuffle (depth to space) and its inverse:
//
//   up    y[n, t·FT+a, h·FH+i, w·FW+j, c] = f(x[n, t, h, w, ((c·FT+a)·FH+i)·FW+j])
//   down  the inverse
//
// f is the identity, SiLU or GELU; or a product with the derivative of one, where s has the shape of y.
// "deep" is the side with C·FT·FH·FW channels, "wide" the one with C.
//
//   shuffle_2, shuffle_4  FT·FH·FW = 2 or 4, C a multiple of 8: a thread transposes 8 wide channels,
//                         which are contiguous on the deep side and 8 contiguous per wide pixel
//   shuffle               all other sizes: a thread moves 8 contiguous values of the deep side
//   shuffle_phases        x[n, t, h, w, ((a·FH+i)·FW+j)·C + c] instead, which moves whole pixels: a thread
//                         moves one value; shuffle_phases_8: 8 channels, C a multiple of 8. x and y may be parameters
//
// Definition: shuffle.go.
#include "packed.cuh"

// Act(v), or v·Act'(s) if s is not null.
template <class T>
struct Finish {
  const T* s;
  int kind;
  __device__ void operator()(float (&v)[8], unsigned at) const {
    float slopes[8];
    if (s) load8(slopes, s + at);
    if (kind == SILU) each<SILU>(v, slopes);
    if (kind == GELU) each<GELU>(v, slopes);
  }
  template <int KIND>
  __device__ void each(float (&v)[8], const float (&slopes)[8]) const {
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] = s ? v[e] * slope(KIND, slopes[e]) : activate(KIND, v[e]);
  }
  __device__ float one(float v, unsigned at) const { return s ? v * slope(kind, load(s[at])) : activate(kind, v); }
};

// Offsets of the wide pixels of a deep pixel from the first.
template <int F>
struct Offsets { unsigned at[F]; };

// groups is the number of threads, C counts groups of 8 channels.
template <int F, class T>
__device__ inline void shuffle_columns(T* y, const T* x, const T* s, unsigned groups, unsigned T_, unsigned H, unsigned W, unsigned C, unsigned FT, unsigned FH, unsigned FW, int down,
                                       int kind, Offsets<F> offsets) {
  unsigned g = global_thread_id();
  if (g >= groups) return;
  unsigned r = g / C, w = r % W, h = r / W % H, t = r / W / H % T_, n = r / W / H / T_;
  unsigned wide = (((n * T_ + t) * FT * H * FH + h * FH) * W * FW + w * FW) * C * 8 + g % C * 8, deep = g * 8 * F;
  Finish<T> finish{s, kind};
  float v[F][8], columns[F][8];  // of the source, of the result
#pragma unroll
  for (int k = 0; k < F; k++) load8(v[k], x + (down ? wide + offsets.at[k] : deep + 8 * k));
  if (down) {
#pragma unroll
    for (int k = 0; k < 8 * F; k++) columns[k / 8][k % 8] = v[k % F][k / F];
  } else {
#pragma unroll
    for (int k = 0; k < 8 * F; k++) columns[k % F][k / F] = v[k / 8][k % 8];
  }
#pragma unroll
  for (int k = 0; k < F; k++) {
    unsigned at = down ? deep + 8 * k : wide + offsets.at[k];
    finish(columns[k], at);
    store8(y + at, columns[k]);
  }
}

// n is the number of values.
template <class T>
__device__ inline void shuffle_of(T* y, const T* x, const T* s, unsigned n, unsigned T_, unsigned H, unsigned W, unsigned C, unsigned FT, unsigned FH, unsigned FW, int down, int kind) {
  unsigned from = 8 * global_thread_id(), to = min(n, from + 8);
  if (from >= n) return;
  unsigned j = from % FW, r = from / FW, i = r % FH;
  r /= FH;
  unsigned a = r % FT;
  r /= FT;
  unsigned c = r % C, p = r / C, w = p % W, h = p / W % H, t = p / W / H % T_, line = p / W / H / T_;
  Finish<T> finish{s, kind};
  for (unsigned deep = from; deep < to; deep++) {
    unsigned wide = (((line * T_ * FT + t * FT + a) * H * FH + h * FH + i) * W * FW + w * FW + j) * C + c;
    unsigned src = down ? wide : deep, dst = down ? deep : wide;
    y[dst] = as<T>(finish.one(load(x[src]), dst));
    if (++j < FW) continue;
    j = 0;
    if (++i < FH) continue;
    i = 0;
    if (++a < FT) continue;
    a = 0;
    if (++c < C) continue;
    c = 0;
    if (++w < W) continue;
    w = 0;
    if (++h < H) continue;
    h = 0;
    if (++t == T_) t = 0, line++;
  }
}

// n is the number of threads, each of V channels of the deep side.
template <int V, class T>
__device__ inline void shuffle_phases_of(T* y, const T* x, const T* s, unsigned n, unsigned T_, unsigned H, unsigned W, unsigned C, unsigned FT, unsigned FH, unsigned FW,
                                         int down, int kind) {
  unsigned k = global_thread_id();
  if (k >= n) return;
  unsigned deep = k * V, c = deep % C, m = deep / C % (FT * FH * FW), p = deep / C / (FT * FH * FW);
  unsigned j = m % FW, i = m / FW % FH, a = m / FW / FH, w = p % W, h = p / W % H, t = p / W / H % T_, line = p / W / H / T_;
  unsigned wide = (((line * T_ * FT + t * FT + a) * H * FH + h * FH + i) * W * FW + w * FW + j) * C + c;
  unsigned src = down ? wide : deep, dst = down ? deep : wide;
  float v[V], slopes[V];
  load_parameters(v, x + src);
  if (s) load_values(slopes, s + dst);
#pragma unroll
  for (int e = 0; e < V; e++) v[e] = s ? v[e] * slope(kind, slopes[e]) : activate(kind, v[e]);
  store_parameters(y + dst, v);
}

#define PHASES(suffix, V, T)                                                                                                                                        \
  extern "C" __global__ void shuffle_phases##suffix(T* y, const T* x, const T* s, unsigned n, unsigned T_, unsigned H, unsigned W, unsigned C, unsigned FT, unsigned FH,            \
                                  unsigned FW, int down, int kind) {                                                                                                \
    shuffle_phases_of<V>(y, x, s, n, T_, H, W, C, FT, FH, FW, down, kind);                                                                                          \
  }

#define SHUFFLE(suffix, T)                                                                                                                                          \
  extern "C" __global__ void shuffle##suffix(T* y, const T* x, const T* s, unsigned n, unsigned T_, unsigned H, unsigned W, unsigned C, unsigned FT, unsigned FH, \
                                             unsigned FW, int down, int kind) {                                                                                    \
    shuffle_of(y, x, s, n, T_, H, W, C, FT, FH, FW, down, kind);                                                                                                   \
  }                                                                                                                                                                 \
  COLUMNS(2, suffix, T) COLUMNS(4, suffix, T)

#define COLUMNS(F, suffix, T)                                                                                                                                      \
  extern "C" __global__ void shuffle_##F##suffix(T* y, const T* x, const T* s, unsigned groups, unsigned T_, unsigned H, unsigned W, unsigned C, unsigned FT,     \
                                                 unsigned FH, unsigned FW, int down, int kind, Offsets<F> offsets) {                                               \
    shuffle_columns<F>(y, x, s, groups, T_, H, W, C, FT, FH, FW, down, kind, offsets);                                                                             \
  }

SHUFFLE(, float)
SHUFFLE(_half, bfloat)
PHASES(, 1, float)
PHASES(_8, 8, float)
PHASES(_half, 1, bfloat)
PHASES(_8_half, 8, bfloat)
