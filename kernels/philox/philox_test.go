package philox

import (
	"math"
	"testing"
)

// Known answers of Random123's kat_vectors for philox4x32-10.
func TestPhiloxKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, [2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.ctr, c.key); got != c.want {
			t.Errorf("Philox(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
	}
}

func TestStreamIsFixedByItsCoordinates(t *testing.T) {
	a, b := New(1, "crop", 2, 3), New(1, "crop", 2, 3)
	for i := range 9 {
		if x, y := a.Uint32(), b.Uint32(); x != y {
			t.Fatalf("word %d: %x and %x from equal coordinates", i, x, y)
		}
	}
	first := New(1, "crop", 2, 3).Uint64()
	for _, s := range []*Stream{New(2, "crop", 2, 3), New(1, "flip", 2, 3), New(1, "crop", 3, 3), New(1, "crop", 2, 4), New(1, "crop", 3, 2)} {
		if s.Uint64() == first {
			t.Error("a stream with other coordinates starts with the same number")
		}
	}
}

func TestMoments(t *testing.T) {
	const n = 200000
	s := New(7, "moments", 0, 0)
	var m, v, u float64
	for range n {
		x := s.Normal()
		m += x / n
		v += x * x / n
		u += s.Float64() / n
	}
	// Five standard errors of each estimate.
	if math.Abs(m) > 5/math.Sqrt(n) || math.Abs(v-1) > 5*math.Sqrt(2./n) || math.Abs(u-.5) > 5*math.Sqrt(1./12/n) {
		t.Errorf("normal: mean %.4f, variance %.4f; uniform: mean %.4f", m, v, u)
	}
	seen := make([]bool, 50)
	for _, i := range s.Perm(50) {
		seen[i] = true
	}
	for i, ok := range seen {
		if !ok {
			t.Errorf("Perm leaves out %d", i)
		}
	}
}
