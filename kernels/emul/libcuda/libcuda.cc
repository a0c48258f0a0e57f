// libcuda.so.1 on host memory, for tests. It is compiled after emul.cc, whose kernels it runs.
//
// Streams are lazy: work runs when someone waits for it, so that a missing event between streams
// shows as work that runs too early or too late. With FAKE_CUDA_EAGER all streams but the first
// run work when it is enqueued, and in a graph as early as it may. Copies from pinned memory read it when they run, all others when
// they are enqueued. New memory is NaN. Calls without a current context fail.
//
// The environment injects failures: FAKE_CUDA_DEVICES (their number), FAKE_CUDA_MEMORY
// (bytes), FAKE_CUDA_ARCH (90), FAKE_CUDA_LOAD (what loading code returns), FAKE_CUDA_INIT,
// FAKE_CUDA_LAUNCH=kernel:result (a launch that is refused), FAKE_CUDA_FAULT=kernel:result
// (one that fails when it runs), FAKE_CUDA_HANG=kernel (one that never ends),
// FAKE_CUDA_LOSE=wait or sync (a stream, or the host, that does not wait for events).
// FAKE_CUDA_LOG names a file for what was called, and ran.
#include <unistd.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#define API extern "C" __attribute__((visibility("default"))) int

namespace fake {
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_FOUND = 500, NOT_READY = 600, NOT_SUPPORTED = 801,
  STREAM_CAPTURE_UNJOINED = 904, STREAM_CAPTURE_ISOLATION = 905 };

using Work = std::function<int()>;
struct Stream;
// A graph has a lane for each stream that took part in the capture, its own first. A node is
// work, or else waits for the first nodes of another lane.
struct Node {
  Work work;
  int other;
  size_t upto;
};
struct Graph {
  std::vector<std::vector<Node>> lanes;
  std::vector<Stream*> streams;
};
struct Stream {
  std::deque<Work> todo;
  uint64_t enqueued = 0, done = 0;
  Graph* capture = nullptr;
  int lane = 0;
  bool eager = false;
  std::thread runner;  // of work that is queried
  std::atomic<bool> running{false};
};
struct Event {
  Stream* stream = nullptr;
  uint64_t at = 0;
  Graph* capture = nullptr;  // at counts the nodes of a lane
  int lane = 0;
};
struct Function { int kernel; int shared = 48 << 10; };

static int sticky = OK;  // an error of a kernel invalidates the context
static int context;      // its address is the handle
static thread_local void* current;
static std::map<char*, size_t> device, pinned;
static size_t used;
static std::map<std::string, Function> functions;

static const char* option(const char* name, const char* otherwise) {
  const char* v = std::getenv(name);
  return v ? v : otherwise;
}

static size_t memory() { return std::strtoull(option("FAKE_CUDA_MEMORY", "80000000000"), nullptr, 10); }

static void log(const std::string& what) {
  if (const char* path = std::getenv("FAKE_CUDA_LOG"))
    if (FILE* f = std::fopen(path, "a")) std::fprintf(f, "%s\n", what.c_str()), std::fclose(f);
}

// The result that an option of the form kernel:result asks for.
static int injected(const char* name, const char* kernel) {
  std::string v = option(name, ""), k = std::string(kernel) + ":";
  return v.compare(0, k.size(), k) ? OK : std::atoi(v.c_str() + k.size());
}

static bool lost(const char* what) { return !std::strcmp(option("FAKE_CUDA_LOSE", ""), what); }

// Runs a stream's work up to the given one.
static int run(Stream& s, uint64_t upto) {
  while (s.done < upto) {
    Work w = s.todo.front();
    s.todo.pop_front(), s.done++;
    if (!sticky) sticky = w();
  }
  return sticky;
}

static int add(Stream& s, Work w) {
  if (sticky) return sticky;
  if (s.capture) return s.capture->lanes[s.lane].push_back({w, 0, 0}), OK;
  s.todo.push_back(w), s.enqueued++;
  return s.eager ? run(s, s.enqueued) : OK;
}

// Runs the first nodes of a lane; done counts those of each lane that have run.
static int run(const Graph& g, std::vector<size_t>& done, int lane, size_t upto) {
  while (done[lane] < upto && !sticky) {
    const Node& n = g.lanes[lane][done[lane]++];
    sticky = n.work ? n.work() : run(g, done, n.other, n.upto);
  }
  return sticky;
}

static bool inside(const std::map<char*, size_t>& m, const void* p, size_t n) {
  auto at = m.upper_bound((char*)p);
  if (at == m.begin()) return false;
  --at;
  return (char*)p + n <= at->first + at->second;
}

static int copy(Stream& s, void* to, const void* from, size_t n) {
  return add(s, [=] { return std::memmove(to, from, n), OK; });
}
}  // namespace fake
using namespace fake;

#define NEED if (current != &context) return INVALID_CONTEXT; if (sticky) return sticky

API cuInit(unsigned) { return log("init"), std::atoi(option("FAKE_CUDA_INIT", "0")); }
API cuDriverGetVersion(int* v) { return *v = 13000, OK; }
API cuGetErrorName(int r, const char** s) {
  static const std::map<int, const char*> names = {{1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {100, "CUDA_ERROR_NO_DEVICE"},
    {201, "CUDA_ERROR_INVALID_CONTEXT"}, {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"}, {500, "CUDA_ERROR_NOT_FOUND"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"}, {801, "CUDA_ERROR_NOT_SUPPORTED"}, {999, "CUDA_ERROR_UNKNOWN"}};
  auto at = names.find(r);
  return at == names.end() ? INVALID_VALUE : (*s = at->second, OK);
}
API cuGetErrorString(int r, const char** s) { return r == 2 ? (*s = "out of memory", OK) : INVALID_VALUE; }

API cuDeviceGetCount(int* n) { return *n = std::atoi(option("FAKE_CUDA_DEVICES", "1")), OK; }
API cuDeviceGet(int* d, int i) {
  int n;
  cuDeviceGetCount(&n);
  return i < n ? (*d = i, OK) : n ? 101 : NO_DEVICE;
}
API cuDeviceGetName(char* s, int n, int) { return std::snprintf(s, n, "Emulated H100"), OK; }
API cuDeviceTotalMem_v2(size_t* n, int) { return *n = memory(), OK; }
API cuDeviceGetAttribute(int* v, int a, int) {
  int arch = std::atoi(option("FAKE_CUDA_ARCH", "90"));
  switch (a) {
    case 16: return *v = 132, OK;         // SMs
    case 75: return *v = arch / 10, OK;   // compute capability
    case 76: return *v = arch % 10, OK;
    case 97: return *v = 227 << 10, OK;   // shared memory of a block
  }
  return INVALID_VALUE;
}
API cuDevicePrimaryCtxRetain(void** c, int) { return *c = &context, OK; }
API cuDevicePrimaryCtxRelease_v2(int) { return log("release, " + std::to_string(device.size()) + " buffers left, " + std::to_string(pinned.size()) + " pinned"), OK; }
API cuCtxSetCurrent(void* c) { return current = c, OK; }

API cuModuleLoadData(void** m, const void* image) {
  NEED;
  if (int r = std::atoi(option("FAKE_CUDA_LOAD", "0"))) return r;
  uint32_t magic;
  std::memcpy(&magic, image, 4);
  return magic == 0xba55ed50 ? (*m = &functions, OK) : 200;  // what a fat binary begins with
}
API cuModuleUnload(void*) { return OK; }
API cuModuleGetFunction(void** f, void*, const char* name) {
  NEED;
  int k = emul_find(name);
  if (k < 0) return NOT_FOUND;
  functions[name].kernel = k;
  return *f = &functions[name], OK;
}
API cuFuncGetAttribute(int* v, int, void*) { return *v = 0, OK; }
// A kernel has one parameter here, the whole block of arguments, at the offset that nvcc gives to tensor maps.
API cuFuncGetParamInfo(void* f, size_t i, size_t* offset, size_t* size) {
  return i ? INVALID_VALUE : (*offset = 48, *size = table[static_cast<Function*>(f)->kernel].length, OK);
}
API cuFuncSetAttribute(void* f, int a, int v) { return a == 8 && v <= 227 << 10 ? (static_cast<Function*>(f)->shared = v, OK) : INVALID_VALUE; }

API cuMemAlloc_v2(uint64_t* p, size_t n) {
  NEED;
  if (!n) return INVALID_VALUE;
  if (used + n > memory()) return OUT_OF_MEMORY;
  char* at = static_cast<char*>(std::aligned_alloc(256, (n + 255) / 256 * 256));
  std::memset(at, 0xff, n);
  device[at] = n, used += n, *p = uint64_t(at);
  return OK;
}
API cuMemFree_v2(uint64_t p) {
  NEED;
  auto at = device.find((char*)p);
  if (at == device.end()) return INVALID_VALUE;
  used -= at->second, std::free(at->first), device.erase(at);
  return OK;
}
API cuMemGetInfo_v2(size_t* free, size_t* total) { return *total = memory(), *free = memory() - used, OK; }
API cuMemHostAlloc(void** p, size_t n, unsigned) {
  NEED;
  *p = std::malloc(n), pinned[(char*)*p] = n;
  return OK;
}
API cuMemFreeHost(void* p) { return pinned.erase((char*)p) ? (std::free(p), OK) : INVALID_VALUE; }

API cuStreamCreate(void** s, unsigned) {
  NEED;
  static bool first = true;
  Stream* made = new Stream;
  made->eager = !first && *option("FAKE_CUDA_EAGER", "");
  return first = false, *s = made, OK;
}
API cuStreamDestroy_v2(void* s) {
  Stream* on = static_cast<Stream*>(s);
  if (on->runner.joinable()) on->runner.join();
  return delete on, OK;
}
API cuStreamSynchronize(void* s) { NEED; return run(*static_cast<Stream*>(s), static_cast<Stream*>(s)->enqueued); }
API cuEventCreate(void** e, unsigned) { NEED; return *e = new Event, OK; }
API cuEventDestroy_v2(void* e) { return delete static_cast<Event*>(e), OK; }
API cuStreamQuery(void* s) {
  NEED;
  Stream& on = *static_cast<Stream*>(s);
  if (on.running) return NOT_READY;
  if (on.runner.joinable()) on.runner.join();
  if (on.done == on.enqueued) return sticky;
  on.running = true;
  on.runner = std::thread([&on] { run(on, on.enqueued), on.running = false; });
  return NOT_READY;
}
API cuLaunchHostFunc(void* s, void (*f)(void*), void* data) {
  NEED;
  return add(*static_cast<Stream*>(s), [=] { return f(data), OK; });
}
API cuEventRecord(void* e, void* s) {
  NEED;
  Stream* on = static_cast<Stream*>(s);
  *static_cast<Event*>(e) = on->capture ? Event{on, on->capture->lanes[on->lane].size(), on->capture, on->lane} : Event{on, on->enqueued};
  return OK;
}
API cuEventSynchronize(void* e) {
  NEED;
  Event* v = static_cast<Event*>(e);
  if (lost("sync")) return OK;
  return v->stream ? run(*v->stream, v->at) : OK;
}
API cuStreamWaitEvent(void* s, void* e, unsigned) {
  NEED;
  Event v = *static_cast<Event*>(e);
  Stream* on = static_cast<Stream*>(s);
  if (on->capture && on->capture != v.capture) return STREAM_CAPTURE_ISOLATION;
  if (v.capture && !on->capture) {
    on->capture = v.capture, on->lane = int(v.capture->lanes.size());
    v.capture->lanes.emplace_back(), v.capture->streams.push_back(on);
  }
  if (v.capture) return v.capture->lanes[on->lane].push_back({lost("wait") ? Work([] { return OK; }) : Work(), v.lane, v.at}), OK;
  if (lost("wait")) return OK;
  return add(*static_cast<Stream*>(s), [=] { return v.stream ? run(*v.stream, v.at) : OK; });
}

API cuMemsetD32Async(uint64_t p, unsigned v, size_t n, void* s) {
  NEED;
  if (!inside(device, (void*)p, 4 * n)) return INVALID_VALUE;
  return add(*static_cast<Stream*>(s), [=] { return std::fill_n((uint32_t*)p, n, v), OK; });
}
API cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t n, void* s) {
  NEED;
  if (!inside(device, (void*)to, n)) return INVALID_VALUE;
  log("to device " + std::to_string(n) + (inside(pinned, from, n) ? " pinned" : ""));
  if (inside(pinned, from, n)) return copy(*static_cast<Stream*>(s), (void*)to, from, n);
  std::string kept(static_cast<const char*>(from), n);
  return add(*static_cast<Stream*>(s), [=] { return std::memcpy((void*)to, kept.data(), n), OK; });
}
API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, void* s) {
  NEED;
  if (!inside(device, (void*)to, n) || !inside(device, (void*)from, n)) return INVALID_VALUE;
  return copy(*static_cast<Stream*>(s), (void*)to, (void*)from, n);
}
API cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t n, void* s) {
  NEED;
  if (!inside(device, (void*)from, n)) return INVALID_VALUE;
  return copy(*static_cast<Stream*>(s), to, (void*)from, n);
}

API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void* s, void** params, void** extra) {
  NEED;
  const Function& f = *static_cast<Function*>(function);
  if (!params || extra || shared > unsigned(f.shared)) return INVALID_VALUE;
  const char* name = table[f.kernel].name;
  if (int r = injected("FAKE_CUDA_LAUNCH", name)) return r;
  std::string args(static_cast<const char*>(params[0]), table[f.kernel].length);
  return add(*static_cast<Stream*>(s), [=] {
    if (int r = injected("FAKE_CUDA_FAULT", name)) return r;
    while (!std::strcmp(option("FAKE_CUDA_HANG", ""), name)) pause();
    unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    const char* why = emul_launch(f.kernel, grid, block, shared, args.data(), args.size(), 2);
    log(why ? why : std::string("ran ") + name);
    return why ? 700 : OK;
  });
}

// The checks of cuda.h for tensor maps of bfloat16 with the 128-byte swizzle, which is all that the
// emulated TMA takes: type 9, interleave 0, swizzle 3, zero fill 0.
API cuTensorMapEncodeTiled(TensorMap* m, int type, unsigned rank, void* address, const uint64_t* dims, const uint64_t* strides,
                           const uint32_t* box, const uint32_t* steps, int interleave, int swizzle, int, int outside) {
  NEED;
  if (uint64_t(m) % 64 || type != 9 || rank != 5 || !address || uint64_t(address) % 16 || interleave || swizzle != 3 || outside) return INVALID_VALUE;
  *m = {uint64_t(address), {}, {}, {}, emul::TENSOR_MAP_MAGIC, {}, {}};
  for (unsigned i = 0; i < rank; i++) {
    if (dims[i] < 1 || dims[i] > 1ull << 32 || box[i] < 1 || box[i] > 256 || steps[i] < 1 || steps[i] > 8 || (i == 0 && steps[i] > 1)) return INVALID_VALUE;
    m->dims[i] = dims[i], m->box[i] = box[i], m->element_strides[i] = steps[i];
  }
  for (unsigned i = 0; i + 1 < rank; i++) {
    if (strides[i] % 16 || strides[i] >= 1ull << 40) return INVALID_VALUE;
    m->strides[i] = strides[i];
  }
  return 2 * box[0] % 16 || 2 * box[0] > 128 ? INVALID_VALUE : OK;
}

API cuStreamBeginCapture_v2(void* s, int) {
  NEED;
  Stream* on = static_cast<Stream*>(s);
  on->capture = new Graph{std::vector<std::vector<Node>>(1), {on}}, on->lane = 0;
  return OK;
}
API cuStreamEndCapture(void* s, void** g) {
  Graph* made = static_cast<Stream*>(s)->capture;
  std::vector<size_t> joined(made->lanes.size());
  for (const Node& n : made->lanes[0]) joined[n.other] = std::max(joined[n.other], n.upto);
  for (size_t i = 1; i < made->lanes.size(); i++)
    if (joined[i] != made->lanes[i].size()) return STREAM_CAPTURE_UNJOINED;
  for (Stream* on : made->streams) on->capture = nullptr;
  made->streams.clear();
  return *g = made, OK;
}
API cuGraphInstantiateWithFlags(void** exec, void* g, unsigned long long) {
  size_t n = 0;
  for (const auto& lane : static_cast<Graph*>(g)->lanes)
    for (const Node& node : lane) n += bool(node.work);
  log("graph of " + std::to_string(n));
  return *exec = new std::shared_ptr<Graph>(new Graph(*static_cast<Graph*>(g))), OK;
}
API cuGraphDestroy(void* g) { return delete static_cast<Graph*>(g), OK; }
API cuGraphExecDestroy(void* g) { return log("graph dropped"), delete static_cast<std::shared_ptr<Graph>*>(g), OK; }
API cuGraphLaunch(void* exec, void* s) {
  NEED;
  log("graph launched");
  std::shared_ptr<Graph> g = *static_cast<std::shared_ptr<Graph>*>(exec);
  return add(*static_cast<Stream*>(s), [g] {
    std::vector<size_t> done(g->lanes.size());
    for (size_t i = 1; i < g->lanes.size() && *option("FAKE_CUDA_EAGER", ""); i++)
      if (int r = run(*g, done, int(i), g->lanes[i].size())) return r;
    return run(*g, done, 0, g->lanes[0].size());
  });
}
