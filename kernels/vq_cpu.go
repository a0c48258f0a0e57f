package kernels

import "math"

func (s VQIndex) cpu(*CPU) []stage {
	return rowwise(s.Tokens*s.Books, 3*s.Codes*s.Dim, func(args [][]float32, from, to int) {
		idx, z, codebook := args[0], args[1], args[2]
		for n := from; n < to; n++ {
			idx[n] = float32(s.nearest(z[n*s.Dim:][:s.Dim], s.book(codebook, n%s.Books)))
		}
	})
}

// nearest is the definition's, except that a sum ends once it is no longer the least:
// its terms are not negative.
func (s VQIndex) nearest(z, book []float32) (nearest int) {
	const dims = 8 // between looks at the sum
	least := math.Inf(1)
	for j := 0; len(book) >= s.Dim; j++ {
		e := book[:len(z)]
		d := 0.
		for from := 0; from < len(z) && d < least; from += dims {
			for i := from; i < min(from+dims, len(z)); i++ {
				v := float64(z[i]) - float64(e[i])
				d += v * v
			}
		}
		if d < least {
			nearest, least = j, d
		}
		book = book[s.Dim:]
	}
	return nearest
}

func (v VQ) lookUpStages(q, idx, codebook int) []stage {
	return rowwise(v.Tokens*v.Books, v.Dim, func(args [][]float32, from, to int) {
		v.lookUp(args[q][from*v.Dim:to*v.Dim], args[idx][from:to], args[codebook], from)
	})
}

func (s VQValues) cpu(*CPU) []stage   { return s.lookUpStages(0, 1, 2) }
func (s VQQuantize) cpu(*CPU) []stage { return s.lookUpStages(0, 2, 3) }

func (s VQStatistics) cpu(*CPU) []stage {
	sums := make([][]float64, s.Books)
	for b := range sums {
		sums[b] = make([]float64, s.Codes*(s.Dim+1))
	}
	return []stage{{s.Books, func(args [][]float32, b, _ int) { s.statistics(args[0], args[1], args[2], b, sums[b]) }}}
}

func (s VQSamples) cpu(*CPU) []stage {
	return rowwise(s.Books*s.Codes, s.Dim, func(args [][]float32, from, to int) {
		s.samples(args[0][from*s.Dim:to*s.Dim], args[1], args[2][from:to], from)
	})
}

func (s VQUpdate) cpu(*CPU) []stage {
	return []stage{{s.Books, func(args [][]float32, b, _ int) {
		if finite(float64(args[4][0])) {
			s.update(args, b)
		}
	}}}
}
