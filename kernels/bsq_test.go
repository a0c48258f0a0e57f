package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// Four bits of codes ±1/2, InvTemp ln 3: logits are 2·ln 3·u, probabilities of u = 1/2 are 3/4, of 0 one half.
// The entropy of 3/4 is 0.5623351, of 5/8 0.6615632, of one half ln 2. A value of 0 counts
// as negative, 1/2 from its code.
func TestBSQLiterals(t *testing.T) {
	s := kernels.BSQLoss{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 4}, InvTemp: ln3}
	u := []float32{.5, .5, .5, .5, 0, .5, .5, .5}
	near(t, "terms", define(s, u), []float32{(7*.5623351 + math.Ln2) / 2, 3*.5623351 + .6615632, .25 / 8})
	const dp = 2 * ln3 * 3 / 16 / 2 // slope of the probability of u = 1/2, over the tokens
	near(t, "slopes of the sample entropy", define(kernels.BSQLossGrad(s), []float32{1, 0, 0}, u)[:2], []float32{-ln3 * dp, -ln3 * dp})
	near(t, "slope of the codebook entropy", define(kernels.BSQLossGrad(s), []float32{0, 1, 0}, u)[1:2], []float32{-ln3 * dp})
	near(t, "slopes of the commitment", define(kernels.BSQLossGrad(s), []float32{0, 0, 8}, u), []float32{0, 0, 0, 0, 1, 0, 0, 0})
}

// A codebook of 2^24 codes: sure bits have no entropy, bits that are equally often either
// value have that of a fair coin each.
func TestBSQLossOfALargeCodebook(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	s := kernels.BSQLoss{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 24}, InvTemp: 1000}
	u := make([]float32, 48)
	for i := range 24 {
		u[i], u[24+i] = float32(1/math.Sqrt(24)), -float32(1/math.Sqrt(24))
	}
	near(t, "terms", runOn(t, be, s, u), []float32{0, 24 * math.Ln2, 0})
	near(t, "slopes", runOn(t, be, kernels.BSQLossGrad(s), []float32{1, 1, 1}, u), make([]float32, 48))
}
