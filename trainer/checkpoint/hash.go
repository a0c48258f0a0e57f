package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"math"
	"slices"
)

// Hash is the SHA-256 of a network's weights in hexadecimal: float32, little-endian, in the order of the arena.
func Hash(arena []float32) string {
	h := newWeightHash()
	h.add(arena)
	return h.String()
}

// weightHash is Hash of values that come in parts.
type weightHash struct {
	sum   hash.Hash
	block []byte
}

func newWeightHash() *weightHash { return &weightHash{sum: sha256.New()} }

func (h *weightHash) add(values []float32) {
	for chunk := range slices.Chunk(values, 1<<14) {
		h.block = h.block[:0]
		for _, v := range chunk {
			h.block = binary.LittleEndian.AppendUint32(h.block, math.Float32bits(v))
		}
		h.sum.Write(h.block)
	}
}

func (h *weightHash) String() string { return hex.EncodeToString(h.sum.Sum(nil)) }
