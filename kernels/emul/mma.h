// mma.h: the instructions of mma.cuh on the host: cp.async, ldmatrix and mma.sync, with the fragment
// layouts of the PTX manual ("Matrix fragments for mma.m16n8k16", "ldmatrix").
#pragma once
#include "emul.h"

namespace emul {

// cp.async. The copy is done when its thread waits for it; until then the destination is NaN.
static void copy_async(void* to, const void* from, unsigned bytes) {
  if (reinterpret_cast<uintptr_t>(to) % bytes || reinterpret_cast<uintptr_t>(from) % bytes) {
    std::string n = std::to_string(bytes);
    return fail("cp.async of " + n + " bytes: an address is no multiple of " + n);
  }
  poison(static_cast<char*>(to), static_cast<char*>(to) + bytes);
  current->copies.push_back({to, from, bytes, current->group});
}

static void wait_copies(unsigned groups) {
  auto late = [&](const Copy& c) { return c.group + groups >= current->group; };
  for (const Copy& c : current->copies) {
    if (late(c)) continue;
    if (c.from)
      std::memcpy(c.to, c.from, c.bytes);
    else
      std::memset(c.to, 0, c.bytes);
  }
  auto& all = current->copies;
  all.erase(std::remove_if(all.begin(), all.end(), [&](const Copy& c) { return !late(c); }), all.end());
}

// ldmatrix.x4 of four 8×8 matrices of 16-bit values: lane 8i+j passes the address of row j of matrix
// i. Each lane receives two adjacent values of a row, or transposed of a column.
struct Load { const void* row; uint32_t* r; };

static const Load& load_of(const Thread& t) { return *reinterpret_cast<const Load*>(t.value); }

template <bool Transposed>
static void load_lanes(Thread* warp, unsigned) {
  uint16_t m[4][8][8];
  for (unsigned i = 0; i < 32; i++) {
    const void* row = load_of(warp[i]).row;
    if (reinterpret_cast<uintptr_t>(row) % 16) return fail("ldmatrix: an address is no multiple of 16");
    std::memcpy(m[i / 8][i % 8], row, 16);
  }
  for (unsigned i = 0; i < 32; i++)
    for (unsigned j = 0; j < 4; j++) {
      unsigned r = i / 4, c = i % 4 * 2;
      uint32_t low = Transposed ? m[j][c][r] : m[j][r][c], high = Transposed ? m[j][c + 1][r] : m[j][r][c + 1];
      load_of(warp[i]).r[j] = low | high << 16;
    }
}

struct Product { float* d; const uint32_t *a, *b; };

// Whether one of two packed bfloat16 is infinite or NaN.
static bool nonfinite(uint32_t pair) { return (pair & 0x7f80) == 0x7f80 || (pair & 0x7f800000) == 0x7f800000; }

// mma.m16n8k16: d[16,8] += a[16,16]·b[16,8]. Eight products at a time are added to a value of d,
// and the sum is truncated, as tensor cores do (Fasi et al., "Numerical behavior of
// NVIDIA tensor cores", 2021; they keep fewer bits of the smaller terms than a double).
static void multiply_lanes(Thread* warp, unsigned) {
  typedef double Two __attribute__((vector_size(16)));
  typedef uint64_t Bits __attribute__((vector_size(16)));
  auto of = [&](unsigned lane) -> const Product& { return *reinterpret_cast<const Product*>(warp[lane].value); };
  uint32_t anyA = 0, anyB = 0;
  bool nonfiniteA = false, nonfiniteB = false;
  for (unsigned l = 0; l < 32; l++) {
    for (unsigned j = 0; j < 4; j++) anyA |= of(l).a[j], nonfiniteA |= nonfinite(of(l).a[j]);
    for (unsigned j = 0; j < 2; j++) anyB |= of(l).b[j], nonfiniteB |= nonfinite(of(l).b[j]);
  }
  if ((!anyA && !nonfiniteB) || (!anyB && !nonfiniteA)) return;  // zeros: frequent in the tiles of small tests
  double a[16][16];
  Two b[16][4];
  auto value = [](uint32_t pair, unsigned i) { return __uint_as_float(i ? pair & 0xffff0000 : pair << 16); };
  for (unsigned l = 0; l < 32; l++) {
    unsigned g = l / 4, t = l % 4 * 2;
    for (unsigned i = 0; i < 2; i++) {
      for (unsigned j = 0; j < 4; j++) a[g + j % 2 * 8][t + j / 2 * 8 + i] = value(of(l).a[j], i);
      for (unsigned j = 0; j < 2; j++) b[t + j * 8 + i][g / 2][g % 2] = value(of(l).b[j], i);
    }
  }
  const Bits kept = {~0ull << 29, ~0ull << 29};  // 24 bits of 53
  for (unsigned m = 0; m < 16; m++) {
    auto row = [&](unsigned i) { return of(m % 8 * 4 + i).d + m / 8 * 2; };  // two columns, in one lane
    Two sums[4];
    for (unsigned i = 0; i < 4; i++) sums[i] = Two{row(i)[0], row(i)[1]};
    for (unsigned k = 0; k < 16; k++)
      for (unsigned i = 0; i < 4; i++) {
        sums[i] += a[m][k] * b[k][i];
        if (k % 8 == 7) sums[i] = (Two)((Bits)sums[i] & kept);
      }
    for (unsigned i = 0; i < 4; i++) row(i)[0] = sums[i][0], row(i)[1] = sums[i][1];
  }
}
}  // namespace emul

static inline void cp_async(void* to, const void* from, bool inside) { emul::copy_async(to, inside ? from : nullptr, 16); }
static inline void cp_async4(void* to, const void* from, bool inside) { emul::copy_async(to, inside ? from : nullptr, 4); }
static inline void cp_async_commit() { emul::current->group++; }
template <int Groups>
static inline void cp_async_wait() { emul::wait_copies(Groups); }

template <bool Transposed>
static inline void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  emul::Load l{row, r};
  emul::collective(emul::load_lanes<Transposed>, ~0u, reinterpret_cast<uint64_t>(&l), 0);
}

static inline void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  unsigned b[2] = {b0, b1};
  emul::Product p{d, a, b};
  emul::collective(emul::multiply_lanes, ~0u, reinterpret_cast<uint64_t>(&p), 0);
}
