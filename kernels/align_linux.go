package kernels

import (
	"syscall"
	"unsafe"
)

// askHugePages asks for large pages, as far as values fill them. Refusal changes speed
// alone.
func askHugePages(s []float32) {
	const advice = 14 // MADV_HUGEPAGE
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*4/hugePage*hugePage)
	_ = syscall.Madvise(bytes, advice)
}
