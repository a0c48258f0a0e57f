// emul.h: the part of CUDA that the kernels use, on the host. Each thread of a block is a fiber
// that runs until it waits for others; blocks run one after another.
//
// Why fibers in three orders: a missing barrier shows only if a thread runs before those that
// it depends on. In forward, reverse or shuffled order at least one does. For the same reason
// a warp runs as far as it can before the next one starts.
//
// Static shared memory must be declared in __global__ functions, not in templates or inline
// functions: it is a linker section of its own, filled with NaN before each block. Each .cu file
// has one, "emul_shared_" and the file's name, which is the text SOURCE while the file is included.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>
#if defined(__x86_64__) && !defined(EMUL_UCONTEXT)
#define EMUL_SWITCH  // a context switch in assembly; elsewhere swapcontext, which makes system calls
#else
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section(SOURCE), aligned(16)))
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(emul::dynamic.data())

namespace emul {
static void misaligned(const void* p, unsigned size);

// A vectorized access: a device requires natural alignment. The host compiler may split the access,
// so alignment is checked here.
template <class V>
static const V& whole(const V& v) {
  uintptr_t p = reinterpret_cast<uintptr_t>(&v);
  asm("" : "+r"(p));  // hides from the compiler that the type implies alignment
  if (p % alignof(V)) misaligned(&v, sizeof v);
  return v;
}

template <class T>
struct alignas(2 * sizeof(T)) Two {
  T x, y;
  Two() = default;
  Two(T x, T y) : x(x), y(y) {}
  Two(const Two& v) : x(whole(v).x), y(v.y) {}
  Two& operator=(const Two& v) { return whole(*this), x = whole(v).x, y = v.y, *this; }
};

template <class T>
struct alignas(16) Four {
  T x, y, z, w;
  Four() = default;
  Four(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
  Four(const Four& v) : x(whole(v).x), y(v.y), z(v.z), w(v.w) {}
  Four& operator=(const Four& v) { return whole(*this), x = whole(v).x, y = v.y, z = v.z, w = v.w, *this; }
};
}  // namespace emul
using float2 = emul::Two<float>;
using float4 = emul::Four<float>;
using uint4 = emul::Four<uint32_t>;

using std::isfinite;
using std::max;
using std::min;

// Declares the linker's names for both ends of a file's section; weak, as it may be absent.
#define SHARED_OF(file)                                                                    \
  extern "C" char __start_emul_shared_##file[] __attribute__((weak, visibility("hidden"))); \
  extern "C" char __stop_emul_shared_##file[] __attribute__((weak, visibility("hidden")));

namespace emul {

struct Index { unsigned x, y, z; };
enum State { READY, AT_BARRIER, IN_WARP, WAITING, DONE };

struct Thread;
using Collective = void (*)(Thread* warp, unsigned mask);  // runs when all lanes of the mask have arrived

// A cp.async of 16 bytes, of zeros if from is null.
struct Copy { void* to; const void* from; unsigned bytes, group; };

// Aligned so that a switch to a thread reads one line of the cache.
struct alignas(64) Thread {
#if defined(EMUL_SWITCH)
  void* sp;
#else
  ucontext_t context;
#endif
  Index id;
  unsigned number;
  State state;
  int line;  // of the barrier at which it waits
  // The arguments and the result of the warp collective that it executes.
  Collective kind;
  unsigned mask, source;
  uint64_t value;
  // Pending copies, and the index of the open group.
  std::vector<Copy> copies;
  unsigned group;
};

enum Order { FORWARD, REVERSE, SHUFFLED };

// A kernel.
struct Entry {
  const char* name;
  void (*run)(const char*);
  size_t length;              // bytes of arguments
  char *shared, *shared_end;  // static shared memory of its file
};

constexpr size_t STACK = 64 << 10;

static Index grid, block, at;  // gridDim, blockDim, blockIdx
static std::vector<Thread> threads;
static std::vector<char> stacks, dynamic;
static Thread* current;
static unsigned waiting;  // threads at the barrier
static std::vector<unsigned> in_warp;  // per warp: mask of lanes that wait in a collective
static std::string failure;
static void (*body)(const char*);
static const char* arguments;

[[noreturn]] static void entry();

#if defined(EMUL_SWITCH)
static void* scheduler;
extern "C" __attribute__((visibility("hidden"))) void emul_switch(void** from, void* to);
asm(R"(
.text
.hidden emul_switch
.globl emul_switch
.type emul_switch,@function
emul_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");
static void prepare(Thread& t, char* stack) {
  // At multiples of STACK all stacks would begin in the same sets of the caches.
  void** sp = reinterpret_cast<void**>(stack + STACK - 64 - t.number % 64 * 64);
  *--sp = nullptr;  // return address of entry, which never returns
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  t.sp = sp;
}
static void resume(Thread& t) { emul_switch(&scheduler, t.sp); }
static void leave() { emul_switch(&current->sp, scheduler); }
#else
static ucontext_t scheduler;
static void prepare(Thread& t, char* stack) {
  getcontext(&t.context);
  t.context.uc_stack.ss_sp = stack;
  t.context.uc_stack.ss_size = STACK;
  t.context.uc_link = nullptr;
  makecontext(&t.context, reinterpret_cast<void (*)()>(entry), 0);
}
static void resume(Thread& t) { swapcontext(&scheduler, &t.context); }
static void leave() { swapcontext(&current->context, &scheduler); }
#endif

static void fail(const std::string& why) {
  if (failure.empty()) failure = why;
}

static void entry() {
  body(arguments);
  if (!current->copies.empty()) fail("a thread returns without waiting for its cp.async");
  current->state = DONE;
  for (;;) leave();
}

// Reports an error of the kernel and ends its thread.
[[noreturn]] [[maybe_unused]] static void stop(const std::string& why) {
  fail(why);
  for (;;) leave();
}

[[maybe_unused]] static void misaligned(const void* p, unsigned size) {
  stop("an access of " + std::to_string(size) + " bytes at an address that ends in " + std::to_string(reinterpret_cast<uintptr_t>(p) % size));
}

// Hooks of an extension such as hopper.h. Its operations make threads WAITING and READY; idle is
// called when no thread can run, and returns whether one can afterwards.
static struct {
  void (*start)();
  bool (*idle)(Order, uint32_t& seed);
  void (*end)();
} extension;

static void barrier(int line) {
  current->state = AT_BARRIER;
  current->line = line;
  if (++waiting == threads.size()) {
    waiting = 0;
    for (Thread& t : threads) {
      if (t.line != line) fail("threads wait at the barriers of lines " + std::to_string(line) + " and " + std::to_string(t.line) + " at once");
      t.state = READY;
    }
  }
  leave();
}

// A collective of the lanes in mask completes when the last of them arrives.
static uint64_t collective(Collective kind, unsigned mask, uint64_t value, unsigned source) {
  unsigned first = current->number / 32 * 32, lane = current->number % 32, &here = in_warp[current->number / 32];
  Thread* warp = &threads[first];
  unsigned lanes = std::min<size_t>(32, threads.size() - first);
  auto meets = [&](const Thread& t) {
    if (t.mask != mask || t.kind != kind) fail("lanes of a warp meet with different masks or collectives");
  };
  current->state = IN_WARP;
  current->kind = kind, current->mask = mask, current->value = value, current->source = source;
  if (!(mask >> lane & 1)) fail("a lane is not in the mask of its own collective");
  if (lanes < 32 && mask >> lanes) fail("a mask names lanes that the block does not have");
  if (unsigned others = here & mask) meets(warp[__builtin_ctz(others)]);
  here |= 1u << lane;
  if ((here & mask) == mask) {
    for (unsigned i = 0; i < lanes; i++)
      if (mask >> i & 1) meets(warp[i]), warp[i].state = READY;
    here &= ~mask;
    if (failure.empty()) kind(warp, mask);
  }
  leave();
  return current->value;
}

[[maybe_unused]] static void sync_lanes(Thread*, unsigned) {}

static void ballot_lanes(Thread* warp, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned i = 0; i < 32; i++)
    if (mask >> i & 1 && warp[i].value) ballot |= 1u << i;
  for (unsigned i = 0; i < 32; i++)
    if (mask >> i & 1) warp[i].value = ballot;
}

static void shuffle_lanes(Thread* warp, unsigned mask) {
  uint64_t values[32];
  for (unsigned i = 0; i < 32; i++)
    if (mask >> i & 1) values[i] = warp[i].value;
  for (unsigned i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    if (!(mask >> warp[i].source & 1)) return fail("a shuffle reads a lane outside of its mask");
    warp[i].value = values[warp[i].source];
  }
}

template <class T>
static T shuffle(unsigned mask, T v, unsigned source) {
  static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  bits = collective(shuffle_lanes, mask, bits, source);
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

static unsigned lane() { return current->number % 32; }

// Fills memory with bytes that are NaN as float and as double.
static void poison(char* from, char* to) {
  for (; from < to; from++) *from = '\xff';
}

static std::string block_name() {
  return "block (" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

static void hang() {
  unsigned in[DONE + 1] = {};
  int line = 0;
  for (Thread& t : threads) {
    in[t.state]++;
    if (t.state == AT_BARRIER) line = t.line;
  }
  std::string s = "hang: of " + std::to_string(threads.size()) + " threads " + std::to_string(in[AT_BARRIER]) + " wait at __syncthreads";
  if (line) s += " (line " + std::to_string(line) + ")";
  fail(s + ", " + std::to_string(in[IN_WARP]) + " in a warp's collective, " +
       (in[WAITING] ? std::to_string(in[WAITING]) + " at an mbarrier or for their warpgroup, " : "") + std::to_string(in[DONE]) + " have returned");
}

static uint32_t xorshift32(uint32_t& state) {
  state ^= state << 13, state ^= state >> 17, state ^= state << 5;
  return state;
}

// Writes the numbers 0 to n-1, at most 32, in the given order.
static void in_order(unsigned char (&numbers)[32], unsigned n, Order order, uint32_t& seed) {
  for (unsigned i = 0; i < n; i++) numbers[i] = order == REVERSE ? n - 1 - i : i;
  if (order == SHUFFLED)
    for (unsigned i = n; i > 1; i--) std::swap(numbers[i - 1], numbers[xorshift32(seed) % i]);
}

// Runs each lane of a warp until it waits; false if all are waiting.
static bool run_warp(unsigned warp, Order order, uint32_t& seed) {
  unsigned char lanes[32];
  unsigned n = std::min<size_t>(32, threads.size() - 32 * warp);
  Thread* first = &threads[32 * warp];
  if (std::none_of(first, first + n, [](const Thread& t) { return t.state == READY; })) return false;
  in_order(lanes, n, order, seed);
  bool moved = false;
  for (unsigned i = 0; i < n; i++) {
    Thread& t = first[lanes[i]];
    if (t.state != READY || !failure.empty()) continue;
    moved = true;
    current = &t;
    resume(t);
  }
  return moved;
}

static void run_block(const Entry& k, Order order, uint32_t& seed) {
  poison(k.shared, k.shared_end);
  poison(dynamic.data(), dynamic.data() + dynamic.size());
  size_t n = threads.size();
  in_warp.assign((n + 31) / 32, 0);
  for (unsigned i = 0; i < n; i++) {
    Thread& t = threads[i];
    t.number = i, t.state = READY, t.line = 0, t.group = 0;
    t.copies.clear();
    t.id = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    prepare(t, stacks.data() + i * STACK);
  }
  waiting = 0;
  if (extension.start) extension.start();
  for (bool moved = true; moved && failure.empty();) {
    moved = false;
    unsigned char warps[32];
    in_order(warps, (n + 31) / 32, order, seed);
    for (unsigned w = 0; w < (n + 31) / 32; w++)
      while (run_warp(warps[w], order, seed)) moved = true;
    if (!moved && extension.idle) moved = extension.idle(order, seed);
  }
  for (Thread& t : threads)
    if (t.state != DONE) return hang();
  if (extension.end) extension.end();
}

// The next argument of a kernel. Arguments are laid out as in a struct.
template <class T>
static T next_argument(const char* base, size_t& at) {
  at = (at + alignof(T) - 1) / alignof(T) * alignof(T);
  T v;
  std::memcpy(&v, base + at, sizeof v);
  at += sizeof v;
  return v;
}

template <class... A>
static void call(void (*kernel)(A...), const char* args) {
  size_t at = 0;
  std::tuple<A...> t{next_argument<A>(args, at)...};
  std::apply(kernel, t);
}

template <class... A>
static size_t length(void (*)(A...)) {
  size_t at = 0;
  ((at = (at + alignof(A) - 1) / alignof(A) * alignof(A) + sizeof(A)), ...);
  return at;
}

}  // namespace emul

#define KERNEL(file, name) \
  {#name, [](const char* args) { emul::call(name, args); }, emul::length(name), __start_emul_shared_##file, __stop_emul_shared_##file}

#define threadIdx (emul::current->id)
#define blockIdx (emul::at)
#define blockDim (emul::block)
#define gridDim (emul::grid)
#define __syncthreads() emul::barrier(__LINE__)
static inline uint32_t __float_as_uint(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
static inline float __uint_as_float(uint32_t u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}

#define __syncwarp(...) emul::collective(emul::sync_lanes, ~0u, 0, 0)

template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int with) { return emul::shuffle(mask, v, (emul::lane() ^ with) % 32); }
template <class T>
static inline T __shfl_sync(unsigned mask, T v, int from) { return emul::shuffle(mask, v, from % 32u); }
template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned by) { return emul::shuffle(mask, v, emul::lane() + by < 32 ? emul::lane() + by : emul::lane()); }
static inline unsigned __ballot_sync(unsigned mask, int v) { return emul::collective(emul::ballot_lanes, mask, v != 0, 0); }
static inline int __any_sync(unsigned mask, int v) { return __ballot_sync(mask, v) != 0; }
static inline int __all_sync(unsigned mask, int v) { return __ballot_sync(mask, v) == mask; }
template <class T>
static inline T atomicAdd(T* p, T v) {
  T old = *p;
  *p += v;
  return old;
}
template <class T>
static inline T atomicMax(T* p, T v) {
  T old = *p;
  *p = max(old, v);
  return old;
}

// The exported functions of a library of kernels, listed in table.
#define LIBRARY(table)                                                                                              \
  extern "C" __attribute__((visibility("default"))) int emul_find(const char* name) {                              \
    for (size_t i = 0; i < std::size(table); i++)                                                                   \
      if (!std::strcmp(table[i].name, name)) return i;                                                              \
    return -1;                                                                                                      \
  }                                                                                                                 \
  extern "C" __attribute__((visibility("default"))) const char* emul_launch(                                       \
      int kernel, const unsigned* grid, const unsigned* block, unsigned shared, const void* args, unsigned length, \
      int order) {                                                                                                  \
    return emul::launch(table[kernel], grid, block, shared, args, length, order);                                  \
  }

namespace emul {
// Runs a kernel. Returns an error message, or null.
static const char* launch(const Entry& k, const unsigned* g, const unsigned* b, unsigned shared, const void* args, unsigned length, int order) {
  failure.clear();
  grid = {g[0], g[1], g[2]}, block = {b[0], b[1], b[2]}, at = {0, 0, 0};
  uint64_t n = uint64_t(block.x) * block.y * block.z, blocks = uint64_t(grid.x) * grid.y * grid.z;
  // The limits of compute capability 9.0.
  if (n < 1 || n > 1024 || block.z > 64) fail("a block has 1 to 1024 threads, 64 in z");
  if (!blocks || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) fail("a grid has 1 to 2^31-1, 65535, 65535 blocks");
  if (shared > 227 << 10) fail("a block has at most 227 KiB of dynamic shared memory");
  if (length != k.length) fail("takes " + std::to_string(k.length) + " bytes of arguments, got " + std::to_string(length));
  if (failure.empty()) {
    threads.resize(n);
    stacks.resize(std::max(stacks.size(), n * STACK));
    dynamic.resize(shared);
    body = k.run, arguments = static_cast<const char*>(args);
    uint32_t seed = 2463534242u;
    for (uint64_t i = 0; i < blocks && failure.empty(); i++) {
      uint64_t j = order == REVERSE ? blocks - 1 - i : i;
      at = {unsigned(j % grid.x), unsigned(j / grid.x % grid.y), unsigned(j / grid.x / grid.y)};
      run_block(k, Order(order), seed);
    }
  }
  if (failure.empty()) return nullptr;
  failure = std::string(k.name) + ", " + block_name() + ": " + failure;
  return failure.c_str();
}
}  // namespace emul
