package kernels

import "unsafe"

// hugePage is the size of a large page of memory. Slices of at least
// this size ask for large pages: with pages of four kilobytes, a picture of all its channels,
// or a plane of Winograd's transforms, would take more entries than the CPU's TLB has.
const hugePage = 2 << 20

// alignedFloats returns n zeros aligned to a cache line: a vector of 16 values then
// never straddles two lines.
func alignedFloats(n int) []float32 {
	align := 64
	if 4*n >= hugePage {
		align = hugePage
	}
	s := make([]float32, n+align/4)
	off := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(s))) % uintptr(align)); r != 0 {
		off = (align - r) / 4
	}
	s = s[off : off+n : off+n]
	if align == hugePage {
		askHugePages(s)
	}
	return s
}
