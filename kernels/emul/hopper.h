// hopper.h: the instructions of kernels/hopper.cuh on the emulated device: mbarrier, TMA, WGMMA
// and setmaxnreg. Shared memory addresses are 32-bit numbers, as in PTX.
//
// TMA and WGMMA are asynchronous, so the emulator takes the latest legal moment, or any order:
//   - a TMA copy is done only when no thread can run without it; earlier reads see NaN or old values;
//   - accumulators are NaN from wgmma until wgmma_wait has covered its group;
//   - errors: a copy to memory that another copy is writing or a wgmma is reading, and a wgmma
//     that reads memory which a copy is writing;
//   - copies complete in the order of issue, in reverse or shuffled.
#pragma once
#include "emul.h"

#define __grid_constant__

enum class Major { K, MN };  // as in hopper.cuh

// The emulator's encoding of a tensor map, made by package emul.
struct alignas(64) TensorMap {
  uint64_t address, dims[5], strides[4];  // strides in bytes
  uint32_t box[5], magic;
  uint8_t element_strides[5], unused[11];
  int count(int axis) const { return (box[axis] + element_strides[axis] - 1) / element_strides[axis]; }  // elements that a copy moves
};
static_assert(sizeof(TensorMap) == 128, "a tensor map has 128 bytes");

namespace emul {

constexpr uint32_t TENSOR_MAP_MAGIC = 0x6d736e74;
constexpr uint32_t SMEM_BASE = 16;  // the address of dynamic shared memory: CUDA promises an alignment of 16 bytes only
constexpr int WARPGROUP = 128;      // threads of a warpgroup

struct Barrier {
  uint32_t address;
  int count, pending, tx_bytes;  // arrivals per phase, arrivals and bytes still pending
  unsigned phase;
  bool fenced;  // visible to the async proxy
};

// A TMA copy in flight.
struct Copy5D {
  TensorMap map;
  int at[5];
  uint32_t to, barrier;
};

// Hazards are tracked per kilobyte of shared memory.
constexpr int PAGES = 232;
using Pages = std::vector<uint8_t>;

struct Warpgroup {
  int arrived = 0;
  const char* instruction;  // the one at which threads are waiting for the others
  uint64_t a, b;            // its operands
  float* registers[WARPGROUP];
  alignas(16) float accumulators[64][256];
  bool busy[4] = {}, fenced[4] = {};  // per warp: its accumulators are in use by wgmma; wgmma_fence was executed
  Pages open;                         // pages read by wgmma that are not committed
  std::vector<Pages> committed;       // pages read by each committed group
  size_t waited[4] = {};              // per warp: committed groups that it has waited for
  int max_registers = 0;              // registers per thread, if set by setmaxnreg
};

static std::vector<Barrier> barriers;
static std::vector<Copy5D> in_flight;
static std::vector<Warpgroup> warpgroups;
static uint8_t writers[PAGES], readers[PAGES];  // per page: copies in flight, and warps with a pending wgmma

static std::string hex(uint64_t a) {
  char s[24];
  std::snprintf(s, sizeof s, "%#llx", static_cast<unsigned long long>(a));
  return s;
}

static char* shared(uint32_t address, uint32_t n) {
  if (address < SMEM_BASE || address - SMEM_BASE + n > dynamic.size()) stop("shared memory ends before " + hex(address + n));
  return dynamic.data() + (address - SMEM_BASE);
}

// mbarrier.

static Barrier& barrier_at(uint32_t address) {
  for (Barrier& b : barriers)
    if (b.address == address) return b;
  stop("there is no mbarrier at " + hex(address));
}

static void complete_phase_if_done(Barrier& b) {
  if (b.pending || b.tx_bytes) return;
  b.phase ^= 1;
  b.pending = b.count;
  for (Thread& t : threads)
    if (t.state == WAITING && t.mask == b.address && t.source != b.phase) t.state = READY;
}

static void arrive(uint32_t address, int bytes) {
  Barrier& b = barrier_at(address);
  if (b.pending == 0) stop("more threads arrive at an mbarrier than it counts");
  b.pending--;
  b.tx_bytes += bytes;
  complete_phase_if_done(b);
}

// TMA.

// Completes a copy: writes the box in the 128-byte swizzle and its bytes on the barrier.
static void complete(const Copy5D& c) {
  uint32_t n = 0;
  int i[5];
  for (i[4] = 0; i[4] < c.map.count(4); i[4]++)
    for (i[3] = 0; i[3] < c.map.count(3); i[3]++)
      for (i[2] = 0; i[2] < c.map.count(2); i[2]++)
        for (i[1] = 0; i[1] < c.map.count(1); i[1]++) {
          const char* row = reinterpret_cast<const char*>(c.map.address);
          bool inside = true;
          for (int d = 1; d < 5; d++) {
            int64_t x = int64_t(c.at[d]) + i[d] * c.map.element_strides[d];
            inside = inside && x >= 0 && x < int64_t(c.map.dims[d]);
            row += x * int64_t(c.map.strides[d - 1]);
          }
          for (i[0] = 0; i[0] < c.map.count(0); i[0]++, n += 2) {
            int64_t x = int64_t(c.at[0]) + i[0];
            uint16_t v = 0;
            if (inside && x >= 0 && x < int64_t(c.map.dims[0])) std::memcpy(&v, row + 2 * x, 2);
            uint32_t to = c.to + n;
            std::memcpy(dynamic.data() + ((to ^ (to >> 7 & 7) << 4) - SMEM_BASE), &v, 2);
          }
        }
  for (uint32_t p = c.to >> 10; p <= (c.to + n - 1) >> 10; p++) writers[p]--;
  Barrier& b = barrier_at(c.barrier);
  b.tx_bytes -= int(n);
  if (b.tx_bytes <= -(1 << 20)) return fail("an mbarrier got a megabyte more than it expects");
  complete_phase_if_done(b);
}

// Completes one of the copies in flight, by order; false if there is none or all threads have returned.
static bool complete_one(Order order, uint32_t& seed) {
  bool ended = true;
  for (Thread& t : threads) ended = ended && t.state == DONE;
  if (in_flight.empty() || ended) return false;
  size_t i = order == FORWARD ? 0 : order == REVERSE ? in_flight.size() - 1 : xorshift32(seed) % in_flight.size();
  Copy5D c = in_flight[i];
  in_flight.erase(in_flight.begin() + i);
  complete(c);
  return true;
}

// Warpgroups.

// The warpgroup of a thread. A block has none before one of its threads uses its own.
static Warpgroup& warpgroup(const Thread& t) {
  if (warpgroups.empty()) warpgroups.resize((threads.size() + WARPGROUP - 1) / WARPGROUP);
  return warpgroups[t.number / WARPGROUP];
}

// Blocks until all threads of the warpgroup execute the instruction; the last one runs work.
template <class F>
static void meet(const char* instruction, uint64_t a, uint64_t b, float* registers, F work) {
  Warpgroup& g = warpgroup(*current);
  unsigned first = current->number / WARPGROUP * WARPGROUP;
  if (threads.size() < first + WARPGROUP) stop("a warpgroup has 128 threads");
  if (g.arrived == 0) g.instruction = instruction, g.a = a, g.b = b;
  if (std::strcmp(g.instruction, instruction) || g.a != a || g.b != b)
    stop("threads of a warpgroup meet at " + std::string(g.instruction) + " of " + hex(g.a) + ", " + hex(g.b) + " and at " + instruction + " of " + hex(a) + ", " + hex(b));
  g.registers[current->number % WARPGROUP] = registers;
  current->state = WAITING;
  current->mask = 0;
  if (++g.arrived == WARPGROUP) {
    g.arrived = 0;
    work(g);
    for (int i = 0; i < WARPGROUP; i++) threads[first + i].state = READY;
  }
  leave();
}

// The row and column of accumulator i of a thread, of an m64n256 wgmma.
static int row(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
static int column(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

// Reads an operand of n rows (M or N) and 16 k through its descriptor: values[k][row].
static void read_operand(uint64_t descriptor, Major major, int n, float (*values)[256], Pages& pages) {
  bool mn = major == Major::MN;
  uint32_t start = uint32_t(descriptor & 0x3fff) << 4, leading = uint32_t(descriptor >> 16 & 0x3fff) << 4, stride = uint32_t(descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1) stop("only descriptors of the 128-byte swizzle are emulated");
  if (start & 0x380) stop("an operand at " + hex(start) + " does not start with a row of its swizzle");
  for (int i = 0; i < n * 2; i++) {  // 8 contiguous values
    int r = mn ? i % (n / 8) * 8 : i / 2, k = mn ? i / (n / 8) : i % 2 * 8;
    uint32_t a = mn ? start + r / 64 * leading + k / 8 * stride + k % 8 * 128 + r % 64 * 2 : start + r / 8 * stride + r % 8 * 128 + k * 2;
    a ^= (a >> 7 & 7) << 4;
    uint16_t v[8];
    std::memcpy(v, shared(a, sizeof v), sizeof v);
    if (writers[a >> 10]) stop("a wgmma reads " + hex(a) + " while a copy is writing it");
    pages[a >> 10] = 1;
    for (int j = 0; j < 8; j++) {
      uint32_t bits = uint32_t(v[j]) << 16;
      std::memcpy(mn ? &values[k][r + j] : &values[k + j][r], &bits, 4);
    }
  }
}

typedef float Lanes __attribute__((vector_size(16)));
typedef double Sums __attribute__((vector_size(32)));
typedef uint64_t Bits __attribute__((vector_size(32)));

// Whether all values are zero; sets nonfinite if one is infinite or NaN.
static bool zeros(float (*values)[256], int n, bool& nonfinite) {
  bool zero = true;
  for (int k = 0; k < 16; k++)
    for (int i = 0; i < n; i++) zero = zero && values[k][i] == 0, nonfinite = nonfinite || !isfinite(values[k][i]);
  return zero;
}

// wgmma m64n256k16. Sixteen products are added to an accumulator, which is then truncated to the
// 24 bits of a float32: the largest error that tensor cores make (see mma.h).
static void multiply(Warpgroup& g, Major majorA, Major majorB, uint64_t a, uint64_t b, bool accumulate) {
  alignas(32) static float as[16][256], bs[16][256];
  Pages pages(PAGES);
  read_operand(a, majorA, 64, as, pages);
  read_operand(b, majorB, 256, bs, pages);
  for (int w = 0; w < 4; w++)
    if (!g.fenced[w]) stop("a wgmma without wgmma_fence before it");
  for (int t = 0; t < WARPGROUP; t++)
    for (int i = 0; i < 128 && !g.busy[t / 32]; i++) {
      g.accumulators[row(t, i)][column(t, i)] = g.registers[t][i];
      g.registers[t][i] = NAN;
    }
  if (!accumulate) std::memset(g.accumulators, 0, sizeof g.accumulators);
  bool nonfiniteA = false, nonfiniteB = false, zeroA = zeros(as, 64, nonfiniteA), zeroB = zeros(bs, 256, nonfiniteB);
  for (int r = 0; r < 64 && !(zeroA && !nonfiniteB) && !(zeroB && !nonfiniteA); r++)
    for (int c = 0; c < 256; c += 32) {
      Lanes some[8] = {};
      for (int k = 0; k < 16; k++)
        for (int i = 0; i < 8; i++) some[i] += as[k][r] * reinterpret_cast<Lanes&>(bs[k][c + 4 * i]);
      for (int i = 0; i < 8; i++) {
        Lanes& sum = reinterpret_cast<Lanes&>(g.accumulators[r][c + 4 * i]);
        Sums s = __builtin_convertvector(sum, Sums) + __builtin_convertvector(some[i], Sums);
        sum = __builtin_convertvector(Sums(Bits(s) & ~0ull << 29), Lanes);
      }
    }
  for (int w = 0; w < 4; w++) g.busy[w] = true;
  if (g.open.empty()) g.open.resize(PAGES);
  for (int p = 0; p < PAGES; p++)
    if (pages[p] && !g.open[p]) g.open[p] = 1, readers[p] += 4;
}

// wgmma_wait of a warp: a lane's source is the number of groups that may stay pending, its value
// the address of its registers.
static void wait_lanes(Thread* warp, unsigned) {
  Warpgroup& g = warpgroup(*warp);
  unsigned w = warp->number % WARPGROUP / 32;
  size_t to = g.committed.size() - std::min(size_t(warp->source), g.committed.size());
  for (; g.waited[w] < to; g.waited[w]++)
    for (int p = 0; p < PAGES; p++) readers[p] -= g.committed[g.waited[w]][p];
  if (to < g.committed.size() || !g.open.empty()) return;
  for (int t = 32 * w; t < 32 * int(w + 1) && g.busy[w]; t++)
    for (int i = 0; i < 128; i++) reinterpret_cast<float*>(warp[t % 32].value)[i] = g.accumulators[row(t, i)][column(t, i)];
  g.busy[w] = g.fenced[w] = false;
}

static void fence_lanes(Thread* warp, unsigned) { warpgroup(*warp).fenced[warp->number % WARPGROUP / 32] = true; }

static void set_max_registers(int n) {
  meet("setmaxnreg", n, 0, nullptr, [=](Warpgroup& g) { g.max_registers = n; });
}

static void start_block() {
  barriers.clear();
  in_flight.clear();
  warpgroups.clear();
  std::memset(writers, 0, sizeof writers);
  std::memset(readers, 0, sizeof readers);
}

static void end_block() {
  if (!in_flight.empty()) fail("the block ends while " + std::to_string(in_flight.size()) + " copies are in flight");
  int registers = 0, equal_share = 65536 / int(threads.size()) / 8 * 8;
  for (Warpgroup& g : warpgroups) {
    if (g.busy[0] || g.busy[1] || g.busy[2] || g.busy[3]) fail("the block ends before its wgmmas");
    registers += WARPGROUP * (g.max_registers ? g.max_registers : std::min(equal_share, 255));
  }
  if (registers > 65536) fail("setmaxnreg: the block's threads ask for " + std::to_string(registers) + " registers, an SM has 65536");
}

static const bool extended = (extension = {start_block, complete_one, end_block}, true);
}  // namespace emul

static inline unsigned smem_address(const void* p) {
  return unsigned(static_cast<const char*>(p) - emul::dynamic.data()) + emul::SMEM_BASE;
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
static inline void mbarrier_arrive_expect_tx(unsigned address, unsigned bytes) { emul::arrive(address, int(bytes)); }

static inline void mbarrier_wait(unsigned address, unsigned parity) {
  if (emul::barrier_at(address).phase != parity) return;
  emul::current->state = emul::WAITING;
  emul::current->mask = address, emul::current->source = parity;
  emul::leave();
}

static inline void tma_load(unsigned to, const TensorMap* map, unsigned barrier, int c, int w, int h, int t, int n) {
  using namespace emul;
  if (map->magic != TENSOR_MAP_MAGIC) stop("a copy without a tensor map");
  if (!barrier_at(barrier).fenced) stop("a copy's mbarrier is not fenced for it");
  if (to % 1024) stop("a copy to " + hex(to) + ": its swizzle starts at 1024 bytes");
  uint32_t bytes = 2;
  for (int i = 0; i < 5; i++) bytes *= map->count(i);
  shared(to, bytes);
  for (Barrier& b : barriers)
    if (b.address + 8 > to && b.address < to + bytes) stop("a copy over an mbarrier");
  for (uint32_t p = to >> 10; p <= (to + bytes - 1) >> 10; p++) {
    if (writers[p]) stop("a copy to " + hex(to) + " while another one is writing there");
    if (readers[p]) stop("a copy to " + hex(to) + " while a wgmma is reading there");
    writers[p]++;
  }
  in_flight.push_back({*map, {c, w, h, t, n}, to, barrier});
}

static inline void warpgroup_sync(int number) {
  emul::meet("warpgroup_sync", number, 0, nullptr, [](emul::Warpgroup&) {});
}

static inline void wgmma_fence() { emul::collective(emul::fence_lanes, ~0u, 0, 0); }

template <Major MajorA, Major MajorB>
static inline void wgmma(float (&d)[128], uint64_t a, uint64_t b, bool accumulate) {
  emul::meet(accumulate ? "wgmma, accumulating" : "wgmma", a, b, d, [=](emul::Warpgroup& g) { emul::multiply(g, MajorA, MajorB, a, b, accumulate); });
}

static inline void wgmma_commit() {
  emul::meet("wgmma_commit", 0, 0, nullptr, [](emul::Warpgroup& g) {
    if (g.open.empty()) g.open.resize(emul::PAGES);
    g.committed.push_back(g.open);
    g.open.clear();
  });
}

template <int N>
static inline void wgmma_wait(float (&d)[128]) {
  emul::collective(emul::wait_lanes, ~0u, reinterpret_cast<uint64_t>(d), N);
}

template <int N>
static inline void setmaxnreg_inc() { emul::set_max_registers(N); }
template <int N>
static inline void setmaxnreg_dec() { emul::set_max_registers(N); }
