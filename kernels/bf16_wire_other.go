//go:build !amd64

package kernels

// What follows is never run: wireVectors is false.

func encodeBF16AVX2(*byte, *float32, int) {}
func decodeBF16AVX2(*float32, *byte, int) {}
