package kernels

import "unsafe"

// alignedFloats returns n zeros whose first lies on a cache line: a vector of 16
// values then never straddles two lines.
func alignedFloats(n int) []float32 {
	const line = 64
	s := make([]float32, n+line/4)
	off := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(s))) % line); r != 0 {
		off = (line - r) / 4
	}
	return s[off : off+n : off+n]
}
