package kernels

import (
	"fmt"
	"math"
)

// BSQLoss is the terms of the loss of binary spherical quantization (Zhao et al., "Image
// and video tokenization with binary spherical quantization", 2024): latents u of norm 1,
// whose codes have the coordinates ±1/√Bits. The codes themselves are those of LFQSign,
// LFQIndex and LFQValues. The soft assignment of a token to codes, a softmax over
// 2·InvTemp·u·c, is a product over bits: with p_i = sigmoid(4·InvTemp·u_i/√Bits) the
// probability that bit i is 1, and H the entropy of a bit,
//
//	terms[0]  sample entropy: mean over tokens and books of sum_i H(p_i), exact
//	terms[1]  codebook entropy: mean over books of sum_i H(mean over tokens of p_i): as if
//	          bits were independent, an upper bound of the entropy of the mean
//	terms[2]  commitment: mean over all values of (u - c)², c the code of u
//
// No array has a value for each code, so that codes may have 24 bits.
// Arguments: terms [3]; u [Tokens,Books·Bits].
type BSQLoss struct {
	LFQ
	InvTemp float32
}

func (s BSQLoss) Validate() error {
	if !(s.InvTemp > 0) || !finite(float64(s.InvTemp)) {
		return fmt.Errorf("InvTemp is %g, want a positive number", s.InvTemp)
	}
	return s.LFQ.Validate()
}

func (s BSQLoss) Args() []Arg  { return []Arg{out("terms", 3), s.wide(in, "u")} }
func (s BSQLoss) FLOPs() int64 { return 25 * s.values() }
func (s BSQLoss) Grads() []Grad {
	return []Grad{grad("u", BSQLossGrad(s), "dterms", "u")}
}

// logitScale is what u is multiplied with to give the logit of a bit.
func (s BSQLoss) logitScale() float64 { return 4 * float64(s.InvTemp) * s.radius() }

// radius is the absolute value of a code's coordinates.
func (s BSQLoss) radius() float64 { return 1 / math.Sqrt(float64(s.Bits)) }

// distance is u - c.
func (s BSQLoss) distance(u float32) float64 { return float64(u) - s.radius()*float64(sign(u)) }

func (s BSQLoss) Define(args ...[]float32) { s.define(args[0], args[1], s.mean(args[1])) }

// mean is the mean over tokens of the probability of each bit.
func (s BSQLoss) mean(u []float32) []float64 {
	means := make([]float64, s.Books*s.Bits)
	for i, v := range u {
		means[i%len(means)] += sigmoid(s.logitScale()*float64(v)) / float64(s.Tokens)
	}
	return means
}

// define is the loss with the entropies of mean probabilities that are given.
func (s BSQLoss) define(terms, u []float32, means []float64) {
	sample, commitment := 0., 0.
	for _, v := range u {
		sample += binaryEntropy(s.logitScale() * float64(v))
		commitment += square(s.distance(v))
	}
	s.write(terms, sample, commitment, means)
}

// write divides the sums over all values.
func (s BSQLoss) write(terms []float32, sample, commitment float64, means []float64) {
	codebook := 0.
	for _, p := range means {
		codebook += entropyTerm(p, 0) + entropyTerm(1-p, 0)
	}
	terms[0] = float32(sample / float64(s.Tokens*s.Books))
	terms[1] = float32(codebook / float64(s.Books))
	terms[2] = float32(commitment / float64(s.values()))
}

// BSQLossGrad is the gradient of BSQLoss. With t = 4·InvTemp·u/√Bits and p = sigmoid(t) the
// entropy of a bit has the slope -t·p·(1-p) in t, that of the mean m the slope
// log((1-m)/m)·p·(1-p)/Tokens; the code is constant.
// Arguments: du [Tokens,Books·Bits]; dterms [3], u [Tokens,Books·Bits].
type BSQLossGrad struct {
	LFQ
	InvTemp float32
}

func (s BSQLossGrad) Validate() error { return BSQLoss(s).Validate() }
func (s BSQLossGrad) FLOPs() int64    { return 40 * s.values() }
func (s BSQLossGrad) Grads() []Grad   { return nil }

func (s BSQLossGrad) Args() []Arg {
	return []Arg{s.wide(out, "du"), in("dterms", 3), s.wide(in, "u")}
}

func (s BSQLossGrad) Define(args ...[]float32) {
	s.define(args[0], args[1], args[2], BSQLoss(s).mean(args[2]))
}

// define is the gradient with the slopes of mean probabilities that are given.
func (s BSQLossGrad) define(du, dterms, u []float32, means []float64) {
	for i, v := range u {
		du[i] = s.slope(v, dterms, logOdds(means[i%len(means)]))
	}
}

// logOdds is log((1-p)/p), the slope of the entropy of a bit; 0 where it is infinite, as
// the slope of p is 0 there.
func logOdds(p float64) float64 {
	if p <= 0 || p >= 1 {
		return 0
	}
	return math.Log((1 - p) / p)
}

// slope is the gradient of a value whose column has the slope of its entropy.
func (s BSQLossGrad) slope(u float32, dterms []float32, column float64) float32 {
	l := BSQLoss(s)
	a, rows := l.logitScale(), float64(s.Tokens*s.Books)
	t := a * float64(u)
	dp := a * sigmoid(t) * sigmoid(-t) / rows
	return float32(float64(dterms[0])*-t*dp + float64(dterms[1])*column*dp + float64(dterms[2])*2*l.distance(u)/float64(s.values()))
}
