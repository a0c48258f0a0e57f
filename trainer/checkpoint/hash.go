package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
)

// Hash is the SHA-256 of a network's weights in hexadecimal: float32, little-endian, in the order of the parameters.
func Hash(arena []float32) string {
	h := sha256.New()
	var block []byte
	for chunk := range slices.Chunk(arena, 1<<14) {
		block = block[:0]
		for _, v := range chunk {
			block = binary.LittleEndian.AppendUint32(block, math.Float32bits(v))
		}
		h.Write(block)
	}
	return hex.EncodeToString(h.Sum(nil))
}
