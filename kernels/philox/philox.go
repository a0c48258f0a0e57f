// Package philox turns (seed, purpose, step, index) into random numbers.
//
// It is the counter-based generator Philox4x32-10 (Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3", SC 2011): a number depends on its
// coordinates only, never on how many were drawn before it. So nothing has to be
// saved to resume a run but its step, and the number of workers changes nothing.
package philox

import (
	"hash/fnv"
	"math"
	"math/bits"
)

// Philox is the block function: four random words from a counter and a key.
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	const m0, m1, w0, w1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
	for range 10 {
		h0, l0 := bits.Mul32(m0, counter[0])
		h1, l1 := bits.Mul32(m1, counter[2])
		counter = [4]uint32{h1 ^ counter[1] ^ key[0], l1, h0 ^ counter[3] ^ key[1], l0}
		key[0] += w0
		key[1] += w1
	}
	return counter
}

// Stream is a sequence of random numbers fixed by its coordinates.
type Stream struct {
	key  [2]uint32
	ctr  [4]uint32
	word [4]uint32
	used int
}

// New is the stream for a purpose ("crop", "init conv_in.weight", ...) of a run
// with this seed, at this step, for this index (of a clip in the batch, say).
func New(seed uint64, purpose string, step, index uint64) *Stream {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	k := seed*0x9E3779B97F4A7C15 ^ h.Sum64()
	return &Stream{
		key:  [2]uint32{uint32(k), uint32(k >> 32)},
		ctr:  [4]uint32{0, uint32(index), uint32(step), uint32(step>>32) ^ uint32(index>>32)<<16},
		used: 4,
	}
}

// Uint32 is uniform over all 32-bit words.
func (s *Stream) Uint32() uint32 {
	if s.used == 4 {
		s.word, s.used = Philox(s.ctr, s.key), 0
		s.ctr[0]++
	}
	s.used++
	return s.word[s.used-1]
}

// Uint64 is uniform over all 64-bit words; with it a Stream is a math/rand/v2 Source.
func (s *Stream) Uint64() uint64 { return uint64(s.Uint32())<<32 | uint64(s.Uint32()) }

// Float64 is uniform in [0,1).
func (s *Stream) Float64() float64 { return float64(s.Uint64()>>11) / (1 << 53) }

// Uniform is uniform in [low,high).
func (s *Stream) Uniform(low, high float64) float64 { return low + (high-low)*s.Float64() }

// IntN is uniform in [0,n), n > 0.
func (s *Stream) IntN(n int) int {
	hi, _ := bits.Mul64(s.Uint64(), uint64(n))
	return int(hi)
}

// Normal has mean 0 and standard deviation 1 (Box–Muller).
func (s *Stream) Normal() float64 {
	u := 1 - s.Float64()
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*s.Float64())
}

// Perm is a random order of 0..n-1.
func (s *Stream) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		j := s.IntN(i + 1)
		p[i], p[j] = p[j], i
	}
	return p
}
