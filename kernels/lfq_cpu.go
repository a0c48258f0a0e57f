package kernels

import "math"

// codeBatch computes the mean over tokens of the probabilities of all codes of a
// book as (1/tokens)·AᵀB: A [tokens,high] holds the probabilities of the slow half of a
// code's digits, B [tokens,low] those of the fast half. No array of tokens·codes exists.
// Factors and means are float32, to some 1e-7 relative.
type codeBatch struct {
	*vectors
	tiles     tiles
	tokens    int
	high, low int // codes of the slow and of the fast half
	lda, ldb  int // of rows of a and b: an odd number of cache lines
	a, b      []float32
	mean      []float32 // [high,ldb]
	zeros     []float32
	given     int // number of the argument with the means; 0: they are computed
	// factors writes a token's rows of a and b, given all latents.
	factors func(z []float32, book, token, worker int, a, b []float32)
}

func newCodeBatch(c *CPU, tokens, high, low int) *codeBatch {
	f := &codeBatch{vectors: c.vec(), tiles: isaTiles[c.isa], tokens: tokens, high: high, low: low}
	f.lda, f.ldb = oddLines(f.high), oddLines(f.low)
	f.a, f.b = alignedFloats(tokens*f.lda), alignedFloats(tokens*f.ldb)
	f.mean = alignedFloats(f.high * f.ldb)
	f.zeros = alignedFloats(max(f.lda, f.ldb))
	return f
}

// lfqBatch is that of LFQ: the first half of the bits is the slow one.
type lfqBatch struct {
	LFQLoss
	*codeBatch
	room [][]float64 // of a worker, for products
}

// negligible probabilities count as 0: nothing that a float32 result shows.
const negligible = 1e-30

const (
	codesPerTask  = 24  // rows of mean that a task computes: two tiles of twelve
	tokensPerTask = 64  // whose probabilities or gradients a task computes
	tokensAtOnce  = 256 // of a product: longer sums are sums of such sums
)

func newLFQBatch(c *CPU, s LFQLoss) *lfqBatch {
	first := s.Bits / 2
	f := &lfqBatch{LFQLoss: s, codeBatch: newCodeBatch(c, s.Tokens, 1<<first, 1<<(s.Bits-first))}
	for range c.workers {
		f.room = append(f.room, make([]float64, max(f.high, f.low)))
	}
	f.factors = func(z []float32, book, n, worker int, a, b []float32) {
		z = z[(n*s.Books+book)*s.Bits:][:s.Bits]
		f.products(a, f.room[worker], z[:first])
		f.products(b, f.room[worker], z[first:])
	}
	return f
}

// products writes to p [2^len(z)] the probability of every code of the bits z, rounded
// once; room has as many values.
func (f *lfqBatch) products(p []float32, room []float64, z []float32) {
	room[0] = 1
	size := 1
	for i := len(z) - 1; i >= 0; i-- { // the first bit counts most
		u := 4 * float64(f.InvTemp) * float64(z[i])
		zero, one := sigmoid(-u), sigmoid(u)
		zeros, ones := room[:size], room[size:2*size]
		for j, v := range zeros {
			zeros[j], ones[j] = v*zero, v*one
		}
		size *= 2
	}
	for j, v := range room[:size] {
		p[j] = 0
		if v >= negligible {
			p[j] = float32(v)
		}
	}
}

// stages fills mean for one book; z is argument number arg. row is called for
// each finished row of mean.
func (f *codeBatch) stages(book, arg int, row func(args [][]float32, h int, mean []float32)) []stage {
	return []stage{
		{ceilDiv(f.tokens, tokensPerTask), func(args [][]float32, t, worker int) {
			from, to := span(t, f.tokens, tokensPerTask)
			for n := from; n < to; n++ {
				f.factors(args[arg], book, n, worker, f.a[n*f.lda:][:f.high], f.b[n*f.ldb:][:f.low])
			}
		}},
		{ceilDiv(f.high, codesPerTask), func(args [][]float32, t, _ int) {
			from, to := span(t, f.high, codesPerTask)
			if f.given > 0 {
				for h := from; h < to; h++ {
					m := f.mean[h*f.ldb:][:f.low]
					copy(m, args[f.given][(book*f.high+h)*f.low:])
					row(args, h, m)
				}
				return
			}
			mean, add, ld := f.mean[from*f.ldb:to*f.ldb], f.zeros, 0
			for n := 0; n < f.tokens; n += tokensAtOnce {
				f.tiles.multiply(to-from, f.tiles.pad(f.low), min(tokensAtOnce, f.tokens-n),
					f.a[n*f.lda+from:], 1, f.lda, matrix{f.b[n*f.ldb:], f.ldb}, add, ld, mean, f.ldb)
				add, ld = mean, f.ldb
			}
			for h := from; h < to; h++ {
				m := f.mean[h*f.ldb:][:f.low]
				f.affine(m, m, float32(1/float64(f.tokens)), 0)
				row(args, h, m)
			}
		}},
	}
}

func (s LFQLoss) cpu(c *CPU) []stage {
	f := newLFQBatch(c, s)
	batch := make([]float64, s.Books*f.high)
	var entropies []stage
	for b := range s.Books {
		entropies = append(entropies, f.stages(b, 1, func(_ [][]float32, h int, mean []float32) {
			sum := 0.
			for _, p := range mean {
				sum += entropyTerm(float64(p), float64(s.Offset))
			}
			batch[b*f.high+h] = sum
		})...)
	}
	return s.terms(entropies, batch)
}

// terms are the stages of the loss, after stages that leave parts of the sum of the books' entropies in batch.
func (s LFQLoss) terms(entropies []stage, batch []float64) []stage {
	per := rowsPerTask(8 * s.Books * s.Bits) // tokens
	n := ceilDiv(s.Tokens, per)
	perSample, commitment := make([]float64, n), make([]float64, n)
	return append(entropies,
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

// codeSlopes sums, for each token, probability times slope of its batch entropy over
// the low codes for each high one and over the high codes for each low one: two more
// products, with the matrix of slopes that takes the place of mean, and its transpose.
type codeSlopes struct {
	*codeBatch
	turned []float32   // [low,lda]
	u, v   [][]float32 // of a worker: [tokensPerTask,lda] and [tokensPerTask,ldb]
	hs, ls [][]float64 // of a worker: sums per high code, and per low code
}

func newCodeSlopes(c *CPU, f *codeBatch) *codeSlopes {
	g := &codeSlopes{codeBatch: f, turned: alignedFloats(f.low * f.lda)}
	for range c.workers {
		g.u, g.v = append(g.u, alignedFloats(tokensPerTask*f.lda)), append(g.v, alignedFloats(tokensPerTask*f.ldb))
		g.hs, g.ls = append(g.hs, make([]float64, f.high)), append(g.ls, make([]float64, f.low))
	}
	return g
}

// stages computes the slopes of a book, as codeBatch.stages does the means; slope turns
// a code's mean probability into its slope. Then token is called for each token with
// its sums. What all slopes have in common has no effect, as probabilities add up to 1:
// a usual value is taken off, so that roundings are those of differences.
func (g *codeSlopes) stages(book int, slope func(p float64) float64, token func(args [][]float32, n, worker int, high, low []float64)) []stage {
	usual := math.Log(float64(g.high * g.low))
	return append(g.codeBatch.stages(book, 2, func(_ [][]float32, h int, mean []float32) {
		for j, p := range mean {
			mean[j] = float32(slope(float64(p)) - usual)
			g.turned[j*g.lda+h] = mean[j]
		}
	}), stage{ceilDiv(g.tokens, tokensPerTask), func(args [][]float32, t, worker int) {
		from, to := span(t, g.tokens, tokensPerTask)
		u, v := g.u[worker], g.v[worker]
		a, b := g.a[from*g.lda:], g.b[from*g.ldb:]
		g.tiles.multiply(to-from, g.tiles.pad(g.high), g.low, b, g.ldb, 1, matrix{g.turned, g.lda}, g.zeros, 0, u, g.lda)
		g.tiles.multiply(to-from, g.tiles.pad(g.low), g.high, a, g.lda, 1, matrix{g.mean, g.ldb}, g.zeros, 0, v, g.ldb)
		for n := from; n < to; n++ {
			high, low := g.hs[worker], g.ls[worker]
			weigh(high, g.a[n*g.lda:], u[(n-from)*g.lda:])
			weigh(low, g.b[n*g.ldb:], v[(n-from)*g.ldb:])
			token(args, n, worker, high, low)
		}
	}})
}

// weigh is dst = p·x.
func weigh(dst []float64, p, x []float32) {
	p, x = p[:len(dst)], x[:len(dst)]
	for i := range dst {
		dst[i] = float64(p[i]) * float64(x[i])
	}
}

// divided adds up the terms of the codes in which the first bit is 1, and of those in
// which it is 0, and calls do with the sums; then the second bit, and so on. It
// destroys sums, whose length is 2^(number of bits).
func divided(sums []float64, do func(bit int, one, zero float64)) {
	for bit := 0; len(sums) > 1; bit++ {
		zeros, ones := sums[:len(sums)/2], sums[len(sums)/2:]
		zero, one := 0., 0.
		for i, v := range ones {
			one += v
			zero += zeros[i]
			zeros[i] += v
		}
		do(bit, one, zero)
		sums = zeros
	}
}

func (s LFQLossGrad) cpu(c *CPU) []stage { return s.stages(c, 0) }

// stages are those of the gradient; given is the number of the argument with the mean probabilities, see codeBatch.
func (s LFQLossGrad) stages(c *CPU, given int) []stage {
	g := newCodeSlopes(c, newLFQBatch(c, LFQLoss(s)).codeBatch)
	g.given = given
	slope := LFQLoss(s).entropySlope
	var stages []stage
	for b := range s.Books {
		stages = append(stages, g.stages(b, slope, func(args [][]float32, n, _ int, high, low []float64) {
			at := (n*s.Books + b) * s.Bits
			s.token(args[0][at:][:s.Bits], args[1], args[2][at:][:s.Bits], high, low)
		})...)
	}
	return stages
}

// token writes the gradient of one token's book.
func (s LFQLossGrad) token(dz, dterms, z []float32, high, low []float64) {
	inv := 4 * float64(s.InvTemp)
	codes := 1 / float64(s.Tokens*s.Books)
	first := s.Bits / 2
	write := func(i int, one, zero float64) {
		v := z[i]
		u := inv * float64(v)
		p, q := sigmoid(u), sigmoid(-u)
		d := float64(dterms[0])*-u*p*q*inv*codes + float64(dterms[1])*(one*q-zero*p)*inv*codes
		dz[i] = float32(d + float64(dterms[2])*2*float64(v-sign(v))*codes/float64(s.Bits))
	}
	divided(high, write)
	divided(low, func(i int, one, zero float64) { write(first+i, one, zero) })
}
