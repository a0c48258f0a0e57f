package kernels

import (
	"math"
	"testing"
)

func TestRoundBF16(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct{ x, want float32 }{
		{0, 0}, {1, 1}, {-1.5, -1.5}, {inf, inf}, {-inf, -inf},
		{1 + 1.0/256, 1},                                               // half way between 1 and 1+1/128: the even one
		{1 + 3.0/256, 1 + 1.0/64},                                      // half way: up to the even one
		{1 + 1.0/256 + 1.0/(1<<20), 1 + 1.0/128},                       // a little more than half way
		{math.MaxFloat32, inf},                                         // beyond the greatest bfloat16
		{math.SmallestNonzeroFloat32, 0},                               // subnormal, less than half of the least one
		{math.Float32frombits(0x18000), math.Float32frombits(0x20000)}, // subnormal tie
	} {
		if got := RoundBF16(c.x); got != c.want {
			t.Errorf("RoundBF16(%v) = %v, want %v", c.x, got, c.want)
		}
	}
	for _, b := range []uint32{0x7f800001, 0x7fffffff, 0xff80ffff, 0x7fc00000} {
		if got := RoundBF16(math.Float32frombits(b)); got == got {
			t.Errorf("RoundBF16(NaN %#x) = %v", b, got)
		}
	}
}
