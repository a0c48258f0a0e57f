package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// dense is LFQ's entropies by their definition: a softmax over all codes.
func dense(l kernels.LFQ, invTemp float64, z []float64) (perSample, batch float64) {
	codes := 1 << l.Bits
	for b := range l.Books {
		mean := make([]float64, codes)
		for n := range l.Tokens {
			p := make([]float64, codes)
			peak, sum := math.Inf(-1), 0.
			for j := range p {
				for i := range l.Bits {
					p[j] += 2 * invTemp * z[(n*l.Books+b)*l.Bits+i] * float64(2*(j>>(l.Bits-1-i)&1)-1)
				}
				peak = max(peak, p[j])
			}
			for j := range p {
				p[j] = math.Exp(p[j] - peak)
				sum += p[j]
			}
			for j := range p {
				perSample += entropy(p[j]/sum) / float64(l.Tokens*l.Books)
				mean[j] += p[j] / sum / float64(l.Tokens)
			}
		}
		for _, p := range mean {
			batch += entropy(p) / float64(l.Books)
		}
	}
	return perSample, batch
}

func entropy(p float64) float64 {
	if p == 0 {
		return 0
	}
	return -p * math.Log(p)
}

func TestLFQFactorisedEqualsDense(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, bits := range []int{1, 2, 3, 5, 8} {
		for _, c := range []struct{ invTemp, spread float64 }{{.25, 1}, {1, 1}, {100, .01}, {100, 1}} {
			l := kernels.LFQ{Tokens: 9, Books: 2, Bits: bits}
			z := random("z", l.Tokens*l.Books*l.Bits)
			z64 := make([]float64, len(z))
			for i := range z {
				z[i] *= float32(c.spread)
				z64[i] = float64(z[i])
			}
			s := kernels.LFQLoss{LFQ: l, InvTemp: float32(c.invTemp)}
			perSample, batch := dense(l, c.invTemp, z64)
			want := []float32{float32(perSample), float32(batch)}
			near(t, kernels.Name(s)+" definition", define(s, z), want)
			near(t, kernels.Name(s)+" on the cpu", runOn(t, be, s, z), want)

			// Of a function in float64 a step of 1e-6 leaves an error of 1e-9
			// where the slopes are near 1; at InvTemp 100 they are near 400.
			h, tol := 1e-6/c.invTemp, 1e-6*max(1, 4*c.invTemp)
			grad := kernels.LFQLossGrad(s)
			got := runOn(t, be, grad, []float32{.5, -2, 0}, z)
			for i := range z {
				z64[i] += h
				e1, b1 := dense(l, c.invTemp, z64)
				z64[i] -= 2 * h
				e0, b0 := dense(l, c.invTemp, z64)
				z64[i] += h
				if want := (.5*(e1-e0) - 2*(b1-b0)) / (2 * h); math.Abs(float64(got[i])-want) > tol {
					t.Errorf("%s: dz[%d] = %v, differences give %v", kernels.Name(grad), i, got[i], want)
				}
			}
		}
	}
}

// 2^18 codes with no array of tokens times codes: at z = 0 all are equally
// likely, far from 0 only one is.
func TestLFQLossOfALargeCodebook(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	l := kernels.LFQ{Tokens: 4, Books: 1, Bits: 18}
	s := kernels.LFQLoss{LFQ: l, InvTemp: 100}
	z := make([]float32, l.Tokens*l.Bits)
	near(t, "entropies at 0", runOn(t, be, s, z), []float32{12.476649, 12.476649, 1})
	near(t, "slopes at 0", runOn(t, be, kernels.LFQLossGrad(s), []float32{1, 1, 0}, z), make([]float32, len(z)))
	for n := range l.Tokens {
		for i := range l.Bits {
			z[n*l.Bits+i] = 10
		}
		z[n*l.Bits+n/2] = -10 // two codes, two tokens each
	}
	near(t, "entropies far from 0", runOn(t, be, s, z), []float32{0, math.Ln2, 81})
	near(t, "slopes far from 0", runOn(t, be, kernels.LFQLossGrad(s), []float32{1, 1, 0}, z), make([]float32, len(z)))
}

// Every index comes back from its values.
func TestCodesRoundTrip(t *testing.T) {
	lfq := kernels.LFQ{Tokens: 32, Books: 1, Bits: 5}
	fsq := kernels.FSQ{Tokens: 60, Books: 1, Dims: 3, Levels: [8]int{3, 4, 5}}
	for _, c := range []struct {
		codes         int
		values, index kernels.Spec
	}{
		{32, kernels.LFQValues{LFQ: lfq}, kernels.LFQIndex{LFQ: lfq}},
		{fsq.Codes(), kernels.FSQValues{FSQ: fsq}, kernels.FSQIndex{FSQ: fsq}},
	} {
		idx := make([]float32, c.codes)
		for i := range idx {
			idx[i] = float32(i)
		}
		q := define(c.values, idx)
		if c.codes == fsq.Codes() { // undo tanh: FSQIndex takes what is not yet bounded
			for i := range q {
				l := fsq.Levels[i%3]
				r, o := float64(l-1)*1.001/2, float64(1-l%2)/2
				q[i] = float32(math.Atanh((float64(q[i])*float64(l/2)+o)/r) - math.Atanh(o/r))
			}
		}
		near(t, kernels.Name(c.index), define(c.index, q), idx)
	}
}

// The smallest cases, worked out by hand.
func TestLFQLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.LFQSign{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 3}}, [][]float32{{.5, -1, 0, -2, 3, 1}}, []float32{1, -1, -1, -1, 1, 1}},
		literal{kernels.LFQIndex{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 3}}, [][]float32{{.5, -1, 0, -2, 3, 1}}, []float32{4, 3}},
		literal{kernels.LFQValues{LFQ: kernels.LFQ{Tokens: 1, Books: 2, Bits: 3}}, [][]float32{{4, 3}}, []float32{1, -1, -1, -1, 1, 1}},
		// 4·InvTemp = 1: probabilities 3/4 and 1/2, their mean 5/8.
		literal{kernels.LFQLoss{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{ln3, 0}}, []float32{.6277412, .6615632, .5048622}},
		literal{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{1, 0, 0}, {ln3, 0}}, []float32{-.1029949, 0}},
		literal{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{0, 1, 0}, {ln3, 0}}, []float32{-.0478899, -.0638532}},
		literal{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{0, 0, 1}, {ln3, 0}}, []float32{.0986123, 1}},
	)
}

func TestLFQValidate(t *testing.T) {
	large := kernels.LFQ{Tokens: 1, Books: 1, Bits: 21}
	checkRefusals(t,
		refusal{kernels.LFQSign{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 25}}, "Bits is 25, want at most 24"},
		refusal{kernels.LFQIndex{LFQ: kernels.LFQ{Books: 1, Bits: 2}}, "Tokens is 0"},
		refusal{kernels.LFQValues{LFQ: kernels.LFQ{Tokens: 1, Bits: 2}}, "Books is 0"},
		refusal{kernels.LFQLoss{LFQ: large, InvTemp: 1}, "Bits is 21, want at most 20"},
		refusal{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 2}, InvTemp: float32(math.NaN())}, "InvTemp is NaN"},
	)
}
