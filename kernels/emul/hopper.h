// hopper.h: what compute capability 9.0a adds, on the emulated device: barriers in
// shared memory, tensor copies and products of a warpgroup. The functions are those of
// kernels/hopper.cuh; addresses of shared memory are numbers, as in PTX.
//
// All three are asynchronous, so each does its worst:
//   - a copy lands when no thread can run without it: what is read before has not come;
//   - a product's sums are NaN in the registers until wgmma_wait has seen its group;
//   - a copy into memory that a copy is still writing or a product still reading, and
//     a product of memory that a copy is still writing, are errors;
//   - copies land in the order in which they were asked for, in reverse or shuffled.
#pragma once
#include "emul.h"

#define __grid_constant__

// The 128 bytes that package emul encodes.
struct alignas(64) TensorMap {
  uint64_t address, dims[5], strides[4];  // strides in bytes
  uint32_t box[5], mark;
  uint8_t steps[5], unused[11];
  int count(int axis) const { return (box[axis] + steps[axis] - 1) / steps[axis]; }  // values of a copy
};
static_assert(sizeof(TensorMap) == 128, "a tensor map has 128 bytes");

namespace emul {

constexpr uint32_t TENSOR_MAP = 0x6d736e74;  // the mark of an encoded one
constexpr uint32_t FIRST = 16;               // the address of dynamic shared memory; not aligned, as none is promised
constexpr int GROUP = 128;                   // threads of a warpgroup

struct Barrier {
  uint32_t address;
  int count, pending, bytes;  // arrivals of a phase and those still to come; bytes to come
  unsigned phase;
  bool fenced;  // copies may see it
};

struct Box {  // a tensor copy
  TensorMap map;
  int at[5];
  uint32_t to, barrier;
};

// Memory is watched in pieces of a kilobyte.
constexpr int PIECES = 232;
using Pieces = std::vector<uint8_t>;

struct Group {
  int arrived = 0;
  const char* what;  // they meet at
  uint64_t a, b;     // its operands
  float* registers[GROUP];
  alignas(16) float sums[64][256];
  bool busy[4] = {}, fenced[4] = {};  // of a warp: its sums are not in its registers; its registers may be used
  Pieces open;                        // what products read that no group has
  std::vector<Pieces> committed;
  size_t waited[4] = {};  // committed groups that a warp has waited for
  int limit = 0;          // registers of a thread, if the kernel changes them
};

static std::vector<Barrier> barriers;
static std::vector<Box> boxes;  // in flight
static std::vector<Group> groups;
static uint8_t written[PIECES], read[PIECES];  // copies and, of products, warps that are not done with a piece

static std::string hex(uint64_t a) {
  char s[24];
  std::snprintf(s, sizeof s, "%#llx", static_cast<unsigned long long>(a));
  return s;
}

static char* shared(uint32_t address, uint32_t n) {
  if (address < FIRST || address - FIRST + n > dynamic.size()) stop("shared memory ends before " + hex(address + n));
  return dynamic.data() + (address - FIRST);
}

// Barriers.

static Barrier& barrier_at(uint32_t address) {
  for (Barrier& b : barriers)
    if (b.address == address) return b;
  stop("there is no mbarrier at " + hex(address));
}

static void advance(Barrier& b) {
  if (b.pending || b.bytes) return;
  b.phase ^= 1;
  b.pending = b.count;
  for (Thread& t : threads)
    if (t.state == WAITING && t.mask == b.address && t.source != b.phase) t.state = READY;
}

static void arrive(uint32_t address, int bytes) {
  Barrier& b = barrier_at(address);
  if (b.pending == 0) stop("more threads arrive at an mbarrier than it counts");
  b.pending--;
  b.bytes += bytes;
  advance(b);
}

// Copies.

static void land(const Box& c) {
  uint32_t n = 0;
  int i[5];
  for (i[4] = 0; i[4] < c.map.count(4); i[4]++)
    for (i[3] = 0; i[3] < c.map.count(3); i[3]++)
      for (i[2] = 0; i[2] < c.map.count(2); i[2]++)
        for (i[1] = 0; i[1] < c.map.count(1); i[1]++) {
          const char* row = reinterpret_cast<const char*>(c.map.address);
          bool inside = true;
          for (int d = 1; d < 5; d++) {
            int64_t x = int64_t(c.at[d]) + i[d] * c.map.steps[d];
            inside = inside && x >= 0 && x < int64_t(c.map.dims[d]);
            row += x * int64_t(c.map.strides[d - 1]);
          }
          for (i[0] = 0; i[0] < c.map.count(0); i[0]++, n += 2) {
            int64_t x = int64_t(c.at[0]) + i[0];
            uint16_t v = 0;
            if (inside && x >= 0 && x < int64_t(c.map.dims[0])) std::memcpy(&v, row + 2 * x, 2);
            uint32_t to = c.to + n;
            std::memcpy(dynamic.data() + ((to ^ (to >> 7 & 7) << 4) - FIRST), &v, 2);
          }
        }
  for (uint32_t p = c.to >> 10; p <= (c.to + n - 1) >> 10; p++) written[p]--;
  Barrier& b = barrier_at(c.barrier);
  b.bytes -= int(n);
  if (b.bytes <= -(1 << 20)) return fail("an mbarrier got a megabyte more than it expects");
  advance(b);
}

static bool land_one(Order order, uint32_t& seed) {
  bool ended = true;
  for (Thread& t : threads) ended = ended && t.state == DONE;
  if (boxes.empty() || ended) return false;
  size_t i = order == FORWARD ? 0 : order == REVERSE ? boxes.size() - 1 : chance(seed) % boxes.size();
  Box c = boxes[i];
  boxes.erase(boxes.begin() + i);
  land(c);
  return true;
}

// Warpgroups.

static Group& group() { return groups[current->number / GROUP]; }

// All threads of a warpgroup meet; the last one does the work of all.
template <class F>
static void meet(const char* what, uint64_t a, uint64_t b, float* registers, F work) {
  Group& g = group();
  unsigned first = current->number / GROUP * GROUP;
  if (threads.size() < first + GROUP) stop("a warpgroup has 128 threads");
  if (g.arrived == 0) g.what = what, g.a = a, g.b = b;
  if (std::strcmp(g.what, what) || g.a != a || g.b != b)
    stop("threads of a warpgroup meet at " + std::string(g.what) + " of " + hex(g.a) + ", " + hex(g.b) + " and at " + what + " of " + hex(a) + ", " + hex(b));
  g.registers[current->number % GROUP] = registers;
  current->state = WAITING;
  current->mask = 0;
  if (++g.arrived == GROUP) {
    g.arrived = 0;
    work(g);
    for (int i = 0; i < GROUP; i++) threads[first + i].state = READY;
  }
  leave();
}

// The row and column of the i-th of a thread's 128 sums of a product of 64 by 256.
static int row(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
static int column(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

// Sixteen terms of n rows of a factor, as a descriptor says; across: rows lie next to
// each other, otherwise terms do.
static void factor(uint64_t descriptor, bool across, int n, float (*values)[256], Pieces& pieces) {
  uint32_t start = uint32_t(descriptor & 0x3fff) << 4, leading = uint32_t(descriptor >> 16 & 0x3fff) << 4, stride = uint32_t(descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1) stop("only matrices in the 128-byte swizzle are emulated");
  if (start & 0x380) stop("a matrix at " + hex(start) + " does not start with a row of its swizzle");
  for (int i = 0; i < n * 2; i++) {  // 8 values that lie next to each other
    int r = across ? i % (n / 8) * 8 : i / 2, k = across ? i / (n / 8) : i % 2 * 8;
    uint32_t a = across ? start + r / 64 * leading + k / 8 * stride + k % 8 * 128 + r % 64 * 2 : start + r / 8 * stride + r % 8 * 128 + k * 2;
    a ^= (a >> 7 & 7) << 4;
    uint16_t v[8];
    std::memcpy(v, shared(a, sizeof v), sizeof v);
    if (written[a >> 10]) stop("a product reads " + hex(a) + " while a copy is writing it");
    pieces[a >> 10] = 1;
    for (int j = 0; j < 8; j++) {
      uint32_t bits = uint32_t(v[j]) << 16;
      std::memcpy(across ? &values[k][r + j] : &values[k + j][r], &bits, 4);
    }
  }
}

typedef float Lanes __attribute__((vector_size(16)));
typedef double Sums __attribute__((vector_size(32)));
typedef uint64_t Bits __attribute__((vector_size(32)));

// Whether all are zero; wild tells whether one is no finite number.
static bool zeros(float (*values)[256], int n, bool& wild) {
  bool zero = true;
  for (int k = 0; k < 16; k++)
    for (int i = 0; i < n; i++) zero = zero && values[k][i] == 0, wild = wild || !isfinite(values[k][i]);
  return zero;
}

// Sixteen products at a time are added to a sum, and that is cut off towards zero to the
// 24 bits of a float32: so much tensor cores lose at most (see mma.h).
static void multiply(Group& g, bool acrossA, bool acrossB, uint64_t a, uint64_t b, bool add) {
  alignas(32) static float as[16][256], bs[16][256];
  Pieces pieces(PIECES);
  factor(a, acrossA, 64, as, pieces);
  factor(b, acrossB, 256, bs, pieces);
  for (int w = 0; w < 4; w++)
    if (!g.fenced[w]) stop("a product without wgmma_fence before it");
  for (int t = 0; t < GROUP; t++)
    for (int i = 0; i < 128 && !g.busy[t / 32]; i++) {
      g.sums[row(t, i)][column(t, i)] = g.registers[t][i];
      g.registers[t][i] = NAN;
    }
  if (!add) std::memset(g.sums, 0, sizeof g.sums);
  bool wildA = false, wildB = false, zeroA = zeros(as, 64, wildA), zeroB = zeros(bs, 256, wildB);
  for (int r = 0; r < 64 && !(zeroA && !wildB) && !(zeroB && !wildA); r++)
    for (int c = 0; c < 256; c += 32) {
      Lanes some[8] = {};
      for (int k = 0; k < 16; k++)
        for (int i = 0; i < 8; i++) some[i] += as[k][r] * reinterpret_cast<Lanes&>(bs[k][c + 4 * i]);
      for (int i = 0; i < 8; i++) {
        Lanes& sum = reinterpret_cast<Lanes&>(g.sums[r][c + 4 * i]);
        Sums s = __builtin_convertvector(sum, Sums) + __builtin_convertvector(some[i], Sums);
        sum = __builtin_convertvector(Sums(Bits(s) & ~0ull << 29), Lanes);
      }
    }
  for (int w = 0; w < 4; w++) g.busy[w] = true;
  if (g.open.empty()) g.open.resize(PIECES);
  for (int p = 0; p < PIECES; p++)
    if (pieces[p] && !g.open[p]) g.open[p] = 1, read[p] += 4;
}

// A warp waits for all committed groups but the last ones, source of a lane; value of a
// lane points to its registers.
static void wait_lanes(Thread* warp, unsigned) {
  Group& g = groups[warp->number / GROUP];
  unsigned w = warp->number % GROUP / 32;
  size_t to = g.committed.size() - std::min(size_t(warp->source), g.committed.size());
  for (; g.waited[w] < to; g.waited[w]++)
    for (int p = 0; p < PIECES; p++) read[p] -= g.committed[g.waited[w]][p];
  if (to < g.committed.size() || !g.open.empty()) return;
  for (int t = 32 * w; t < 32 * int(w + 1) && g.busy[w]; t++)
    for (int i = 0; i < 128; i++) reinterpret_cast<float*>(warp[t % 32].value)[i] = g.sums[row(t, i)][column(t, i)];
  g.busy[w] = g.fenced[w] = false;
}

static void fence_lanes(Thread* warp, unsigned) { groups[warp->number / GROUP].fenced[warp->number % GROUP / 32] = true; }

static void limit(int registers) {
  meet("setmaxnreg", registers, 0, nullptr, [=](Group& g) { g.limit = registers; });
}

static void start_block() {
  barriers.clear();
  boxes.clear();
  groups.clear();
  groups.resize((threads.size() + GROUP - 1) / GROUP);
  std::memset(written, 0, sizeof written);
  std::memset(read, 0, sizeof read);
}

static void end_block() {
  if (!boxes.empty()) fail("the block ends while " + std::to_string(boxes.size()) + " copies are on their way");
  int registers = 0, same = 65536 / int(threads.size()) / 8 * 8;
  for (Group& g : groups) {
    if (g.busy[0] || g.busy[1] || g.busy[2] || g.busy[3]) fail("the block ends before its products");
    registers += GROUP * (g.limit ? g.limit : std::min(same, 255));
  }
  if (registers > 65536) fail("setmaxnreg: the block's threads ask for " + std::to_string(registers) + " registers, a processor has 65536");
}

static const bool extended = (extension = {start_block, land_one, end_block}, true);
}  // namespace emul

static inline unsigned shared_address(const void* p) {
  return unsigned(static_cast<const char*>(p) - emul::dynamic.data()) + emul::FIRST;
}

static inline void mbarrier_init(unsigned address, unsigned count) {
  if (address % 8) emul::stop("an mbarrier at " + emul::hex(address) + ", not at 8 bytes");
  emul::shared(address, 8);
  emul::barriers.push_back({address, int(count), int(count), 0, 0, false});
}

static inline void fence_proxy_async() {
  for (emul::Barrier& b : emul::barriers) b.fenced = true;
}

static inline void mbarrier_arrive(unsigned address) { emul::arrive(address, 0); }
static inline void mbarrier_arrive_expect(unsigned address, unsigned bytes) { emul::arrive(address, int(bytes)); }

static inline void mbarrier_wait(unsigned address, unsigned parity) {
  if (emul::barrier_at(address).phase != parity) return;
  emul::current->state = emul::WAITING;
  emul::current->mask = address, emul::current->source = parity;
  emul::leave();
}

static inline void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int c, int w, int h, int t, int n) {
  using namespace emul;
  if (map->mark != TENSOR_MAP) stop("a copy without a tensor map");
  if (!barrier_at(barrier).fenced) stop("a copy's mbarrier is not fenced for it");
  if (to % 1024) stop("a copy to " + hex(to) + ": its swizzle starts at 1024 bytes");
  uint32_t bytes = 2;
  for (int i = 0; i < 5; i++) bytes *= map->count(i);
  shared(to, bytes);
  for (Barrier& b : barriers)
    if (b.address + 8 > to && b.address < to + bytes) stop("a copy over an mbarrier");
  for (uint32_t p = to >> 10; p <= (to + bytes - 1) >> 10; p++) {
    if (written[p]) stop("a copy to " + hex(to) + " while another one is writing there");
    if (read[p]) stop("a copy to " + hex(to) + " while a product is reading there");
    written[p]++;
  }
  boxes.push_back({*map, {c, w, h, t, n}, to, barrier});
}

static inline void group_sync(int number) {
  emul::meet("group_sync", number, 0, nullptr, [](emul::Group&) {});
}

static inline void wgmma_fence() { emul::collective(emul::fence_lanes, ~0u, 0, 0); }

template <bool AcrossA, bool AcrossB>
static inline void wgmma(float (&d)[128], uint64_t a, uint64_t b, bool add) {
  emul::meet(add ? "wgmma, added" : "wgmma", a, b, d, [=](emul::Group& g) { emul::multiply(g, AcrossA, AcrossB, a, b, add); });
}

static inline void wgmma_commit() {
  emul::meet("wgmma_commit", 0, 0, nullptr, [](emul::Group& g) {
    if (g.open.empty()) g.open.resize(emul::PIECES);
    g.committed.push_back(g.open);
    g.open.clear();
  });
}

template <int N>
static inline void wgmma_wait(float (&d)[128]) {
  emul::collective(emul::wait_lanes, ~0u, reinterpret_cast<uint64_t>(d), N);
}

template <int N>
static inline void setmaxnreg_inc() { emul::limit(N); }
template <int N>
static inline void setmaxnreg_dec() { emul::limit(N); }
