package kernels

import (
	"cmp"
	"math"
	"slices"
)

// fsqBatch is a codeBatch of an FSQ: the first channels make the fast half of a code.
type fsqBatch struct {
	FSQLoss
	*codeBatch
	fast   int           // channels of the fast half
	levels [][][]float64 // of a worker and channel: probabilities
	each   []*surprises  // of a worker
}

func newFSQBatch(c *CPU, s FSQLoss) *fsqBatch {
	f := &fsqBatch{FSQLoss: s, fast: s.Dims / 2}
	half := func(from, to int) int {
		n := 1
		for _, l := range s.Levels[from:to] {
			n *= l
		}
		return n
	}
	f.codeBatch = newCodeBatch(c, s.Tokens, half(f.fast, s.Dims), half(0, f.fast))
	for range c.workers {
		p := make([][]float64, s.Dims)
		for i := range p {
			p[i] = make([]float64, s.Levels[i])
		}
		f.levels, f.each = append(f.levels, p), append(f.each, newSurprises(f.codeBatch))
	}
	f.factors = func(z []float32, book, n, worker int, a, b []float32) {
		f.token(z[(n*s.Books+book)*s.Dims:][:s.Dims], worker)
		for half, dst := range map[*halfCodes][]float32{&f.each[worker].a: a, &f.each[worker].b: b} {
			for i, p := range half.p {
				dst[i] = 0
				if p >= negligible {
					dst[i] = float32(p)
				}
			}
		}
	}
	return f
}

// token computes a token's probabilities: of the levels of each channel, and of the codes
// of both halves.
func (f *fsqBatch) token(z []float32, worker int) {
	p := f.levels[worker]
	for i, v := range z {
		f.softmax(p[i], i, v)
	}
	multiply(f.each[worker].a.p, p[f.fast:])
	multiply(f.each[worker].b.p, p[:f.fast])
}

// multiply writes the probability of each code of channels with the levels' probabilities
// p, the first channel varying fastest.
func multiply(codes []float64, p [][]float64) {
	codes[0] = 1
	size := 1
	for _, levels := range p {
		for k := len(levels) - 1; k >= 0; k-- {
			for j, v := range codes[:size] {
				codes[k*size+j] = v * levels[k]
			}
		}
		size *= len(levels)
	}
}

// sort brings the codes of the halves in order of their surprise.
func (s *surprises) sort() {
	for _, h := range []*halfCodes{&s.a, &s.b} {
		for i, p := range h.p {
			l := math.MaxFloat32 // times the probability it must be 0
			if p > 0 {
				l = -math.Log(p)
			}
			h.codes[i] = halfCode{l, i}
		}
		slices.SortFunc(h.codes, func(a, b halfCode) int { return cmp.Or(cmp.Compare(a.l, b.l), a.index-b.index) })
		h.addUp()
	}
}

func (s FSQLoss) cpu(c *CPU) []stage {
	f := newFSQBatch(c, s)
	cs := s.channels()
	return flooredLoss(f.codeBatch, s.Books, s.Dims, func(z []float32, worker int, squares float64) (entropy, sum float64) {
		f.token(z, worker)
		f.each[worker].sort()
		for i, v := range z {
			d := float64(v) - s.value(cs, i, v)
			squares += d * d
		}
		return f.each[worker].entropy(), squares
	})
}

func (s FSQLossGrad) cpu(c *CPU) []stage {
	f := newFSQBatch(c, FSQLoss(s))
	g := newCodeSlopes(c, f.codeBatch)
	cs := s.channels()
	var stages []stage
	for b := range s.Books {
		stages = append(stages, g.stages(b, surpriseSlope, func(args [][]float32, n, worker int, high, low []float64) {
			dterms, at := args[1], (n*s.Books+b)*s.Dims
			z := args[2][at:][:s.Dims]
			for _, sums := range [][]float64{high, low} {
				for i := range sums {
					sums[i] *= float64(dterms[1])
				}
			}
			f.token(z, worker)
			f.each[worker].sort()
			f.each[worker].weigh(high, low, float64(dterms[0]))
			for i, v := range z {
				sums, first := low, 0
				if i >= f.fast {
					sums, first = high, f.fast
				}
				d := s.along(sums, first, i, s.expected(f.levels[worker][i], i)) / float64(s.Tokens*s.Books)
				commitment := float64(dterms[2]) * 2 * (float64(v) - s.value(cs, i, v)) / float64(s.Tokens*s.Books*s.Dims)
				args[0][at+i] = float32(2*float64(s.InvTemp)*d + commitment)
			}
		})...)
	}
	return stages
}

// along is the sum over the codes of a half, whose first channel is given, of the sums
// times how far the value of channel i is from its mean.
func (f FSQ) along(sums []float64, first, i int, mean float64) (d float64) {
	stride := 1
	for _, l := range f.Levels[first:i] {
		stride *= l
	}
	for code, v := range sums {
		d += v * (f.levelValue(i, code/stride%f.Levels[i]) - mean)
	}
	return d
}
