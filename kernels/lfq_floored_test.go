package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestLFQFlooredLiterals(t *testing.T) {
	checkLiterals(t,
		// As LFQLoss: no probability is below the floor.
		literal{kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{ln3, 0}}, []float32{.6277412, .6615632, .5048622}},
		literal{kernels.LFQLossFlooredGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{0, 1, 1}, {ln3, 0}}, []float32{.0507224, .9361468}},
		// Codes are +-1/2: one bit is 1 with probability 3/4, the others with 1/2.
		literal{kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 4}, InvTemp: ln3 / 2, Spherical: true}, [][]float32{{1, 0, 0, 0}}, []float32{2.6417767, 2.6417767, .25}},
		literal{kernels.LFQLossFlooredGrad{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 4}, InvTemp: ln3 / 2, Spherical: true}, [][]float32{{0, 0, 1}, {1, 0, 0, 0}}, []float32{.25, .25, .25, .25}},
	)
}

func TestLFQFlooredValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 21}, InvTemp: 1}, "Bits is 21, want at most 20"},
		refusal{kernels.LFQLossFlooredGrad{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 2}}, "InvTemp is 0"},
	)
}

// flooredEntropies are those of LFQLossFloored in float64, with dterms 1, -2.
func flooredEntropies(s kernels.LFQLossFloored, z []float64) float64 {
	codes, sum := 1<<s.Bits, 0.
	size := 1.
	if s.Spherical {
		size = 1 / math.Sqrt(float64(s.Bits))
	}
	entropy := func(p float64) float64 { return -p * math.Log(max(p, 1e-5)) }
	mean := make([]float64, s.Books*codes)
	for n := range s.Tokens * s.Books {
		for j := range codes {
			p := 1.
			for i := range s.Bits {
				u := 4 * float64(s.InvTemp) * size * z[n*s.Bits+i]
				if j>>(s.Bits-1-i)&1 == 0 {
					u = -u
				}
				p /= 1 + math.Exp(-u)
			}
			sum += entropy(p) / float64(s.Tokens)
			mean[n%s.Books*codes+j] += p / float64(s.Tokens)
		}
	}
	for _, p := range mean {
		sum -= 2 * entropy(p)
	}
	return sum / float64(s.Books)
}

// With many probabilities below the floor: a step of 1e-6 in float64 leaves 1e-9,
// or 1e-7 where it crosses the floor's kink; slopes of up to 12 are float32.
func TestLFQFloorReachesTheGradient(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, spherical := range []bool{false, true} {
		s := kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 4, Books: 2, Bits: 8}, InvTemp: 2, Spherical: spherical}
		invTemp := float32(2) // of the same loss without a floor
		if spherical {
			invTemp = float32(2 / math.Sqrt(8))
		}
		z := random("z", s.Tokens*s.Books*s.Bits)
		z64 := make([]float64, len(z))
		for i, v := range z {
			z64[i] = float64(v)
		}
		terms := runOn(t, be, s, z)
		near(t, kernels.Name(s), []float32{terms[0] - 2*terms[1]}, []float32{float32(flooredEntropies(s, z64))})
		plain := define(kernels.LFQLossGrad{LFQ: s.LFQ, InvTemp: invTemp}, []float32{1, -2, 0}, z)
		got := runOn(t, be, kernels.LFQLossFlooredGrad(s), []float32{1, -2, 0}, z)
		floored := 0. // how far the slopes of the loss without a floor are
		for i := range z {
			const h = 1e-6
			z64[i] += h
			up := flooredEntropies(s, z64)
			z64[i] -= 2 * h
			down := flooredEntropies(s, z64)
			z64[i] += h
			want := (up - down) / (2 * h)
			if math.Abs(float64(got[i])-want) > 1e-6 {
				t.Errorf("%s: dz[%d] = %v, differences give %v", kernels.Name(s), i, got[i], want)
			}
			floored = max(floored, math.Abs(float64(plain[i])-want))
		}
		if floored < 1e-5 {
			t.Errorf("%s: the values do not reach the floor: nothing was tested", kernels.Name(s))
		}
	}
}

// Of 2^18 equally likely codes each is below the floor: the entropy is -log 1e-5,
// not log 2^18.
func TestLFQFloorOfALargeCodebook(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	l := kernels.LFQ{Tokens: 2, Books: 1, Bits: 18}
	z := make([]float32, l.Tokens*l.Bits)
	near(t, "terms", runOn(t, be, kernels.LFQLossFloored{LFQ: l, InvTemp: 100}, z), []float32{11.512925, 11.512925, 1})
	near(t, "slopes", runOn(t, be, kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: 100}, []float32{1, 1, 0}, z), make([]float32, len(z)))
}
