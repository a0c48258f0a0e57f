package kernels

import (
	"fmt"
	"math"
)

// LFQ holds the sizes of lookup-free quantization (Yu et al., "Language model
// beats diffusion: tokenizer is key to visual generation", 2023): Books codes of
// Bits signs for each token. LFQSign, LFQIndex, LFQValues, LFQLoss and
// LFQLossGrad are its kernels.
type LFQ struct{ Tokens, Books, Bits int }

// Validate says which size is wrong and what would be legal.
func (l LFQ) Validate() error {
	if l.Bits > 24 {
		return fmt.Errorf("Bits is %d, want at most 24: %d codes", l.Bits, MaxCodes)
	}
	return positive([]string{"Tokens", "Books", "Bits"}, l.Tokens, l.Books, l.Bits)
}

func (l LFQ) wide(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, l.Tokens, l.Books*l.Bits)
}

func (l LFQ) values() int64 { return int64(l.Tokens) * int64(l.Books) * int64(l.Bits) }

// sign is +1 for z > 0, else -1: zero counts as negative.
func sign(z float32) float32 {
	if z > 0 {
		return 1
	}
	return -1
}

// LFQSign gives the codes' values, +1 and -1.
// Arguments: q; z, both [Tokens,Books·Bits].
type LFQSign struct{ LFQ }

func (s LFQSign) Args() []Arg  { return []Arg{s.wide(out, "q"), s.wide(in, "z")} }
func (s LFQSign) FLOPs() int64 { return s.values() }

// Grads: the gradient passes straight through.
func (s LFQSign) Grads() []Grad { return []Grad{{Of: "z"}} }

func (s LFQSign) Define(args ...[]float32) {
	for i, z := range args[1] {
		args[0][i] = sign(z)
	}
}

// LFQIndex gives the codes' indices, channel 0 the most significant bit, or, if
// LowFirst, the least significant one.
// Arguments: idx [Tokens,Books]; z [Tokens,Books·Bits].
type LFQIndex struct {
	LFQ
	LowFirst bool
}

func (s LFQIndex) Args() []Arg  { return []Arg{out("idx", s.Tokens, s.Books), s.wide(in, "z")} }
func (s LFQIndex) FLOPs() int64 { return s.values() }

func (s LFQIndex) Grads() []Grad { return nil }

func (s LFQIndex) Define(args ...[]float32) {
	idx, z := args[0], args[1]
	for n := range idx {
		code := 0
		for i, v := range z[n*s.Bits:][:s.Bits] {
			if v > 0 {
				code += 1 << s.place(i, s.LowFirst)
			}
		}
		idx[n] = float32(code)
	}
}

// place is the place of a channel's bit in an index.
func (l LFQ) place(channel int, lowFirst bool) int {
	if lowFirst {
		return channel
	}
	return l.Bits - 1 - channel
}

// LFQValues gives the values of codes, the inverse of LFQIndex. Indices are
// whole and in [0,2^Bits).
// Arguments: q [Tokens,Books·Bits]; idx [Tokens,Books].
type LFQValues struct {
	LFQ
	LowFirst bool
}

func (s LFQValues) Args() []Arg  { return []Arg{s.wide(out, "q"), in("idx", s.Tokens, s.Books)} }
func (s LFQValues) FLOPs() int64 { return s.values() }

func (s LFQValues) Grads() []Grad { return nil }

func (s LFQValues) Define(args ...[]float32) {
	q, idx := args[0], args[1]
	for n, v := range idx {
		code := int(v)
		for i := range s.Bits {
			q[n*s.Bits+i] = float32(2*(code>>s.place(i, s.LowFirst)&1) - 1)
		}
	}
}

func (s LFQSign) cpu(*CPU) []stage {
	return pointwise(s.Tokens*s.Books*s.Bits, func(args [][]float32, from, to int) {
		q := args[0][from:to]
		for i, z := range args[1][from:to] {
			q[i] = sign(z)
		}
	})
}

func (s LFQIndex) cpu(*CPU) []stage {
	return rowwise(s.Tokens*s.Books, s.Bits, func(args [][]float32, from, to int) {
		s.Define(args[0][from:to], args[1][from*s.Bits:to*s.Bits])
	})
}

func (s LFQValues) cpu(*CPU) []stage {
	return rowwise(s.Tokens*s.Books, s.Bits, func(args [][]float32, from, to int) {
		s.Define(args[0][from*s.Bits:to*s.Bits], args[1][from:to])
	})
}

// LFQLoss gives the three terms of LFQ's auxiliary loss. With p_nj the
// probability that token n has code c_j,
//
//	p_nj = softmax_j(2·InvTemp·z_n·c_j), H(p) = -sum_j p_j log p_j
//
//	terms[0]  per-sample entropy: mean over tokens and books of H(p_n)
//	terms[1]  batch entropy: mean over books of H(mean over tokens of p_n)
//	terms[2]  commitment: mean over all values of (z - sign z)²
//
// Logits are linear in the bits, so p_nj is the product over bits of
// sigmoid(±4·InvTemp·z): the first entropy is a sum of binary entropies. The
// logarithm has no floor, 0·log 0 is 0. (The reference floors it at 1e-5, which
// changes the first entropy by 1e-5 to 1e-4 of its value.) Offset is added inside the
// logarithm of the batch entropy alone: -sum_j p_j log(p_j + Offset).
// Arguments: terms [3]; z [Tokens,Books·Bits].
type LFQLoss struct {
	LFQ
	InvTemp float32
	Offset  float32
}

func (s LFQLoss) Args() []Arg { return []Arg{out("terms", 3), s.wide(in, "z")} }

// FLOPs counts the product of the two factor matrices and 20 operations a value.
func (s LFQLoss) FLOPs() int64 {
	return 2*int64(s.Tokens)*int64(s.Books)<<s.Bits + 20*s.values()
}

// maxEntropyBits bounds the 2^Bits probabilities that the batch entropy keeps.
const maxEntropyBits = 20

func (s LFQLoss) Validate() error {
	if s.Bits > maxEntropyBits {
		return fmt.Errorf("Bits is %d, want at most %d where the batch entropy is computed", s.Bits, maxEntropyBits)
	}
	if !(s.InvTemp > 0) || !finite(float64(s.InvTemp)) {
		return fmt.Errorf("InvTemp is %g, want a positive number", s.InvTemp)
	}
	if !(s.Offset >= 0 && s.Offset < 1) {
		return fmt.Errorf("Offset is %g, want 0 or a small positive number", s.Offset)
	}
	return s.LFQ.Validate()
}

func (s LFQLoss) Grads() []Grad {
	return []Grad{grad("z", LFQLossGrad(s), "dterms", "z")}
}

func (s LFQLoss) Define(args ...[]float32) {
	s.define(args[0], args[1], func(book, code int) float64 { return s.mean(args[1], book, code) })
}

// define is Define with the mean probabilities of codes.
func (s LFQLoss) define(terms, z []float32, mean func(book, code int) float64) {
	perSample, batch, commitment := 0., 0., 0.
	for _, v := range z {
		perSample += binaryEntropy(4 * float64(s.InvTemp) * float64(v))
		d := float64(v - sign(v))
		commitment += d * d
	}
	for b := range s.Books {
		for code := range 1 << s.Bits {
			batch += entropyTerm(mean(b, code), float64(s.Offset))
		}
	}
	terms[0] = float32(perSample / float64(s.Tokens*s.Books))
	terms[1] = float32(batch / float64(s.Books))
	terms[2] = float32(commitment / float64(len(z)))
}

// probability of a code of a token's book, z [Bits].
func (s LFQLoss) probability(z []float32, code int) float64 {
	p := 1.
	for i, v := range z {
		u := 4 * float64(s.InvTemp) * float64(v)
		if code>>(s.Bits-1-i)&1 == 0 {
			u = -u
		}
		p *= sigmoid(u)
	}
	return p
}

// mean is a code's probability, averaged over tokens.
func (s LFQLoss) mean(z []float32, book, code int) float64 {
	sum := 0.
	for n := range s.Tokens {
		sum += s.probability(z[(n*s.Books+book)*s.Bits:][:s.Bits], code)
	}
	return sum / float64(s.Tokens)
}

// binaryEntropy is the entropy of a bit that is 1 with probability sigmoid(u).
func binaryEntropy(u float64) float64 {
	a := math.Abs(u)
	e := math.Exp(-a)
	if e == 0 {
		return 0
	}
	return math.Log1p(e) + a*e/(1+e)
}

// entropyTerm is -p·log(p + offset), a code's term of the batch entropy.
func entropyTerm(p, offset float64) float64 {
	if p == 0 {
		return 0
	}
	return -p * math.Log(p+offset)
}

// entropySlope is the derivative of entropyTerm; without Offset its constant -1 is left
// out, since probabilities add up to 1.
func (s LFQLoss) entropySlope(p float64) float64 {
	switch {
	case s.Offset > 0:
		q := p + float64(s.Offset)
		return -math.Log(q) - p/q
	case p == 0:
		return 0
	}
	return -math.Log(p)
}

// LFQLossGrad is the gradient of LFQLoss. With u = 4·InvTemp·z and p =
// sigmoid(u), the entropy of a bit has the slope -u·p·(1-p) in u; the batch
// entropy has the slope -log(mean p_j) in each mean (its constant -1 drops out,
// as probabilities add up to 1), with Offset that of entropySlope; sign z is constant.
// Arguments: dz [Tokens,Books·Bits]; dterms [3], z [Tokens,Books·Bits].
type LFQLossGrad struct {
	LFQ
	InvTemp float32
	Offset  float32
}

func (s LFQLossGrad) Validate() error { return LFQLoss(s).Validate() }

// FLOPs counts two products of the size of LFQLoss's and 40 operations a value.
func (s LFQLossGrad) FLOPs() int64 {
	return 4*int64(s.Tokens)*int64(s.Books)<<s.Bits + 40*s.values()
}

func (s LFQLossGrad) Args() []Arg {
	return []Arg{s.wide(out, "dz"), in("dterms", 3), s.wide(in, "z")}
}

func (s LFQLossGrad) Grads() []Grad { return nil }

func (s LFQLossGrad) Define(args ...[]float32) {
	s.define(args[0], args[1], args[2], func(book, code int) float64 { return LFQLoss(s).mean(args[2], book, code) })
}

// define is Define with the mean probabilities of codes.
func (s LFQLossGrad) define(dz, dterms, z []float32, means func(book, code int) float64) {
	l := LFQLoss(s)
	inv := 4 * float64(s.InvTemp)
	sum := make([]float64, len(z)) // of dterms[1]·d(batch entropy)/du
	for b := range s.Books {
		for code := range 1 << s.Bits {
			slope := l.entropySlope(means(b, code)) / float64(s.Tokens*s.Books)
			if slope == 0 {
				continue
			}
			for n := range s.Tokens {
				at := (n*s.Books + b) * s.Bits
				p := l.probability(z[at:][:s.Bits], code)
				for i := range s.Bits {
					u := inv * float64(z[at+i])
					if code>>(s.Bits-1-i)&1 == 1 { // d log sigmoid(±u)/du
						sum[at+i] += slope * p * sigmoid(-u)
					} else {
						sum[at+i] -= slope * p * sigmoid(u)
					}
				}
			}
		}
	}
	for i, v := range z {
		u := inv * float64(v)
		perSample := -u * sigmoid(u) * sigmoid(-u) * inv / float64(s.Tokens*s.Books)
		commitment := 2 * float64(v-sign(v)) / float64(len(z))
		dz[i] = float32(float64(dterms[0])*perSample + float64(dterms[1])*sum[i]*inv + float64(dterms[2])*commitment)
	}
}
