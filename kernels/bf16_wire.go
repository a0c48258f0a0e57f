package kernels

//go:generate go run ./asm -part wire -out bf16_wire_amd64.s -stubs bf16_wire_amd64.go

import (
	"encoding/binary"
	"math"
	"sync"
)

// wireVectors reports whether conversions of bfloat16 run on AVX2.
var wireVectors = sync.OnceValue(func() bool {
	isa, err := DetectISA()
	return err == nil && isa >= AVX2
})

// EncodeBF16 writes src to dst, two bytes a value, little-endian, rounded as by RoundBF16.
func EncodeBF16(dst []byte, src []float32) {
	dst = dst[:2*len(src)]
	n := 0
	if len(src) >= 16 && wireVectors() {
		n = len(src) &^ 15
		encodeBF16AVX2(&dst[0], &src[0], n)
	}
	for i := n; i < len(src); i++ {
		binary.LittleEndian.PutUint16(dst[2*i:], uint16(math.Float32bits(RoundBF16(src[i]))>>16))
	}
}

// DecodeBF16 reads the values of EncodeBF16.
func DecodeBF16(dst []float32, src []byte) {
	src = src[:2*len(dst)]
	n := 0
	if len(dst) >= 16 && wireVectors() {
		n = len(dst) &^ 15
		decodeBF16AVX2(&dst[0], &src[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}
