//go:build emul && linux

// Package emul turns the .cu files into functions of the host: the sources that nvcc
// compiles for a GPU, compiled as C++, run on an emulated device.
//
// What it shows: wrong indices, missing barriers and bounds, collectives that not all
// lanes reach, unset shared memory. What it cannot: speed, bank conflicts, and races
// whose outcome does not depend on the order of threads between two barriers.
package emul

/*
#cgo CXXFLAGS: -std=c++17 -O2 -fvisibility=hidden -Wall -Wno-unknown-pragmas -Wno-psabi
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int emul_find(const char*);
const char* emul_launch(int, const unsigned*, const unsigned*, unsigned, const void*, unsigned, int);

typedef int (*find_fn)(const char*);
typedef const char* (*launch_fn)(int, const unsigned*, const unsigned*, unsigned, const void*, unsigned, int);

typedef struct {
	find_fn find;
	launch_fn launch;
} library;

static library built_in(void) { return (library){emul_find, emul_launch}; }

// Only the library's own functions: it has the names of those built in.
static library open_library(const char* path) {
	void* h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!h) return (library){0};
	return (library){(find_fn)dlsym(h, "emul_find"), (launch_fn)dlsym(h, "emul_launch")};
}

static int find(library l, const char* name) { return l.find(name); }
static const char* launch(library l, int kernel, const unsigned* grid, const unsigned* block, unsigned shared, const void* args, unsigned length, int order) {
	return l.launch(kernel, grid, block, shared, args, length, order);
}
static void upload(uint64_t to, const float* from, size_t n) { memcpy((void*)to, from, n * sizeof(float)); }
static void download(float* to, uint64_t from, size_t n) { memcpy(to, (const void*)from, n * sizeof(float)); }
static uint64_t allocate(size_t n) { return (uint64_t)calloc(n ? n : 1, sizeof(float)); }
static void forget(uint64_t p, size_t n) { memset((void*)p, 0xff, n * sizeof(float)); }
static void release(uint64_t p) { free((void*)p); }
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	_ "magvit/kernels" // embeds the .cu files: an edit of one makes this package stale
)

// Order is the order in which warps, and lanes of a warp, run between two barriers.
type Order int

const (
	Forward Order = iota
	Reverse
	Shuffled
)

func (o Order) String() string { return [...]string{"forward", "reverse", "shuffled"}[o] }

// Driver is an emulated device; its methods are what package gpu asks of a driver.
// Launches run at once.
type Driver struct {
	library C.library
	order   Order
	arch    string
	found   []string
}

// Open gives a device with the kernels of this build.
func Open(order Order) *Driver { return &Driver{library: C.built_in(), order: order, arch: "sm_80"} }

// Load gives a device with the kernels of a shared library made by Compile.
func Load(path string, order Order) (*Driver, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	l := C.open_library(name)
	if l.find == nil || l.launch == nil {
		return nil, fmt.Errorf("emul: %s is not a library of kernels: %s", path, C.GoString(C.dlerror()))
	}
	return &Driver{library: l, order: order, arch: "sm_80"}, nil
}

// As is the same device of another architecture, as sm_90; it is of sm_80.
func (d *Driver) As(arch string) *Driver {
	return &Driver{library: d.library, order: d.order, arch: arch}
}

// Architecture is the one that the device runs code for.
func (d *Driver) Architecture() string { return d.arch }

// running: a library has one set of fibers.
var running sync.Mutex

// Name is the name of what runs the kernels.
func (d *Driver) Name() string { return "emulated CUDA device, threads " + d.order.String() }

// Function finds a kernel.
func (d *Driver) Function(name string) (uint64, error) {
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	f := C.find(d.library, s)
	if f < 0 {
		return 0, fmt.Errorf("emul: no kernel %q", name)
	}
	d.found = append(d.found, name)
	return uint64(f), nil
}

// Found lists the kernels that Function was asked for.
func (d *Driver) Found() []string { return d.found }

// Alloc returns the address of n zeros.
func (d *Driver) Alloc(n int) (uint64, error) {
	p := C.allocate(C.size_t(n))
	if p == 0 {
		return 0, fmt.Errorf("emul: no memory for %d values", n)
	}
	return uint64(p), nil
}

// Free gives memory back.
func (d *Driver) Free(p uint64) { C.release(C.uint64_t(p)) }

// Write copies values to the device.
func (d *Driver) Write(dst uint64, src []float32) error {
	C.upload(C.uint64_t(dst), (*C.float)(unsafe.SliceData(src)), C.size_t(len(src)))
	return nil
}

// Read copies values from the device.
func (d *Driver) Read(dst []float32, src uint64) error {
	C.download((*C.float)(unsafe.SliceData(dst)), C.uint64_t(src), C.size_t(len(dst)))
	return nil
}

// Forget fills memory whose values have no meaning any more with NaN.
func (d *Driver) Forget(p uint64, n int) { C.forget(C.uint64_t(p), C.size_t(n)) }

// Launch runs a kernel with shared bytes of dynamic shared memory. args are its
// arguments as they lie in a struct.
func (d *Driver) Launch(function uint64, grid, block [3]uint32, shared int, args []byte) error {
	running.Lock()
	defer running.Unlock()
	why := C.launch(d.library, C.int(function), (*C.uint)(&grid[0]), (*C.uint)(&block[0]), C.uint(shared),
		unsafe.Pointer(unsafe.SliceData(args)), C.uint(len(args)), C.int(d.order))
	if why != nil {
		return errors.New("emul: " + C.GoString(why))
	}
	return nil
}

// Sync waits for what was launched.
func (d *Driver) Sync() error { return nil }

// Close ends the use of the device.
func (d *Driver) Close() error { return nil }
