// libnccl.so.2 on host memory, for tests. Ranks are processes of one machine that meet in
// shared memory. What they enqueue are host functions on the streams of the libcuda.so.1 that
// the process has opened, so that collectives are captured and run late as kernels are.
//
// Sums are added around a ring that begins at another rank for each part, as NCCL's may be:
// not in the order of ranks. The environment injects failures: FAKE_NCCL_INIT (what joining
// returns), FAKE_NCCL_STUCK=rank (one that sends nothing), FAKE_NCCL_DIE=rank (one that ends
// by a signal instead of sending), FAKE_NCCL_WRONG=add (the last value of a part lacks a rank)
// or gather (a bit of its last value is another).
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {
enum { OK = 0, UNHANDLED_CUDA_ERROR = 1, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, REMOTE_ERROR = 6 };
constexpr int RANKS = 16, CHUNK = 1 << 16;

// A box takes bytes from one rank to another, one piece at a time.
struct Box {
  std::atomic<uint32_t> length;  // 0: empty
  char bytes[CHUNK];
};
struct Shared {
  std::atomic<int> joined;
  std::atomic<int> pid[RANKS];
  Box box[RANKS][RANKS];  // from, to
};
struct Id { char name[128]; };
}  // namespace

struct ncclComm {
  Shared* shared;
  int rank, ranks;
  std::atomic<bool> aborted{false};
  std::atomic<unsigned> error{OK};
};
typedef ncclComm* Comm;

namespace {
std::string last;  // what ncclGetLastError returns

unsigned fail(unsigned code, const std::string& why) { return last = why, code; }

long option(const char* name, long otherwise) {
  const char* v = std::getenv(name);
  return v ? std::atol(v) : otherwise;
}

bool wrong(const char* what) {
  const char* v = std::getenv("FAKE_NCCL_WRONG");
  return v && !std::strcmp(v, what);
}

struct Transfer {
  const char* from;  // of a send
  char* to;          // of a receipt
  size_t bytes;
  int peer;
};

// Moves all transfers, those with one peer in order.
void move(Comm c, std::vector<Transfer> sends, std::vector<Transfer> receipts) {
  if (c->rank == option("FAKE_NCCL_DIE", -1)) raise(SIGKILL);
  while (c->rank == option("FAKE_NCCL_STUCK", -1) && !c->aborted) usleep(100);
  if (c->aborted) return;
  for (bool moved = true;; moved = false) {
    bool left = false, busy[RANKS] = {};
    for (Transfer& t : sends) {
      if (!t.bytes || busy[t.peer]) continue;
      left = busy[t.peer] = true;
      Box& b = c->shared->box[c->rank][t.peer];
      if (b.length) continue;
      size_t n = std::min(t.bytes, size_t(CHUNK));
      std::memcpy(b.bytes, t.from, n), b.length = uint32_t(n);
      t.from += n, t.bytes -= n, moved = true;
    }
    std::fill(busy, busy + RANKS, false);
    for (Transfer& t : receipts) {
      if (!t.bytes || busy[t.peer]) continue;
      left = busy[t.peer] = true;
      Box& b = c->shared->box[t.peer][c->rank];
      size_t n = b.length;
      if (!n) continue;
      std::memcpy(t.to, b.bytes, n), b.length = 0;
      t.to += n, t.bytes -= n, moved = true;
    }
    if (!left || c->aborted) return;
    for (int i = 0; i < c->ranks && !moved; i++)
      if (kill(c->shared->pid[i], 0)) c->error = REMOTE_ERROR;
    if (!moved) usleep(50);
  }
}

float widen(uint16_t v) {
  uint32_t bits = uint32_t(v) << 16;
  float f;
  return std::memcpy(&f, &bits, 4), f;
}
uint16_t narrow(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

size_t width(unsigned type) { return type == 9 ? 2 : 4; }

// Adds src to dst.
void add(char* dst, const char* src, size_t n, unsigned type) {
  for (size_t i = 0; i < n; i++)
    if (type == 9) {
      uint16_t* d = (uint16_t*)dst + i;
      *d = narrow(widen(*d) + widen(((const uint16_t*)src)[i]));
    } else {
      ((float*)dst)[i] += ((const float*)src)[i];
    }
}

// The sum over all ranks of n values, part by part around the ring.
std::vector<char> sum(Comm c, const char* src, size_t n, unsigned type) {
  size_t w = width(type), each = (n + c->ranks - 1) / c->ranks;
  std::vector<std::vector<char>> all(c->ranks, std::vector<char>(n * w));
  std::vector<Transfer> sends, receipts;
  for (int i = 0; i < c->ranks; i++) sends.push_back({src, nullptr, n * w, i}), receipts.push_back({nullptr, all[i].data(), n * w, i});
  move(c, sends, receipts);
  std::vector<char> total(n * w);
  for (int p = 0; p < c->ranks; p++) {
    size_t from = std::min(n, p * each), count = std::min(n, (p + 1) * each) - from;
    std::memcpy(total.data() + from * w, all[(p + 1) % c->ranks].data() + from * w, count * w);
    for (int k = 2; k <= c->ranks; k++) add(total.data() + from * w, all[(p + k) % c->ranks].data() + from * w, wrong("add") && count && k == c->ranks ? count - 1 : count, type);
  }
  return total;
}

using Work = std::function<void()>;

// Enqueues work. It stays in memory, as a graph may run it again.
unsigned enqueue(void* stream, Work w) {
  static auto launch = [] {
    void* lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    return lib ? (int (*)(void*, void (*)(void*), void*))dlsym(lib, "cuLaunchHostFunc") : nullptr;
  }();
  if (!launch) return fail(UNHANDLED_CUDA_ERROR, "no driver is open");
  int r = launch(stream, [](void* data) { (*static_cast<Work*>(data))(); }, new Work(w));
  return r ? fail(UNHANDLED_CUDA_ERROR, "cuLaunchHostFunc returns " + std::to_string(r)) : OK;
}

// What a group gathers before it is enqueued as one.
struct Group {
  int depth = 0;
  Comm comm = nullptr;
  void* stream = nullptr;
  std::vector<Transfer> sends, receipts;
};
thread_local Group group;

unsigned transfer(Comm c, void* stream, Transfer t, bool send) {
  if (t.peer < 0 || t.peer >= c->ranks) return fail(INVALID_ARGUMENT, "no such rank");
  if (!group.depth) return enqueue(stream, [=] { send ? move(c, {t}, {}) : move(c, {}, {t}); });
  group.comm = c, group.stream = stream;
  (send ? group.sends : group.receipts).push_back(t);
  return OK;
}
}  // namespace

API unsigned ncclGetVersion(int* v) { return *v = 23207, OK; }
API const char* ncclGetErrorString(unsigned r) { return r == OK ? "no error" : r == REMOTE_ERROR ? "remote process exited or there was a network error" : r == INVALID_ARGUMENT ? "invalid argument" : "unhandled error"; }
API const char* ncclGetLastError(Comm) { return last.c_str(); }

API unsigned ncclGetUniqueId(Id* id) {
  static int made;
  std::snprintf(id->name, sizeof id->name, "/magvit-nccl-%d-%d", getpid(), made++);
  int fd = shm_open(id->name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Shared))) return fail(SYSTEM_ERROR, "no shared memory");
  close(fd);
  socket(AF_INET, SOCK_STREAM, 0);  // NCCL's own keeps one open, which children would inherit
  return OK;
}

API unsigned ncclCommInitRank(Comm* comm, int ranks, Id id, int rank) {
  if (unsigned r = unsigned(option("FAKE_NCCL_INIT", 0))) return fail(r, "as FAKE_NCCL_INIT wants");
  if (ranks > RANKS) return fail(INVALID_ARGUMENT, "too many ranks");
  int fd = shm_open(id.name, O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return fail(INVALID_ARGUMENT, "no such id");
  void* at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return fail(SYSTEM_ERROR, "mmap");
  Shared* s = static_cast<Shared*>(at);
  s->pid[rank] = getpid(), s->joined++;
  while (s->joined < ranks) usleep(200);
  if (rank == 0) shm_unlink(id.name);
  *comm = new ncclComm{s, rank, ranks};
  return OK;
}
API unsigned ncclCommDestroy(Comm c) { return munmap(c->shared, sizeof(Shared)), delete c, OK; }
API unsigned ncclCommAbort(Comm c) { return c->aborted = true, OK; }  // its work may still run
API unsigned ncclCommGetAsyncError(Comm c, unsigned* e) { return *e = c->error, OK; }

API unsigned ncclAllReduce(const char* src, char* dst, size_t n, unsigned type, unsigned op, Comm c, void* stream) {
  if (op) return fail(INVALID_ARGUMENT, "only sums");
  return enqueue(stream, [=] { auto total = sum(c, src, n, type); std::memcpy(dst, total.data(), total.size()); });
}
API unsigned ncclReduceScatter(const char* src, char* dst, size_t each, unsigned type, unsigned op, Comm c, void* stream) {
  if (op) return fail(INVALID_ARGUMENT, "only sums");
  return enqueue(stream, [=] {
    auto total = sum(c, src, each * c->ranks, type);
    std::memcpy(dst, total.data() + each * width(type) * c->rank, each * width(type));
  });
}
API unsigned ncclAllGather(const char* src, char* dst, size_t each, unsigned type, Comm c, void* stream) {
  size_t n = each * width(type);
  return enqueue(stream, [=] {
    std::string own(src, n);
    if (wrong("gather")) own[n - 1] ^= 1;
    std::vector<Transfer> sends, receipts;
    for (int i = 0; i < c->ranks; i++) sends.push_back({own.data(), nullptr, n, i}), receipts.push_back({nullptr, dst + n * i, n, i});
    move(c, sends, receipts);
  });
}
API unsigned ncclSend(const char* src, size_t n, unsigned type, int to, Comm c, void* s) { return transfer(c, s, {src, nullptr, n * width(type), to}, true); }
API unsigned ncclRecv(char* dst, size_t n, unsigned type, int from, Comm c, void* s) { return transfer(c, s, {nullptr, dst, n * width(type), from}, false); }
API unsigned ncclGroupStart() { return group.depth++, OK; }
API unsigned ncclGroupEnd() {
  if (--group.depth || !group.comm) return OK;
  Group g;
  std::swap(g, group);
  return enqueue(g.stream, [g] { move(g.comm, g.sends, g.receipts); });
}
