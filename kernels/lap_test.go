package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The values beyond the reach of a border, and the outer halves of the first and last block, are copied.
func TestLapLiterals(t *testing.T) {
	pairs := kernels.Lap{N: 1, T: 6, Inner: 1, Size: 3, Reach: 1}
	back := pairs
	back.Transposed = true
	checkLiterals(t,
		literal{pairs, [][]float32{{1, 2, 3, 4, 5, 6}, {1, 10, 0, 1}}, []float32{1, 2, 43, 4, 5, 6}},
		literal{back, [][]float32{{1, 2, 3, 4, 5, 6}, {1, 10, 0, 1}}, []float32{1, 2, 3, 34, 5, 6}},
		literal{kernels.Lap{N: 2, T: 4, Inner: 2, Size: 2, Reach: 1}, [][]float32{{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 1, 0}},
			[]float32{0, 1, 4, 5, 2, 3, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7}},
		literal{kernels.Lap{N: 1, T: 2, Inner: 1, Size: 2, Reach: 1}, [][]float32{{5, 6}, {7, 7, 7, 7}}, []float32{5, 6}},
	)
}

func TestLapValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Lap{N: 1, T: 9, Inner: 1, Size: 2, Reach: 1}, "T is 9, want a multiple of Size = 2"},
		refusal{kernels.Lap{N: 1, T: 6, Inner: 1, Size: 3, Reach: 2}, "Reach is 2, want 1 to 1"},
		refusal{kernels.Lap{N: 1, T: 6, Inner: 1, Size: 3}, "Reach is 0"},
		refusal{kernels.Lap{T: 6, Inner: 1, Size: 3, Reach: 1}, "N is 0"},
	)
}

// TestLapOfShortRows has the bits of four lines in one call, interleaved, where rows are long enough to be multiplied one by one.
func TestLapOfShortRows(t *testing.T) {
	const lines, inner = 4, 24
	short := kernels.Lap{N: lines, T: 24, Inner: inner, Size: 8, Reach: 4}
	long := kernels.Lap{N: 1, T: 24, Inner: lines * inner, Size: 8, Reach: 4}
	x, mixed, m := make([]float32, 24*lines*inner), make([]float32, 24*lines*inner), make([]float32, 64)
	for i := range m {
		m[i] = float32(i*i%13)/7 - .8
	}
	at := func(n, p, c int) (int, int) { return (n*24+p)*inner + c, (p*lines+n)*inner + c }
	for i := range x {
		_, j := at(i/(24*inner), i/inner%24, i%inner)
		x[i] = float32(i*37%101)/50 - 1
		mixed[j] = x[i]
	}
	be := kernels.NewCPU(1)
	for _, back := range []bool{false, true} {
		short.Transposed, long.Transposed = back, back
		got, want := runOn(t, be, short, x, m), runOn(t, be, long, mixed, m)
		for i := range got {
			_, j := at(i/(24*inner), i/inner%24, i%inner)
			if got[i] != want[j] {
				t.Fatalf("transposed %v: value %d is %v, of long rows %v", back, i, got[i], want[j])
			}
		}
	}
}
