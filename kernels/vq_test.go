package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases of vector quantization, worked by hand.
func TestVQLiterals(t *testing.T) {
	v := kernels.VQ{Tokens: 3, Books: 1, Codes: 2, Dim: 2}
	two := kernels.VQ{Tokens: 1, Books: 2, Codes: 2, Dim: 1}
	codebook, z := []float32{0, 0, 3, 4}, []float32{1, 1, 3, 3, 1.5, 2} // the last one is as near to both
	for _, c := range []struct {
		spec kernels.Spec
		in   [][]float32
		want []float32
	}{
		{kernels.VQIndex{VQ: v}, [][]float32{z, codebook}, []float32{0, 1, 0}},
		{kernels.VQIndex{VQ: two}, [][]float32{{1, 1}, {0, 1, 5, 2}}, []float32{1, 1}},
		{kernels.VQValues{VQ: v}, [][]float32{{1, 0, 1}, codebook}, []float32{3, 4, 0, 0, 3, 4}},
		{kernels.VQValues{VQ: two}, [][]float32{{1, 0}, {6, 7, 8, 9}}, []float32{7, 8}},
		{kernels.VQQuantize{VQ: v}, [][]float32{z, {1, 0, 1}, codebook}, []float32{3, 4, 0, 0, 3, 4}},
		{kernels.VQStatistics{VQ: v}, [][]float32{z, {0, 1, 0}}, []float32{2.5, 3, 2, 3, 3, 1}},
		{kernels.VQStatistics{VQ: two}, [][]float32{{6, 7}, {1, 0}}, []float32{0, 0, 6, 1, 7, 1, 0, 0}},
		{kernels.VQSamples{VQ: v}, [][]float32{z, {2, 3}}, []float32{1.5, 2, 0, 0}},
		{kernels.VQSamples{VQ: two}, [][]float32{{6, 7}, {-1, 0, 0, 1}}, []float32{0, 6, 7, 0}},
	} {
		near(t, kernels.Name(c.spec), define(c.spec, c.in...), c.want)
	}
}

// Averages go half of the way to the statistics: sums (2, 2) and (6, 0), numbers 3 and 1,
// 4 in all. Eps 1 smooths the numbers to 4·4/6 and 4·2/6; the mean number is 2, and code 1
// with less than 0.75 of it is dead.
func TestVQUpdateLiteral(t *testing.T) {
	v := kernels.VQ{Tokens: 1, Books: 1, Codes: 2, Dim: 2}
	for _, c := range []struct {
		spec              kernels.VQUpdate
		sample            []float32
		guard             float32
		codebook, average []float32
	}{
		{kernels.VQUpdate{VQ: v, Rate: .5, Eps: 1}, []float32{5, 6}, 1, []float32{.75, .75, 4.5, 0}, []float32{2, 2, 3, 6, 0, 1}},
		{kernels.VQUpdate{VQ: v, Rate: .5, Eps: 1, Dead: .75}, []float32{5, 6}, 1, []float32{.75, .75, 5, 6}, []float32{2, 2, 3, 10, 12, 2}},
		{kernels.VQUpdate{VQ: v, Rate: .5, Eps: 1, Dead: .75}, []float32{0, 0}, 1, []float32{.75, .75, 4.5, 0}, []float32{2, 2, 3, 6, 0, 1}},
		{kernels.VQUpdate{VQ: v, Rate: .5, Eps: 1, Dead: .75, Spherical: true}, []float32{3, 4}, 1, []float32{math.Sqrt2 / 2, math.Sqrt2 / 2, .6, .8}, []float32{2, 2, 3, 1.2, 1.6, 2}},
		{kernels.VQUpdate{VQ: v, Rate: .5, Eps: 1, Dead: .75}, []float32{5, 6}, float32(math.Inf(1)), []float32{7, 7, 7, 7}, []float32{4, 4, 2, 4, 0, 2}},
	} {
		codebook, average := []float32{7, 7, 7, 7}, []float32{4, 4, 2, 4, 0, 2}
		c.spec.Define(codebook, average, append([]float32{9, 9}, c.sample...), []float32{0, 0, 4, 8, 0, 0}, []float32{c.guard})
		near(t, kernels.Name(c.spec)+" codebook", codebook, c.codebook)
		near(t, kernels.Name(c.spec)+" average", average, c.average)
	}
}

func TestVQErrors(t *testing.T) {
	v := kernels.VQ{Tokens: 1, Books: 1, Codes: 2, Dim: 2}
	for want, s := range map[string]kernels.Spec{
		"Codes is 16777217": kernels.VQIndex{VQ: kernels.VQ{Tokens: 1, Books: 1, Codes: 1<<24 + 1, Dim: 1}},
		"Dim is 0":          kernels.VQValues{VQ: kernels.VQ{Tokens: 1, Books: 1, Codes: 2}},
		"Rate is 0":         kernels.VQUpdate{VQ: v, Eps: 1},
		"Eps is 0":          kernels.VQUpdate{VQ: v, Rate: 1},
		"Dead is 2":         kernels.VQUpdate{VQ: v, Rate: 1, Eps: 1, Dead: 2},
	} {
		if err := s.Validate(); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%s: error %v, want %q", kernels.Name(s), err, want)
		}
	}
}
