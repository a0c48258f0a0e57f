package kernels

import (
	"fmt"
	"math"
)

// FSQLoss gives the three terms of VidTok's loss of an FSQ (Tang et al., "VidTok: a
// versatile and open-source video tokenizer", 2024), of the latents z in front of the
// bound. With c_j the values of code j and H(p) = -sum_j p_j log max(p_j, 1e-5),
//
//	p_nj = softmax_j(2·InvTemp·z_n·c_j)
//
//	terms[0]  per-sample entropy: mean over tokens and books of H(p_n)
//	terms[1]  batch entropy: mean over books of H(mean over tokens of p_n)
//	terms[2]  commitment: mean over all values of (z - c)², c the code of z
//
// A code's probability is the product of those of its levels; its entropy is not a sum over
// levels, because of the floor. Arguments: terms [3]; z [Tokens,Books·Dims].
type FSQLoss struct {
	FSQ
	InvTemp float32
}

// maxLossCodes bounds the codes whose mean probabilities the batch entropy keeps.
const maxLossCodes = 1 << 20

func (s FSQLoss) Validate() error {
	if err := s.FSQ.Validate(); err != nil {
		return err
	}
	if n := s.Codes(); n > maxLossCodes {
		return fmt.Errorf("Levels %v make %d codes, want at most %d where the batch entropy is computed", s.Levels[:s.Dims], n, maxLossCodes)
	}
	if !(s.InvTemp > 0) || !finite(float64(s.InvTemp)) {
		return fmt.Errorf("InvTemp is %g, want a positive number", s.InvTemp)
	}
	return nil
}

func (s FSQLoss) Args() []Arg { return []Arg{out("terms", 3), s.wide(in, "z")} }

// FLOPs counts six operations for each token and code.
func (s FSQLoss) FLOPs() int64 {
	return 6*int64(s.Tokens)*int64(s.Books)*int64(s.Codes()) + 40*s.values()
}

func (s FSQLoss) Grads() []Grad { return []Grad{grad("z", FSQLossGrad(s), "dterms", "z")} }

func (s FSQLoss) Define(args ...[]float32) {
	terms, z := args[0], args[1]
	perSample, batch, commitment := 0., 0., 0.
	for b := range s.Books {
		mean := make([]float64, s.Codes())
		for n := range s.Tokens {
			p := s.levelProbabilities(z[(n*s.Books+b)*s.Dims:][:s.Dims])
			for code := range mean {
				q := s.probability(p, code)
				mean[code] += q / float64(s.Tokens)
				perSample += q * surprise(q)
			}
		}
		for _, q := range mean {
			batch += q * surprise(q)
		}
	}
	cs := s.channels()
	for i, v := range z {
		d := float64(v) - s.value(cs, i%s.Dims, v)
		commitment += d * d
	}
	terms[0] = float32(perSample / float64(s.Tokens*s.Books))
	terms[1] = float32(batch / float64(s.Books))
	terms[2] = float32(commitment / float64(len(z)))
}

// levelValue is the value of a digit of channel i.
func (f FSQ) levelValue(i, digit int) float64 {
	half := f.Levels[i] / 2
	return float64(digit-half) / float64(half)
}

// value is that of the level that a latent is rounded to.
func (f FSQ) value(cs []channel, i int, z float32) float64 { return cs[i].round(z) / cs[i].half }

// levelProbabilities are those of each channel's levels, a softmax each, given a token's
// latents z [Dims].
func (s FSQLoss) levelProbabilities(z []float32) [][]float64 {
	p := make([][]float64, s.Dims)
	for i := range p {
		p[i] = make([]float64, s.Levels[i])
		s.softmax(p[i], i, z[i])
	}
	return p
}

// softmax writes the probabilities of channel i's levels to p.
func (s FSQLoss) softmax(p []float64, i int, z float32) {
	scale := 2 * float64(s.InvTemp) * float64(z)
	top := math.Max(scale*s.levelValue(i, 0), scale*s.levelValue(i, len(p)-1))
	sum := 0.
	for k := range p {
		p[k] = math.Exp(scale*s.levelValue(i, k) - top)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
}

// probability is the product of those of a code's levels.
func (s FSQLoss) probability(p [][]float64, code int) float64 {
	q := 1.
	for i, l := range s.Levels[:s.Dims] {
		q *= p[i][code%l]
		code /= l
	}
	return q
}

// FSQLossGrad is the gradient of FSQLoss; the code of z is constant. With g_j the slope of
// the entropies in p_nj, v_ji the value of code j in channel i and e_i the mean of those
// values under p,
//
//	dz_ni = 2·InvTemp·sum_j p_nj g_j (v_ji - e_i) + dterms[2]·2·(z - c)/(Tokens·Books·Dims)
//
// Arguments: dz [Tokens,Books·Dims]; dterms [3], z [Tokens,Books·Dims].
type FSQLossGrad struct {
	FSQ
	InvTemp float32
}

func (s FSQLossGrad) Validate() error { return FSQLoss(s).Validate() }
func (s FSQLossGrad) Grads() []Grad   { return nil }
func (s FSQLossGrad) Args() []Arg {
	return []Arg{s.wide(out, "dz"), in("dterms", 3), s.wide(in, "z")}
}

// FLOPs counts the probabilities twice and two operations for each token, code and channel.
func (s FSQLossGrad) FLOPs() int64 {
	return (12+2*int64(s.Dims))*int64(s.Tokens)*int64(s.Books)*int64(s.Codes()) + 60*s.values()
}

func (s FSQLossGrad) Define(args ...[]float32) {
	dz, dterms, z := args[0], args[1], args[2]
	l, cs := FSQLoss(s), s.channels()
	for b := range s.Books {
		mean := make([]float64, s.Codes())
		for n := range s.Tokens {
			p := l.levelProbabilities(z[(n*s.Books+b)*s.Dims:][:s.Dims])
			for code := range mean {
				mean[code] += l.probability(p, code) / float64(s.Tokens)
			}
		}
		for n := range s.Tokens {
			at := (n*s.Books + b) * s.Dims
			p := l.levelProbabilities(z[at:][:s.Dims])
			sum := make([]float64, s.Dims)
			for code := range mean {
				q := l.probability(p, code)
				g := q * (float64(dterms[0])*surpriseSlope(q) + float64(dterms[1])*surpriseSlope(mean[code])) / float64(s.Tokens*s.Books)
				for i, k := 0, code; i < s.Dims; i++ {
					sum[i] += g * (s.levelValue(i, k%s.Levels[i]) - s.expected(p[i], i))
					k /= s.Levels[i]
				}
			}
			for i, v := range z[at:][:s.Dims] {
				commitment := float64(dterms[2]) * 2 * (float64(v) - s.value(cs, i, v)) / float64(len(z))
				dz[at+i] = float32(2*float64(s.InvTemp)*sum[i] + commitment)
			}
		}
	}
}

// expected is the mean of channel i's values under the probabilities p of its levels.
func (f FSQ) expected(p []float64, i int) (mean float64) {
	for k, q := range p {
		mean += q * f.levelValue(i, k)
	}
	return mean
}
