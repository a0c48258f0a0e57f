package quality

import (
	"math"
	"testing"
)

// Twice the size, and two thirds of it, worked out by hand: centres of pixels are at i + 1/2.
func TestResized(t *testing.T) {
	for _, c := range []struct {
		x    []float32
		to   int
		want []float32
	}{
		{[]float32{0, 4}, 4, []float32{0, 1, 3, 4}},
		{[]float32{0, 4, 8}, 2, []float32{1, 7}},
		{[]float32{5}, 3, []float32{5, 5, 5}},
	} {
		wide, high := resized(c.x, 1, len(c.x), 1, 1, c.to), resized(c.x, len(c.x), 1, 1, c.to, 1)
		for i, want := range c.want {
			if math.Abs(float64(wide[i]-want)) > 1e-6 || wide[i] != high[i] {
				t.Errorf("%v to %d: %v and %v, want %v", c.x, c.to, wide, high, c.want)
				break
			}
		}
	}
}
