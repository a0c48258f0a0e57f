package kernels

import "math"

// LFQLossFloored is LFQLoss as the reference computes it: with a floor inside the
// logarithm, and for spherical codes. With c_j the code's signs, divided by
// sqrt(Bits) if Spherical,
//
//	p_nj = softmax_j(2·InvTemp·z_n·c_j), H(p) = -sum_j p_j log max(p_j, 1e-5)
//
//	terms[0]  per-sample entropy: mean over tokens and books of H(p_n)
//	terms[1]  batch entropy: mean over books of H(mean over tokens of p_n)
//	terms[2]  commitment: mean over all values of (z - c)², c the code of z
//
// Spherical z have norm 1 (Normalize).
// Arguments: terms [3]; z [Tokens,Books·Bits].
type LFQLossFloored struct {
	LFQ
	InvTemp   float32
	Spherical bool
}

// The floor of a probability, and -log of it.
const (
	minProbability = 1e-5
	maxSurprise    = 11.512925464970229
)

func (s LFQLossFloored) Validate() error { return LFQLoss{LFQ: s.LFQ, InvTemp: s.InvTemp}.Validate() }
func (s LFQLossFloored) Args() []Arg     { return []Arg{out("terms", 3), s.wide(in, "z")} }

// FLOPs counts the batch's probabilities and each token's entropy over all codes.
func (s LFQLossFloored) FLOPs() int64 {
	return 6*int64(s.Tokens)*int64(s.Books)<<s.Bits + 20*s.values()
}

// size is the value of a code's bits.
func (s LFQLossFloored) size() float64 {
	if s.Spherical {
		return 1 / math.Sqrt(float64(s.Bits))
	}
	return 1
}

// surprise is -log max(p, 1e-5).
func surprise(p float64) float64 { return -math.Log(max(p, minProbability)) }

// surpriseSlope is the derivative of p·surprise(p).
func surpriseSlope(p float64) float64 {
	if p >= minProbability {
		return surprise(p) - 1
	}
	return surprise(p)
}

// probabilities of all codes of a token's book, z [Bits].
func (s LFQLossFloored) probabilities(z []float32) []float64 {
	p := make([]float64, 1<<s.Bits)
	peak, sum := math.Inf(-1), 0.
	for j := range p {
		for i, v := range z {
			p[j] += 2 * float64(s.InvTemp) * float64(v) * s.size() * s.bit(j, i)
		}
		peak = max(peak, p[j])
	}
	for j := range p {
		p[j] = math.Exp(p[j] - peak)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p
}

// bit i of a code, +1 or -1.
func (s LFQLossFloored) bit(code, i int) float64 { return float64(2*(code>>(s.Bits-1-i)&1) - 1) }

// mean is the probabilities of a book's codes, averaged over tokens.
func (s LFQLossFloored) mean(z []float32, book int) []float64 {
	mean := make([]float64, 1<<s.Bits)
	for n := range s.Tokens {
		for j, p := range s.probabilities(z[(n*s.Books+book)*s.Bits:][:s.Bits]) {
			mean[j] += p / float64(s.Tokens)
		}
	}
	return mean
}

func (s LFQLossFloored) Grads() []Grad {
	return []Grad{grad("z", LFQLossFlooredGrad(s), "dterms", "z")}
}

func (s LFQLossFloored) Define(args ...[]float32) {
	terms, z := args[0], args[1]
	perSample, batch, commitment := 0., 0., 0.
	for b := range s.Books {
		for n := range s.Tokens {
			for _, p := range s.probabilities(z[(n*s.Books+b)*s.Bits:][:s.Bits]) {
				perSample += p * surprise(p)
			}
		}
		for _, p := range s.mean(z, b) {
			batch += p * surprise(p)
		}
	}
	for _, v := range z {
		d := float64(v) - s.size()*float64(sign(v))
		commitment += d * d
	}
	terms[0] = float32(perSample / float64(s.Tokens*s.Books))
	terms[1] = float32(batch / float64(s.Books))
	terms[2] = float32(commitment / float64(len(z)))
}

// LFQLossFlooredGrad is the gradient of LFQLossFloored; c is constant in it. An
// entropy has the slope g_j = -log max(p_j, 1e-5) - [p_j >= 1e-5] in each of its
// probabilities, and
//
//	dp_j/dz_i = 2·InvTemp·p_j (c_ji - sum_l p_l c_li)
//
// Arguments: dz [Tokens,Books·Bits]; dterms [3], z [Tokens,Books·Bits].
type LFQLossFlooredGrad struct {
	LFQ
	InvTemp   float32
	Spherical bool
}

func (s LFQLossFlooredGrad) Validate() error { return LFQLossFloored(s).Validate() }

// FLOPs counts the batch's probabilities and each token's slopes over all codes.
func (s LFQLossFlooredGrad) FLOPs() int64 {
	return 12*int64(s.Tokens)*int64(s.Books)<<s.Bits + 40*s.values()
}

func (s LFQLossFlooredGrad) Args() []Arg {
	return []Arg{s.wide(out, "dz"), in("dterms", 3), s.wide(in, "z")}
}

func (s LFQLossFlooredGrad) Grads() []Grad { return nil }

func (s LFQLossFlooredGrad) Define(args ...[]float32) {
	dz, dterms, z := args[0], args[1], args[2]
	l := LFQLossFloored(s)
	for b := range s.Books {
		mean := l.mean(z, b)
		for n := range s.Tokens {
			at := (n*s.Books + b) * s.Bits
			p := l.probabilities(z[at:][:s.Bits])
			for i, v := range z[at:][:s.Bits] {
				center, sum := 0., 0.
				for j := range p {
					center += p[j] * l.bit(j, i)
				}
				for j := range p {
					g := float64(dterms[0])*surpriseSlope(p[j]) + float64(dterms[1])*surpriseSlope(mean[j])
					sum += g * p[j] * (l.bit(j, i) - center)
				}
				sum *= 2 * float64(s.InvTemp) * l.size() / float64(s.Tokens*s.Books)
				d := float64(v) - l.size()*float64(sign(v))
				dz[at+i] = float32(sum + float64(dterms[2])*2*d/float64(len(z)))
			}
		}
	}
}
