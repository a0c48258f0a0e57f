package kernels

import (
	"math"
	"testing"
)

// Exponentials of rows of every length up to five vectors and a rest, and the values after a
// row untouched.
func TestExpRows(t *testing.T) {
	const scale = .5
	for _, isa := range sets(t) {
		v := isaVectors[isa]
		for n := 1; n < 90; n++ {
			x, g, want := make([]float32, n+1), make([]float32, n), make([]float64, n)
			most, sum, dot := math.Inf(-1), 0., 0.
			for i := range g {
				x[i], g[i] = float32((i*37+n)%n)-300, float32(i%7)-3
				most = max(most, float64(x[i]))
			}
			x[n] = 1e9
			for i := range want {
				want[i] = math.Exp((float64(x[i]) - most) * scale)
				sum += want[i]
				dot += want[i] * float64(g[i])
			}
			other := append([]float32(nil), x...)
			gotSum := v.expRow(x[:n], scale)
			sum2, gotDot := v.expRowDot(other[:n], g, scale)
			if math.Abs(float64(gotSum)-sum) > 1e-6*sum || sum2 != gotSum || math.Abs(float64(gotDot)-dot) > 3e-6*sum {
				t.Errorf("%v: %d values: sums %v and %v, want %v; product %v, want %v", isa, n, gotSum, sum2, sum, gotDot, dot)
			}
			for i, w := range want {
				if math.Abs(float64(x[i])-w) > 2e-7*w || other[i] != x[i] {
					t.Fatalf("%v: %d values: %d is %v and %v, want %v", isa, n, i, x[i], other[i], w)
				}
			}
			if x[n] != 1e9 || other[n] != 1e9 {
				t.Errorf("%v: the value after %d values is overwritten", isa, n)
			}
		}
	}
}

// Of causal attention the CPU computes no block of keys that no query of a block sees, and
// rows of logits leave L2 for no length of practice.
func TestAttentionBlocks(t *testing.T) {
	c := cpuWith(t, Generic, 1)
	for _, length := range []int{1, 5, 48, 513, 4096, 1 << 16} {
		for _, matrices := range []int{1, 2} {
			a := newAttender(c, Attention{N: 1, T: length, P: 1, Heads: 1, Dim: 8, Memory: 1, Over: Time, Causal: true}, matrices)
			if a.block < 1 || a.block > min(length, queryBlock) {
				t.Errorf("blocks of %d queries of %d", a.block, length)
			}
			if size := a.block * a.ldKeys * matrices; size > logitsInL2 && a.block > queryBlockStep {
				t.Errorf("length %d: %d logits, more than the %d of L2", length, size, logitsInL2)
			}
			if keys := a.seen(a.block - 1); keys != 1+a.block {
				t.Errorf("the first block of %d queries computes %d keys", a.block, keys)
			}
		}
	}
}
