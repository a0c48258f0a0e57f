//go:build gpu

package gpu

/*
#cgo CFLAGS: -std=gnu11 -Wall
#cgo LDFLAGS: -ldl
#include <cuda.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "lazy.h"
#include "nccl.h"

// An entry of a list as list.go writes it: a launch, or without a function an operation.
typedef struct {
	uint64_t function;
	uint32_t grid[3], block[3], shared, length;
	unsigned char args[];
} record;

// What a list runs on: the stream of kernels; with other ranks a second stream, the events
// between the two, and the communicator.
typedef struct {
	CUstream compute, second;
	CUevent forked, joined;
	ncclComm_t comm;
	int ranks;
} streams;

// Results of NCCL among those of the driver.
enum { NCCL_ERRORS = 100000 };

// Operations, by the number that stands for the grid's first.
enum { FORK = 1, BACK, JOIN, ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, EXCHANGE };

// Enqueues a collective operation on s. Lengths count values of the type that grid[1] chooses.
static CUresult collective(const streams* on, CUstream s, const record* l) {
	const struct { uint64_t dst, src, n; }* a = (const void*)l->args;
	void* dst = (void*)a->dst;
	const char* src = (const char*)a->src;
	unsigned type = l->grid[1] ? NCCL_BFLOAT16 : NCCL_FLOAT32, r = 0;
	size_t size = l->grid[1] ? 2 : 4;
	switch (l->grid[0]) {
	case ALL_REDUCE: r = nccl.ncclAllReduce(src, dst, a->n, type, NCCL_SUM, on->comm, s); break;
	case REDUCE_SCATTER: r = nccl.ncclReduceScatter(src, dst, a->n, type, NCCL_SUM, on->comm, s); break;
	case ALL_GATHER: r = nccl.ncclAllGather(src, dst, a->n, type, on->comm, s); break;
	case EXCHANGE:
		r = nccl.ncclGroupStart();
		for (int i = 0; !r && i < on->ranks; i++) {
			r = nccl.ncclSend(src + size * a->n * i, a->n, type, i, on->comm, s);
			if (!r) r = nccl.ncclRecv((char*)dst + size * a->n * i, a->n, type, i, on->comm, s);
		}
		unsigned ended = nccl.ncclGroupEnd();
		if (!r) r = ended;
	}
	return r ? NCCL_ERRORS + r : CUDA_SUCCESS;
}

// Enqueues an entry without a function. *s is the stream that entries go to.
static CUresult operate(const streams* on, CUstream* s, const record* l) {
	CUresult r = CUDA_SUCCESS;
	switch (l->grid[0]) {
	case FORK:
		r = cuEventRecord(on->forked, *s);
		*s = on->second;
		return r ? r : cuStreamWaitEvent(*s, on->forked, 0);
	case BACK:
		*s = on->compute;
		return r;
	case JOIN:
		r = cuEventRecord(on->joined, on->second);
		return r ? r : cuStreamWaitEvent(on->compute, on->joined, 0);
	}
	return collective(on, *s, l);
}

// A kernel, and where each of its parameters is. The first one's offset is not 0 if it is a
// tensor map: nvcc aligns these to 64 bytes of the constant bank, where parameters begin at 0x210.
typedef struct {
	CUfunction f;
	int params;
	size_t offset[32];
} function;

// Enqueues a list; done counts what was enqueued. With wait it waits after each launch,
// so that an error belongs to the launch that caused it.
static CUresult launch(CUcontext ctx, const streams* on, const char* at, size_t size, int wait, int* done) {
	CUresult r = cuCtxSetCurrent(ctx);
	CUstream s = on->compute;
	const char* end = at + size;
	for (*done = 0; !r && at < end; *done += !r) {
		const record* l = (const record*)at;
		const function* k = (const function*)l->function;
		void* params[32];
		if (k) {
			for (int i = 0; i < k->params; i++) params[i] = (char*)l->args + (k->offset[i] - k->offset[0]);
			r = cuLaunchKernel(k->f, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1], l->block[2], l->shared, s, params, NULL);
		} else {
			r = operate(on, &s, l);
		}
		if (!r && wait) r = cuStreamSynchronize(s);
		at += (sizeof *l + l->length + 7) / 8 * 8;
	}
	return r;
}

// Makes a graph of a list.
static CUresult capture(CUcontext ctx, const streams* on, const char* list, size_t size, CUgraphExec* graph, int* done) {
	*done = 0;
	CUresult r = cuCtxSetCurrent(ctx);
	if (!r) r = cuStreamBeginCapture(on->compute, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
	if (r) return r;
	CUgraph g = NULL;
	r = launch(ctx, on, list, size, 0, done);
	CUresult ended = cuStreamEndCapture(on->compute, &g);
	if (!r) r = ended;
	if (!r) r = cuGraphInstantiateWithFlags(graph, g, 0);
	if (g) cuGraphDestroy(g);
	return r;
}

static CUresult replay(CUcontext ctx, CUgraphExec graph, CUstream s) {
	CUresult r = cuCtxSetCurrent(ctx);
	return r ? r : cuGraphLaunch(graph, s);
}

// Of CUDA 12.4; older headers lack it.
CUresult cuFuncGetParamInfo(CUfunction, size_t, size_t*, size_t*);

// Finds a kernel and allows it all the shared memory that a block may have. *k is not freed.
static CUresult find(CUcontext ctx, CUmodule m, const char* name, int shared, function** k) {
	int fixed = 0;
	CUfunction f = NULL;
	CUresult r = cuCtxSetCurrent(ctx);
	if (!r) r = cuModuleGetFunction(&f, m, name);
	if (!r) r = cuFuncGetAttribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, f);
	if (!r) r = cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared - fixed);
	if (r) return r;
	function found = {f};
	size_t size;
	while (found.params < 32 && !(r = cuFuncGetParamInfo(f, found.params, &found.offset[found.params], &size))) found.params++;
	if (r != CUDA_ERROR_INVALID_VALUE) return r ? r : CUDA_ERROR_INVALID_SOURCE; // after the last parameter
	if (!(*k = malloc(sizeof found))) return CUDA_ERROR_OUT_OF_MEMORY;
	**k = found;
	return CUDA_SUCCESS;
}

static CUresult query(CUcontext ctx, CUstream s) {
	CUresult r = cuCtxSetCurrent(ctx);
	return r ? r : cuStreamQuery(s);
}

static CUresult load(CUcontext ctx, const void* image, CUmodule* m) {
	CUresult r = cuCtxSetCurrent(ctx);
	return r ? r : cuModuleLoadData(m, image);
}

static CUresult pinned(CUcontext ctx, size_t size, void** p) {
	CUresult r = cuCtxSetCurrent(ctx);
	return r ? r : cuMemHostAlloc(p, size, 0);
}

// Fails without a current context, though it only writes to host memory.
static CUresult describe(CUcontext ctx, void* out, int bf16, int swizzle, unsigned rank, uint64_t address,
		const cuuint64_t* dims, const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* steps) {
	CUtensorMap m; // at a multiple of 64 bytes, as the driver wants
	CUresult r = cuCtxSetCurrent(ctx);
	if (!r) r = cuTensorMapEncodeTiled(&m, bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32, rank,
		(void*)address, dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, (CUtensorMapSwizzle)swizzle,
		CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
	memcpy(out, &m, sizeof m);
	return r;
}

static const char* name_of(CUresult r) {
	const char* s = NULL;
	return cuGetErrorName(r, &s) ? NULL : s;
}

static const char* text_of(CUresult r) {
	const char* s = NULL;
	return cuGetErrorString(r, &s) ? NULL : s;
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"magvit/kernels"
)

// calls are those of our calls of the driver that gorgonia.org/cu does not have. Each
// makes the context current on the thread that it happens to be on.
type calls struct {
	ctx    unsafe.Pointer // CUcontext
	stream unsafe.Pointer // CUstream of kernels
	wait   bool           // after each launch
	peers  *peers         // nil: no other ranks
}

// streams is what lists run on.
func (c calls) streams() C.streams {
	s := C.streams{compute: C.CUstream(c.stream)}
	if p := c.peers; p != nil {
		s.second, s.forked, s.joined = C.CUstream(p.second), C.CUevent(p.forked), C.CUevent(p.joined)
		s.comm, s.ranks = C.ncclComm_t(p.comm), C.int(p.Size)
	}
	return s
}

// done reports whether all that was enqueued has run.
func (c calls) done() (bool, error) {
	r := C.query(C.CUcontext(c.ctx), C.CUstream(c.stream))
	if r == C.CUDA_ERROR_NOT_READY {
		return false, nil
	}
	return r == 0, failed(int(r))
}

// openLibrary opens libcuda and starts it.
func openLibrary() error {
	var why *C.char
	switch r := C.lazy_open(&why); {
	case r == C.LAZY_ABSENT:
		return fmt.Errorf("%w: %s", ErrNoDriver, C.GoString(why))
	default:
		return failed(int(r))
	}
}

// failed is the error of a result of the driver, nil of success.
func failed(code int) error {
	if code == 0 {
		return nil
	}
	if code > C.NCCL_ERRORS {
		return ncclFailed(code - C.NCCL_ERRORS)
	}
	e := cudaError{code: code, name: fmt.Sprintf("CUDA error %d", code)}
	if s := C.name_of(C.CUresult(code)); s != nil {
		e.name = C.GoString(s)
	}
	if s := C.text_of(C.CUresult(code)); s != nil {
		e.text = C.GoString(s)
	}
	return e
}

func (c calls) launch(list []byte) (int, error) {
	var done, wait C.int
	if c.wait {
		wait = 1
	}
	on := c.streams()
	r := C.launch(C.CUcontext(c.ctx), &on, (*C.char)(unsafe.Pointer(unsafe.SliceData(list))), C.size_t(len(list)), wait, &done)
	return int(done), failed(int(r))
}

func (c calls) capture(list []byte) (graph unsafe.Pointer, done int, err error) {
	var g C.CUgraphExec
	var n C.int
	on := c.streams()
	r := C.capture(C.CUcontext(c.ctx), &on, (*C.char)(unsafe.Pointer(unsafe.SliceData(list))), C.size_t(len(list)), &g, &n)
	return unsafe.Pointer(g), int(n), failed(int(r))
}

func (c calls) replay(graph unsafe.Pointer) error {
	return failed(int(C.replay(C.CUcontext(c.ctx), C.CUgraphExec(graph), C.CUstream(c.stream))))
}

func (c calls) drop(graph unsafe.Pointer) error {
	return failed(int(C.cuGraphExecDestroy(C.CUgraphExec(graph))))
}

func (c calls) load(image []byte) (module unsafe.Pointer, err error) {
	var m C.CUmodule
	r := C.load(C.CUcontext(c.ctx), unsafe.Pointer(unsafe.SliceData(image)), &m)
	return unsafe.Pointer(m), failed(int(r))
}

func (c calls) unload(module unsafe.Pointer) error {
	return failed(int(C.cuModuleUnload(C.CUmodule(module))))
}

// find looks a kernel up in a module; shared is what a block may have at most, in bytes.
func (c calls) find(module unsafe.Pointer, name string, shared int) (uint64, error) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	var k *C.function
	r := C.find(C.CUcontext(c.ctx), C.CUmodule(module), s, C.int(shared), &k)
	return uint64(uintptr(unsafe.Pointer(k))), failed(int(r))
}

// pinned is host memory that the device copies from by itself, of n values.
func (c calls) pinned(n int) ([]float32, error) {
	var p unsafe.Pointer
	r := C.pinned(C.CUcontext(c.ctx), C.size_t(4*n), &p)
	if r != 0 {
		return nil, failed(int(r))
	}
	return unsafe.Slice((*float32)(p), n), nil
}

func (c calls) tensorMap(address uint64, m kernels.TensorMap) (b [kernels.TensorMapSize]byte, err error) {
	rank := len(m.Dims)
	steps := m.Steps
	if steps == nil {
		steps = []uint32{1, 1, 1, 1, 1}
	}
	if rank < 1 || rank > 5 || len(m.Strides) != rank-1 || len(m.Box) != rank || len(steps) < rank {
		return b, fmt.Errorf("%d sizes, %d strides, %d sides of the box, %d steps: want 1 to 5 axes and a stride less", rank, len(m.Strides), len(m.Box), len(steps))
	}
	strides := append([]uint64{}, m.Strides...)
	strides = append(strides, 0) // one axis has none, but an address is needed
	bf16 := C.int(0)
	if m.BF16 {
		bf16 = 1
	}
	r := C.describe(C.CUcontext(c.ctx), unsafe.Pointer(&b), bf16, C.int(m.Swizzle), C.uint(rank), C.uint64_t(address),
		(*C.cuuint64_t)(unsafe.Pointer(&m.Dims[0])), (*C.cuuint64_t)(unsafe.Pointer(&strides[0])),
		(*C.cuuint32_t)(unsafe.Pointer(&m.Box[0])), (*C.cuuint32_t)(unsafe.Pointer(&steps[0])))
	return b, failed(int(r))
}
