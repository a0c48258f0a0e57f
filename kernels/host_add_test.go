package kernels

import (
	"math/rand/v2"
	"testing"
)

// Sums on the host are those of Go's +, of any length, and no other value changes.
func TestAddTo(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	for n := range 70 {
		sums, values, want := make([]float32, n+1), make([]float32, n), make([]float32, n+1)
		for i := range values {
			sums[i], values[i] = r.Float32(), r.Float32()
			want[i] = sums[i] + values[i]
		}
		sums[n], want[n] = 7, 7
		AddTo(sums[:n], values)
		for i := range want {
			if sums[i] != want[i] {
				t.Fatalf("sum %d of %d is %v, want %v", i, n, sums[i], want[i])
			}
		}
	}
}
