package kernels

import (
	"math"
	"slices"
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

// Weights and slopes of any number of keys and of columns, with exponents over the whole range whose
// sums are exact; a NaN stays one, and what is around the padded result stays as it is.
func TestWeights(t *testing.T) {
	const dim, most = 5, 2*weightRows + 3
	for _, isa := range sets(t) {
		columns := isaTiles[isa].columns()
		for ld := columns; ld <= 3*columns; ld += columns {
			for m := 1; m <= most; m++ {
				padded := ceilDiv(m, weightRows) * weightRows
				value := func(n, seed int) []float32 {
					x := make([]float32, n)
					for i := range x {
						x[i] = float32((i*37+seed)%19-9) / 4
					}
					return x
				}
				k, v, q, dy := value(padded*dim, 1), value(padded*dim, 2), value(dim*ld, 3), value(dim*ld, 4)
				lse, mean := value(ld, 5), value(ld, 6)
				for i := range lse {
					lse[i] = float32(i*53%230) - 140
				}
				lse[ld-1] = float32(math.NaN())
				p, ds := make([]float32, padded*queryBlock+1), make([]float32, padded*queryBlock+1)
				p[padded*queryBlock], ds[padded*queryBlock], p[ld], ds[ld] = 1e9, 1e9, 1e9, 1e9
				isaVectors[isa].weights(p, ds, k, v, q, dy, lse, mean, m, dim, ld)
				if end := padded * queryBlock; p[end] != 1e9 || ds[end] != 1e9 || p[ld] != 1e9 || ds[ld] != 1e9 {
					t.Fatalf("%v: %d rows of %d columns: a value after them is overwritten", isa, m, ld)
				}
				for at := range m * ld {
					j, i := at/ld, at%ld
					at := j*queryBlock + i
					x, slope := float64(lse[i]), float64(mean[i])
					for d := range dim {
						x += float64(k[j*dim+d]) * float64(q[d*ld+i])
						slope += float64(v[j*dim+d]) * float64(dy[d*ld+i])
					}
					if x != x {
						if p[at] == p[at] || ds[at] == ds[at] {
							t.Fatalf("%v: NaN gives %v and %v", isa, p[at], ds[at])
						}
						continue
					}
					want := math.Exp2(max(x, -126))
					if math.Abs(float64(p[at])-want) > 2e-7*want || math.Abs(float64(ds[at])-float64(p[at])*slope) > 1e-7*math.Abs(float64(p[at])*slope)+2e-45 {
						t.Fatalf("%v: %d rows of %d columns: 2^%v of key %d, column %d is %v, its slope %v, want %v and %v", isa, m, ld, x, j, i, p[at], ds[at], want, want*slope)
					}
				}
			}
		}
	}
}

// Sums of one vector of columns by the tiles that read their weights themselves have the bits of
// those that load them first.
func TestQuerySums(t *testing.T) {
	for _, isa := range sets(t) {
		v := isaVectors[isa]
		if v.querySums == nil {
			continue
		}
		const count, ld = 2, 16
		for n := 1; n <= queryBlock; n += 7 {
			m := count * weightRows
			w, x, sums := make([]float32, m*queryBlock), make([]float32, n*ld), make([]float32, m*ld+1)
			for i := range w {
				w[i] = float32(i*37%101) / 7
			}
			for i := range x {
				x[i] = float32(i*53%89)/3 - 11
			}
			for i := range sums {
				sums[i] = float32(i)
			}
			want := append([]float32(nil), sums...)
			isaTiles[isa].multiply(m, ld, n, w, queryBlock, 1, matrix{x, ld}, want, ld, want, ld)
			v.querySums(&sums[0], &w[0], &x[0], count, n)
			if !slices.Equal(sums, want) {
				t.Errorf("%v: %d queries: sums %v, want %v", isa, n, sums, want)
			}
		}
	}
}

// Matrices of every size around whole vectors; what is around the result stays as it is.
func TestTransposed(t *testing.T) {
	for _, isa := range sets(t) {
		for n := range 36 * 36 {
			rows, cols := 1+n/36, 1+n%36
			ldx, ldy := cols+2, rows+2
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
						t.Fatalf("%v: %d rows of %d: value %d of column %d is %v, want %v", isa, rows, cols, i, j, y[j*ldy+i], want)
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
			a.hide(p, 1, j, m, i, a.block, a.block)
			for at, v := range p {
				if r, q := j+at/a.block, i+at%a.block; q < a.length() && (v == 1) != (r >= a.seen(q)) {
					t.Fatalf("query %d sees key %d: hidden %v", q, r, v)
				}
			}
		}
	}
}
