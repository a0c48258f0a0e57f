package kernels

import "math"

// lfqBatch computes the mean over tokens of the probabilities of all codes of a
// book as (1/Tokens)·AᵀB: A [Tokens,high] holds the probabilities of the first
// half of the bits, B [Tokens,low] those of the second half. No array of
// Tokens·2^Bits exists.
type lfqBatch struct {
	LFQLoss
	high, low int // codes of the first and of the second half
	a, b      []float64
	mean      []float64 // [high,low]
}

// negligible probabilities are skipped: with the usual InvTemp of 100 that is
// most of them, and none could change a float32 result.
const negligible = 1e-30

// codesPerTask is how many rows of mean a task computes, tokensPerTask how many
// tokens' probabilities or gradients.
const (
	codesPerTask  = 16
	tokensPerTask = 64
)

func newLFQBatch(s LFQLoss) *lfqBatch {
	first := s.Bits / 2
	f := &lfqBatch{LFQLoss: s, high: 1 << first, low: 1 << (s.Bits - first)}
	f.a = make([]float64, s.Tokens*f.high)
	f.b = make([]float64, s.Tokens*f.low)
	f.mean = make([]float64, f.high*f.low)
	return f
}

// products writes to p [2^len(z)] the probability of every code of the bits z.
func (f *lfqBatch) products(p []float64, z []float32) {
	p[0] = 1
	for i, v := range z {
		u := 4 * float64(f.InvTemp) * float64(v)
		one, zero := sigmoid(u), sigmoid(-u)
		for j := 1<<i - 1; j >= 0; j-- {
			q := p[j]
			if q < negligible {
				q = 0
			}
			p[2*j], p[2*j+1] = q*zero, q*one
		}
	}
}

// stages fills mean for one book; z is argument number arg. row is called for
// each finished row of mean.
func (f *lfqBatch) stages(book, arg int, row func(h int, mean []float64)) []stage {
	first := f.Bits / 2
	return []stage{
		{blocks(f.Tokens, tokensPerTask), func(args [][]float32, t, _ int) {
			from, to := span(t, f.Tokens, tokensPerTask)
			for n := from; n < to; n++ {
				z := args[arg][(n*f.Books+book)*f.Bits:][:f.Bits]
				f.products(f.a[n*f.high:][:f.high], z[:first])
				f.products(f.b[n*f.low:][:f.low], z[first:])
			}
		}},
		{blocks(f.high, codesPerTask), func(_ [][]float32, t, _ int) {
			from, to := span(t, f.high, codesPerTask)
			clear(f.mean[from*f.low : to*f.low])
			for n := range f.Tokens {
				b := f.b[n*f.low:][:f.low]
				for h := from; h < to; h++ {
					a := f.a[n*f.high+h]
					if a < negligible {
						continue
					}
					m := f.mean[h*f.low:][:len(b)]
					for j, v := range b {
						m[j] += a * v
					}
				}
			}
			for h := from; h < to; h++ {
				m := f.mean[h*f.low:][:f.low]
				for j := range m {
					m[j] /= float64(f.Tokens)
				}
				row(h, m)
			}
		}},
	}
}

func (s LFQLoss) cpu(*CPU) []stage {
	f := newLFQBatch(s)
	batch := make([]float64, s.Books*f.high)
	var stages []stage
	for b := range s.Books {
		stages = append(stages, f.stages(b, 1, func(h int, mean []float64) {
			sum := 0.
			for _, p := range mean {
				sum += entropyTerm(p)
			}
			batch[b*f.high+h] = sum
		})...)
	}
	per := rowsPerTask(8 * s.Books * s.Bits) // tokens
	n := blocks(s.Tokens, per)
	perSample, commitment := make([]float64, n), make([]float64, n)
	return append(stages,
		stage{n, func(args [][]float32, t, _ int) {
			from, to := span(t, s.Tokens, per)
			e, c := 0., 0.
			for _, v := range args[1][from*s.Books*s.Bits : to*s.Books*s.Bits] {
				e += binaryEntropy(4 * float64(s.InvTemp) * float64(v))
				d := float64(v - sign(v))
				c += d * d
			}
			perSample[t], commitment[t] = e, c
		}},
		stage{1, func(args [][]float32, _, _ int) {
			args[0][0] = float32(sumOf(perSample) / float64(s.Tokens*s.Books))
			args[0][1] = float32(sumOf(batch) / float64(s.Books))
			args[0][2] = float32(sumOf(commitment) / float64(s.Tokens*s.Books*s.Bits))
		}})
}

func (s LFQLossGrad) cpu(*CPU) []stage {
	f := newLFQBatch(LFQLoss(s))
	sums := make([][]float64, blocks(s.Tokens, tokensPerTask)) // of a task: per high code, then per low code
	for t := range sums {
		sums[t] = make([]float64, f.high+f.low)
	}
	var stages []stage
	for b := range s.Books {
		stages = append(stages, f.stages(b, 2, func(_ int, mean []float64) {
			for j, p := range mean { // mean becomes the slope of the entropy
				if p > 0 {
					mean[j] = -math.Log(p)
				}
			}
		})...)
		stages = append(stages, stage{len(sums), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Tokens, tokensPerTask)
			high, low := sums[t][:f.high], sums[t][f.high:]
			for n := from; n < to; n++ {
				f.weigh(high, low, n)
				at := (n*s.Books + b) * s.Bits
				s.token(args[0][at:][:s.Bits], args[1], args[2][at:][:s.Bits], high, low)
			}
		}})
	}
	return stages
}

// weigh sums probability·slope of token n over the low codes for each high one
// and over the high codes for each low one.
func (f *lfqBatch) weigh(high, low []float64, n int) {
	clear(low)
	b := f.b[n*f.low:][:len(low)]
	for h := range high {
		a := f.a[n*f.high+h]
		if a < negligible {
			high[h] = 0
			continue
		}
		sum := 0.
		for j, slope := range f.mean[h*f.low:][:len(low)] {
			v := a * b[j] * slope
			sum += v
			low[j] += v
		}
		high[h] = sum
	}
}

// divided adds up the terms of the codes in which bit i is 1, and of those in which
// it is 0: high holds a sum for each value of the first bits/2 bits, low for each
// value of the others.
func divided(high, low []float64, i, bits int) (one, zero float64) {
	first := bits / 2
	sums, bit := high, first-1-i
	if i >= first {
		sums, bit = low, bits-1-i
	}
	for code, w := range sums {
		if code>>bit&1 == 1 {
			one += w
		} else {
			zero += w
		}
	}
	return one, zero
}

// token writes the gradient of one token's book.
func (s LFQLossGrad) token(dz, dterms, z []float32, high, low []float64) {
	inv := 4 * float64(s.InvTemp)
	codes := 1 / float64(s.Tokens*s.Books)
	for i, v := range z {
		one, zero := divided(high, low, i, s.Bits)
		u := inv * float64(v)
		p, q := sigmoid(u), sigmoid(-u)
		d := float64(dterms[0])*-u*p*q*inv*codes + float64(dterms[1])*(one*q-zero*p)*inv*codes
		dz[i] = float32(d + float64(dterms[2])*2*float64(v-sign(v))*codes/float64(s.Bits))
	}
}
