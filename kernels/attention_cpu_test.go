package kernels

import (
	"math"
	"testing"
)

// Of columns of any number of rows, in two steps: the exponentials relative to the greatest value,
// their sum, and the factor for those of the first step.
func TestSoftmaxColumns(t *testing.T) {
	const c = 32
	for _, isa := range sets(t) {
		v := isaVectors[isa]
		for rows := 1; rows < 11; rows++ {
			most, total, factor, before := make([]float32, c), make([]float32, c), make([]float32, c), make([]float32, c)
			for i := range most {
				most[i] = lowest
			}
			want, peak := make([]float64, c), make([]float64, c)
			for step := range 2 {
				x := make([]float32, rows*c+1)
				for i := range x {
					x[i] = float32((i*37+rows+step*11)%101)*1.7 - 300 + 20*float32(step)
				}
				x[rows*c] = 1e9
				given := append([]float32(nil), x...)
				copy(before, most)
				v.softmaxColumns(x[:rows*c], most, total, factor, rows, c)
				for i := range c {
					high := float64(before[i])
					for r := range rows {
						high = max(high, float64(given[r*c+i]))
					}
					want[i] *= math.Exp2(peak[i] - high)
					peak[i] = high
					for r := range rows {
						e := math.Exp2(float64(given[r*c+i]) - high)
						want[i] += e
						if got := float64(x[r*c+i]); math.Abs(got-e) > 3e-7*e+2e-38 {
							t.Fatalf("%v: %d rows: 2^(%v-%v) is %v, want %v", isa, rows, given[r*c+i], high, got, e)
						}
					}
					if f := math.Exp2(float64(before[i]) - high); float64(most[i]) != high || math.Abs(float64(factor[i])-f) > 3e-7*f+2e-38 || math.Abs(float64(total[i])-want[i]) > 1e-6*want[i] {
						t.Errorf("%v: %d rows, step %d, column %d: greatest %v, factor %v, sum %v, want %v, %v, %v", isa, rows, step, i, most[i], factor[i], total[i], high, f, want[i])
					}
				}
				if x[rows*c] != 1e9 {
					t.Errorf("%v: the value after %d rows is overwritten", isa, rows)
				}
			}
		}
	}
}

// Powers of two over the whole range of exponents; a NaN stays one.
func TestExpSlopes(t *testing.T) {
	for _, isa := range sets(t) {
		var p, ds, exponents []float32
		for x := float32(-140); x < 126; x += .0371 {
			p, ds, exponents = append(p, x), append(ds, x-3), append(exponents, x)
		}
		p, ds, exponents = append(p, float32(math.NaN())), append(ds, 1), append(exponents, 0)
		isaVectors[isa].expSlopes(p, ds)
		last := len(p) - 1
		if p[last] == p[last] || ds[last] == ds[last] {
			t.Errorf("%v: NaN gives %v and %v", isa, p[last], ds[last])
		}
		for i, x := range exponents[:last] {
			want := math.Exp2(max(float64(x), -126))
			if math.Abs(float64(p[i])-want) > 2e-7*want || ds[i] != p[i]*(x-3) {
				t.Fatalf("%v: 2^%v is %v and %v, want %v and %v", isa, x, p[i], ds[i], want, want*float64(x-3))
			}
		}
	}
}

// Matrices of every height around whole vectors; what is around the result stays as it is.
func TestTransposed(t *testing.T) {
	for _, isa := range sets(t) {
		for rows := 1; rows < 36; rows++ {
			const cols, ldx = 5, 7
			ldy := rows + 2
			x, y := make([]float32, rows*ldx), make([]float32, cols*ldy)
			for i := range x {
				x[i] = float32(i)
			}
			isaVectors[isa].transposed(y, ldy, x, ldx, rows, cols, 2)
			for j := range cols {
				for i := range ldy {
					want := float32(0)
					if i < rows {
						want = 2 * x[i*ldx+j]
					}
					if y[j*ldy+i] != want {
						t.Fatalf("%v: %d rows: value %d of column %d is %v, want %v", isa, rows, i, j, y[j*ldy+i], want)
					}
				}
			}
		}
	}
}

// Of causal attention the CPU computes no block of keys that no query of a block sees, and what it
// computes without need is hidden.
func TestAttentionHidesLaterKeys(t *testing.T) {
	a := newAttender(cpuWith(t, Generic, 1), Attention{N: 1, T: 150, P: 1, Heads: 1, Dim: 8, Memory: 3, Over: Time, Causal: true})
	for i := 0; i < a.length(); i += a.block {
		n := min(a.block, a.length()-i)
		for j := 0; j < a.seen(i+n-1); j += keyBlock {
			m := min(keyBlock, a.seen(i+n-1)-j)
			p := make([]float32, m*a.block)
			a.hide(p, 1, j, m, i, a.block)
			for at, v := range p {
				if r, q := j+at/a.block, i+at%a.block; q < a.length() && (v == 1) != (r >= a.seen(q)) {
					t.Fatalf("query %d sees key %d: hidden %v", q, r, v)
				}
			}
		}
	}
}
