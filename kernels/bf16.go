package kernels

import "unsafe"

// Products in bfloat16 reuse the tiles' way through memory: a word, which is a
// float32 otherwise, holds two bfloat16 that are neighbours along the sum.
//
// Why the instruction and not shifts to float32: it makes 32 multiply-adds where a
// float32 one makes 16, and panels take half the cache. It takes subnormal operands
// and sums as zero.

// words is how many words hold n values along the sum.
func (p Precision) words(n int) int {
	if p == BF16 {
		return (n + 1) / 2
	}
	return n
}

// halves is the memory of words as bfloat16.
func halves(words []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(words))), 2*len(words))
}

// packRow is dst = src, rounded.
func packRow(dst []uint16, src []float32) {
	if len(src) > 0 {
		packRowBF16(&dst[:len(src)][0], &src[0], len(src))
	}
}

// packRows is dst[i] = the word of a[i] and b[i], rounded.
func packRows(dst, a, b []float32) {
	if len(a) > 0 {
		packRowsBF16(&halves(dst[:len(a)])[0], &a[0], &b[:len(a)][0], len(a), 1, 0)
	}
}

// packPairs is packRows of n values for count pairs of rows of src: rows 0 and 1, 2
// and 3, ..., which are stride apart.
func packPairs(dst []float32, src []float32, n, count, stride int) {
	if n > 0 && count > 0 {
		_ = src[(2*count-1)*stride+n-1]
		packRowsBF16(&halves(dst[:n*count])[0], &src[0], &src[stride], n, count, 2*stride*4)
	}
}
