package kernels

import "math"

// surprises computes the entropy of a token with a floor, or its slopes, without
// looking at every code. The surprise of code (h,j) is min(la_h + lb_j, maxSurprise),
// la and lb those of its halves. With lb sorted, the codes of a row h below the floor
// are a prefix: sums over them are prefix sums. So a token
// costs a few operations for each half code.
type surprises struct{ a, b halfCodes }

// halfCodes are the codes of one half of a token's bits, from the most probable one.
type halfCodes struct {
	codes, spare []halfCode
	p            []float64 // of each code by its index
	sum, sumL    []float64 // running sums of p and p·l: of the codes before
	rest         []float64 // of p: of this code and those after; 1-sum would have no digits left
}

type halfCode struct {
	l     float64 // -log p
	index int
}

func newHalfCodes(n int) halfCodes {
	return halfCodes{codes: make([]halfCode, n), spare: make([]halfCode, n), p: make([]float64, n),
		sum: make([]float64, n+1), sumL: make([]float64, n+1), rest: make([]float64, n+1)}
}

func newSurprises(f *codeBatch) *surprises {
	return &surprises{newHalfCodes(f.high), newHalfCodes(f.low)}
}

// bits prepares the halves of a token with bits z.
func (s *surprises) bits(z []float32, scale float64) {
	first := len(z) / 2
	s.a.set(z[:first], scale)
	s.b.set(z[first:], scale)
}

// set makes the codes of the bits z. With one bit more, those with it and those
// without it are the codes before, each in order: they are merged.
func (h *halfCodes) set(z []float32, scale float64) {
	h.codes[0], h.p[0] = halfCode{}, 1
	size := 1
	for i := len(z) - 1; i >= 0; i-- { // the first bit counts most
		u := scale * float64(z[i])
		one, zero := sigmoid(u), sigmoid(-u)
		for j, p := range h.p[:size] {
			h.p[size+j], h.p[j] = p*one, p*zero
		}
		merge(h.spare[:2*size], h.codes[:size], bitSurprise(-u), bitSurprise(u))
		h.codes, h.spare = h.spare, h.codes
		size *= 2
	}
	h.addUp()
}

// addUp makes the running sums of codes that are in order.
func (h *halfCodes) addUp() {
	size := len(h.codes)
	sum, sumL := 0., 0.
	for i, c := range h.codes {
		h.sum[i], h.sumL[i] = sum, sumL
		p := h.p[c.index]
		sum += p
		sumL += p * c.l
	}
	h.sum[size], h.sumL[size] = sum, sumL
	for i := size - 1; i >= 0; i-- {
		h.rest[i] = h.rest[i+1] + h.p[h.codes[i].index]
	}
}

// bitSurprise is -log sigmoid(u), of the rounded probability as the definition has it,
// and finite where that is 0: times the probability it must be 0.
func bitSurprise(u float64) float64 {
	if p := sigmoid(u); p > 0 {
		return -math.Log(p)
	}
	return -u
}

// merge writes the codes of src without a bit more, which adds zero to their
// surprises, and with it, which adds one and len(src) to their indices, in order.
func merge(dst, src []halfCode, zero, one float64) {
	i, j, n := 0, 0, len(src)
	for k := range dst {
		// Without a branch on the order, which is as good as chance.
		a, b := src[min(i, n-1)], src[min(j, n-1)]
		a.l += zero
		b.l += one
		b.index += n
		first := 1
		if b.l < a.l {
			first = 0
		}
		if i == n {
			first = 0
		}
		if j == n {
			first = 1
		}
		dst[k] = [2]halfCode{b, a}[first]
		i += first
		j += 1 - first
	}
}

// entropy of the token.
func (s *surprises) entropy() float64 {
	sum := 0.
	s.each(&s.a, &s.b, func(c halfCode, below, belowL, above float64) {
		sum += s.a.p[c.index] * (c.l*below + belowL + maxSurprise*above)
	})
	return sum
}

// weigh adds scale·probability·slope of the token's entropy to the sums per high code
// and per low code.
func (s *surprises) weigh(high, low []float64, scale float64) {
	add := func(sums []float64, h, other *halfCodes) {
		s.each(h, other, func(c halfCode, below, belowL, above float64) {
			sums[c.index] += scale * h.p[c.index] * ((c.l-1)*below + belowL + maxSurprise*above)
		})
	}
	add(high, &s.a, &s.b)
	add(low, &s.b, &s.a)
}

// each calls do for every code of h, with the sums of p and of p·l of the codes of
// other that make no surprise above the floor with it, and the sum of p of the rest.
func (s *surprises) each(h, other *halfCodes, do func(c halfCode, below, belowL, above float64)) {
	n := len(other.codes)
	for _, c := range h.codes {
		for n > 0 && c.l+other.codes[n-1].l > maxSurprise {
			n--
		}
		do(c, other.sum[n], other.sumL[n], other.rest[n])
	}
}

// flooredBatch is the mean over tokens for LFQLossFloored, and surprises of each worker.
func flooredBatch(c *CPU, s LFQLossFloored) (*lfqBatch, []*surprises) {
	f := newLFQBatch(c, LFQLoss{LFQ: s.LFQ, InvTemp: float32(float64(s.InvTemp) * s.size())})
	var each []*surprises
	for range c.workers {
		each = append(each, newSurprises(f.codeBatch))
	}
	return f, each
}

func (s LFQLossFloored) cpu(c *CPU) []stage {
	f, each := flooredBatch(c, s)
	size := s.size()
	return flooredLoss(f.codeBatch, s.Books, s.Bits, func(z []float32, worker int, squares float64) (entropy, sum float64) {
		each[worker].bits(z, 4*float64(f.InvTemp))
		for _, v := range z {
			d := float64(v) - size*float64(sign(v))
			squares += d * d
		}
		return each[worker].entropy(), squares
	})
}

// flooredLoss are the stages of a loss with surprises of at most maxSurprise, whose terms are
// the entropies of each token and of the mean over tokens, which f makes, and the
// commitment. token returns the entropy of a book of one token, with the values z, and
// squares plus the squares of its quantization error.
func flooredLoss(f *codeBatch, books, dims int, token func(z []float32, worker int, squares float64) (entropy, sum float64)) []stage {
	tokens, n := f.tokens, ceilDiv(f.tokens, tokensPerTask)
	batch, perSample, commitment := make([]float64, books*f.high), make([]float64, books*n), make([]float64, books*n)
	var stages []stage
	for b := range books {
		stages = append(stages, f.stages(b, 1, func(_ [][]float32, h int, mean []float32) {
			sum := 0.
			for _, p := range mean {
				sum += float64(p) * surprise(float64(p))
			}
			batch[b*f.high+h] = sum
		})...)
		stages = append(stages, stage{n, func(args [][]float32, t, worker int) {
			from, to := span(t, tokens, tokensPerTask)
			sum, squares := 0., 0.
			for k := from; k < to; k++ {
				var e float64
				e, squares = token(args[1][(k*books+b)*dims:][:dims], worker, squares)
				sum += e
			}
			perSample[b*n+t], commitment[b*n+t] = sum, squares
		}})
	}
	return append(stages, stage{1, func(args [][]float32, _, _ int) {
		args[0][0] = float32(sumOf(perSample) / float64(tokens*books))
		args[0][1] = float32(sumOf(batch) / float64(books))
		args[0][2] = float32(sumOf(commitment) / float64(tokens*books*dims))
	}})
}

func (s LFQLossFlooredGrad) cpu(c *CPU) []stage {
	f, each := flooredBatch(c, LFQLossFloored(s))
	g := newCodeSlopes(c, f.codeBatch)
	var stages []stage
	for b := range s.Books {
		stages = append(stages, g.stages(b, surpriseSlope, func(args [][]float32, n, worker int, high, low []float64) {
			dterms, at := args[1], (n*s.Books+b)*s.Bits
			z := args[2][at:][:s.Bits]
			for i := range high {
				high[i] *= float64(dterms[1])
			}
			for i := range low {
				low[i] *= float64(dterms[1])
			}
			each[worker].bits(z, 4*float64(f.InvTemp))
			each[worker].weigh(high, low, float64(dterms[0]))
			s.token(args[0][at:][:s.Bits], z, high, low, float64(dterms[2]))
		})...)
	}
	return stages
}

// token writes the gradient of one token's book: a bit that is 1 with probability
// p = sigmoid(u) changes the probabilities of codes with it by 1-p, of those without
// by -p.
func (s LFQLossFlooredGrad) token(dz, z []float32, high, low []float64, commitment float64) {
	size := LFQLossFloored(s).size()
	inv, codes := 4*float64(s.InvTemp)*size, 1/float64(s.Tokens*s.Books)
	first := s.Bits / 2
	write := func(i int, one, zero float64) {
		v := z[i]
		u := inv * float64(v)
		d := float64(v) - size*float64(sign(v))
		dz[i] = float32((one*sigmoid(-u)-zero*sigmoid(u))*inv*codes + commitment*2*d*codes/float64(s.Bits))
	}
	divided(high, write)
	divided(low, func(i int, one, zero float64) { write(first+i, one, zero) })
}
