package kernels

import "math"

// flooredBatch computes entropies with a floor from lfqBatch's half-width factors:
// the surprise of code (h,j) is min(-log a_h - log b_j, maxSurprise), so the inner
// loops have no logarithm, and no array of Tokens·2^Bits exists.
type flooredBatch struct {
	*lfqBatch
	logs [][]float64 // of a worker: -log a, then -log b
	sums [][]float64 // of a worker: slopes per high code, then per low code
}

func newFlooredBatch(c *CPU, s LFQLossFloored) *flooredBatch {
	f := &flooredBatch{lfqBatch: newLFQBatch(LFQLoss{s.LFQ, float32(float64(s.InvTemp) * s.size())})}
	for range c.workers {
		f.logs = append(f.logs, make([]float64, f.high+f.low))
		f.sums = append(f.sums, make([]float64, f.high+f.low))
	}
	return f
}

// token gives the factors of token n and their surprises.
func (f *flooredBatch) token(n, worker int) (a, b, la, lb []float64) {
	a, b = f.a[n*f.high:][:f.high], f.b[n*f.low:][:f.low]
	la, lb = f.logs[worker][:f.high], f.logs[worker][f.high:]
	for i, p := range a {
		la[i] = -math.Log(p) // +Inf for 0: the floor holds
	}
	for i, p := range b {
		lb[i] = -math.Log(p)
	}
	return a, b, la, lb
}

// entropy of token n.
func (f *flooredBatch) entropy(n, worker int) float64 {
	a, b, la, lb := f.token(n, worker)
	sum := 0.
	for h, p := range a {
		if p < negligible {
			continue
		}
		row := 0.
		for j, q := range b {
			row += q * min(la[h]+lb[j], maxSurprise)
		}
		sum += p * row
	}
	return sum
}

// weigh sums probability·slope of token n over the low codes for each high one and
// over the high codes for each low one; mean holds the slopes of the batch entropy.
func (f *flooredBatch) weigh(n, worker int, perSample, batch float64) (high, low []float64) {
	a, b, la, lb := f.token(n, worker)
	high, low = f.sums[worker][:f.high], f.sums[worker][f.high:]
	clear(low)
	for h, p := range a {
		high[h] = 0
		if p < negligible {
			continue
		}
		sum := 0.
		for j, slope := range f.mean[h*f.low:][:len(b)] {
			g := maxSurprise
			if l := la[h] + lb[j]; l <= maxSurprise {
				g = l - 1
			}
			v := p * b[j] * (perSample*g + batch*slope)
			sum += v
			low[j] += v
		}
		high[h] = sum
	}
	return high, low
}

func (s LFQLossFloored) cpu(c *CPU) []stage {
	f := newFlooredBatch(c, s)
	n := blocks(s.Tokens, tokensPerTask)
	batch, perSample, commitment := make([]float64, s.Books*f.high), make([]float64, s.Books*n), make([]float64, s.Books*n)
	size := s.size()
	var stages []stage
	for b := range s.Books {
		stages = append(stages, f.stages(b, 1, func(h int, mean []float64) {
			sum := 0.
			for _, p := range mean {
				sum += p * surprise(p)
			}
			batch[b*f.high+h] = sum
		})...)
		stages = append(stages, stage{n, func(args [][]float32, t, worker int) {
			from, to := span(t, s.Tokens, tokensPerTask)
			e, d2 := 0., 0.
			for k := from; k < to; k++ {
				e += f.entropy(k, worker)
				for _, v := range args[1][(k*s.Books+b)*s.Bits:][:s.Bits] {
					d := float64(v) - size*float64(sign(v))
					d2 += d * d
				}
			}
			perSample[b*n+t], commitment[b*n+t] = e, d2
		}})
	}
	return append(stages, stage{1, func(args [][]float32, _, _ int) {
		args[0][0] = float32(sumOf(perSample) / float64(s.Tokens*s.Books))
		args[0][1] = float32(sumOf(batch) / float64(s.Books))
		args[0][2] = float32(sumOf(commitment) / float64(s.Tokens*s.Books*s.Bits))
	}})
}

func (s LFQLossFlooredGrad) cpu(c *CPU) []stage {
	f := newFlooredBatch(c, LFQLossFloored(s))
	var stages []stage
	for b := range s.Books {
		stages = append(stages, f.stages(b, 2, func(_ int, mean []float64) {
			for j, p := range mean { // mean becomes the slope of the entropy
				mean[j] = surpriseSlope(p)
			}
		})...)
		stages = append(stages, stage{blocks(s.Tokens, tokensPerTask), func(args [][]float32, t, worker int) {
			from, to := span(t, s.Tokens, tokensPerTask)
			dterms := args[1]
			for n := from; n < to; n++ {
				high, low := f.weigh(n, worker, float64(dterms[0]), float64(dterms[1]))
				at := (n*s.Books + b) * s.Bits
				s.token(args[0][at:][:s.Bits], args[2][at:][:s.Bits], high, low, float64(dterms[2]))
			}
		}})
	}
	return stages
}

// token writes the gradient of one token's book: a bit that is 1 with probability
// p = sigmoid(u) changes the probabilities of codes with it by 1-p, of those without
// by -p.
func (s LFQLossFlooredGrad) token(dz, z []float32, high, low []float64, commitment float64) {
	size := LFQLossFloored(s).size()
	inv, codes := 4*float64(s.InvTemp)*size, 1/float64(s.Tokens*s.Books)
	for i, v := range z {
		one, zero := divided(high, low, i, s.Bits)
		u := inv * float64(v)
		d := float64(v) - size*float64(sign(v))
		dz[i] = float32((one*sigmoid(-u)-zero*sigmoid(u))*inv*codes + commitment*2*d*codes/float64(s.Bits))
	}
}
