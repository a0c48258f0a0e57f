package kernels

import (
	"fmt"
	"math"
	"slices"
)

// VQ holds the sizes of vector quantization (van den Oord et al., "Neural discrete
// representation learning", 2017): each token has Books codes, each the nearest of Codes
// learned vectors of Dim values. VQIndex, VQValues and VQQuantize are the forward
// kernels; VQStatistics, VQSamples and VQUpdate move the codebook.
type VQ struct{ Tokens, Books, Codes, Dim int }

// Validate says which size is wrong and what would be legal.
func (v VQ) Validate() error {
	if v.Codes > MaxCodes {
		return fmt.Errorf("Codes is %d, want at most %d", v.Codes, MaxCodes)
	}
	if v.Tokens > MaxCodes {
		return fmt.Errorf("Tokens is %d, want at most %d: counts and indices are exact up to there", v.Tokens, MaxCodes)
	}
	if err := positive([]string{"Tokens", "Books", "Dim"}, v.Tokens, v.Books, v.Dim); err != nil {
		return err
	}
	return positive([]string{"Books", "Codes", "Dim"}, v.Books, v.Codes, v.Dim+1)
}

func (v VQ) wide(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, v.Tokens, v.Books*v.Dim)
}
func (v VQ) idx(arg func(string, ...int) Arg) Arg { return arg("idx", v.Tokens, v.Books) }
func (v VQ) codebook(arg func(string, ...int) Arg) Arg {
	return arg("codebook", v.Books, v.Codes, v.Dim)
}
func (v VQ) values() int64 { return int64(v.Tokens) * int64(v.Books) * int64(v.Dim) }

// book is the vectors of a book, [Codes,Dim].
func (v VQ) book(codebook []float32, b int) []float32 {
	return codebook[b*v.Codes*v.Dim:][:v.Codes*v.Dim]
}

// VQIndex is the nearest code of each token by squared Euclidean distance, of equally
// near ones the first: idx = argmin_j |z - e_j|². Codes whose distance is NaN are never
// nearest; without any other the index is 0.
// Arguments: idx [Tokens,Books]; z [Tokens,Books·Dim], codebook [Books,Codes,Dim].
type VQIndex struct{ VQ }

func (s VQIndex) Args() []Arg {
	return []Arg{s.idx(out), s.wide(in, "z"), s.codebook(in)}
}
func (s VQIndex) FLOPs() int64 { return 3 * s.values() * int64(s.Codes) }

func (s VQIndex) Grads() []Grad { return nil }

func (s VQIndex) Define(args ...[]float32) {
	idx, z, codebook := args[0], args[1], args[2]
	for n := range idx {
		e := s.book(codebook, n%s.Books)
		nearest, least := 0, math.Inf(1)
		for j := range s.Codes {
			d := 0.
			for i, v := range z[n*s.Dim:][:s.Dim] {
				d += square(float64(v) - float64(e[j*s.Dim+i]))
			}
			if d < least {
				nearest, least = j, d
			}
		}
		idx[n] = float32(nearest)
	}
}

func square(x float64) float64 { return x * x }

// VQValues is the vectors of codes. Indices are whole and in [0,Codes).
// Arguments: q [Tokens,Books·Dim]; idx [Tokens,Books], codebook [Books,Codes,Dim].
type VQValues struct{ VQ }

func (s VQValues) Args() []Arg {
	return []Arg{s.wide(out, "q"), s.idx(in), s.codebook(in)}
}
func (s VQValues) FLOPs() int64 { return s.values() }

func (s VQValues) Grads() []Grad { return nil }

func (s VQValues) Define(args ...[]float32) { s.lookUp(args[0], args[1], args[2], 0) }

// lookUp writes the vectors of the codes idx, the first of them that of book b.
func (v VQ) lookUp(q, idx, codebook []float32, b int) {
	for n, j := range idx {
		copy(q[n*v.Dim:][:v.Dim], v.book(codebook, (b+n)%v.Books)[int(j)*v.Dim:])
	}
}

// VQQuantize is VQValues as a function of the latents z that the codes are of: gradients
// pass straight through to z, and the codebook has none.
// Arguments: q [Tokens,Books·Dim]; z [Tokens,Books·Dim], idx [Tokens,Books], codebook [Books,Codes,Dim].
type VQQuantize struct{ VQ }

func (s VQQuantize) Args() []Arg {
	return []Arg{s.wide(out, "q"), s.wide(in, "z"), s.idx(in), s.codebook(in)}
}
func (s VQQuantize) FLOPs() int64 { return s.values() }

// Grads: the gradient passes straight through.
func (s VQQuantize) Grads() []Grad { return []Grad{{Of: "z"}} }

func (s VQQuantize) Define(args ...[]float32) { s.lookUp(args[0], args[2], args[3], 0) }

// VQStatistics is, for each code, the sum of the latents that have it, then their number.
// Arguments: stats [Books,Codes,Dim+1]; z [Tokens,Books·Dim], idx [Tokens,Books].
type VQStatistics struct{ VQ }

func (s VQStatistics) Args() []Arg {
	return []Arg{out("stats", s.Books, s.Codes, s.Dim+1), s.wide(in, "z"), s.idx(in)}
}
func (s VQStatistics) FLOPs() int64 { return s.values() + int64(s.Tokens*s.Books) }

func (s VQStatistics) Grads() []Grad { return nil }

func (s VQStatistics) Define(args ...[]float32) {
	sums := make([]float64, s.Codes*(s.Dim+1))
	for b := range s.Books {
		s.statistics(args[0], args[1], args[2], b, sums)
	}
}

// statistics are those of book b; sums has as many values.
func (s VQStatistics) statistics(stats, z, idx []float32, b int, sums []float64) {
	clear(sums)
	for n := range s.Tokens {
		at := n*s.Books + b
		sum := sums[int(idx[at])*(s.Dim+1):][:s.Dim+1]
		for i, v := range z[at*s.Dim:][:s.Dim] {
			sum[i] += float64(v)
		}
		sum[s.Dim]++
	}
	for i, v := range sums {
		stats[b*len(sums)+i] = float32(v)
	}
}

// VQSamples is a latent for each code, that of the token picks_j, which replaces the code
// if it is dead. It is 0 for tokens outside of [0,Tokens): they are in another batch of
// the step, and the sum over the batches has one latent for each code.
// Arguments: samples [Books,Codes,Dim]; z [Tokens,Books·Dim], picks [Books,Codes].
type VQSamples struct{ VQ }

func (s VQSamples) Args() []Arg {
	return []Arg{out("samples", s.Books, s.Codes, s.Dim), s.wide(in, "z"), in("picks", s.Books, s.Codes)}
}
func (s VQSamples) FLOPs() int64 { return int64(s.Books) * int64(s.Codes) * int64(s.Dim) }

func (s VQSamples) Grads() []Grad { return nil }

func (s VQSamples) Define(args ...[]float32) { s.samples(args[0], args[1], args[2], 0) }

// samples are those of codes from code j of all books on.
func (s VQSamples) samples(samples, z, picks []float32, j int) {
	for k, n := range picks {
		to := samples[k*s.Dim:][:s.Dim]
		if n >= 0 && n < float32(s.Tokens) {
			copy(to, z[(int(n)*s.Books+(j+k)/s.Codes)*s.Dim:])
		} else {
			clear(to)
		}
	}
}

// VQUpdate moves the codebook in place to the exponential moving average of the latents
// of each code (van den Oord et al. 2017, appendix A.1), with Laplace smoothing, and
// replaces dead codes. average has, for each code, the averages of the columns of
// VQStatistics: of the sum m_j and of the number n_j; N = sum_j n_j.
//
//	average_j <- average_j + Rate·(stats_j - average_j)
//	e_j <- m_j/s_j,  s_j = N·(n_j + Eps)/(N + Codes·Eps), where n_j > 0
//	e_j <- sample_j,  n_j <- N/Codes,  m_j <- e_j·n_j, where n_j < Dead·N/Codes
//
// A sample of zeros is none: its code is not replaced. With Spherical vectors and samples
// are scaled to norm 1. If guard is not finite, nothing changes: the step is not applied.
// N is that before dead codes are replaced.
// Arguments: codebook [Books,Codes,Dim], average [Books,Codes,Dim+1], both read and
// written; samples [Books,Codes,Dim], stats [Books,Codes,Dim+1], guard scalar.
type VQUpdate struct {
	VQ
	Rate, Eps, Dead float32
	Spherical       bool
}

func (s VQUpdate) Validate() error {
	if !(s.Rate > 0 && s.Rate <= 1) {
		return fmt.Errorf("Rate is %g, want more than 0, at most 1", s.Rate)
	}
	if !(s.Eps > 0) || !finite(float64(s.Eps)) {
		return fmt.Errorf("Eps is %g, want a positive number", s.Eps)
	}
	if !(s.Dead >= 0 && s.Dead <= 1) {
		return fmt.Errorf("Dead is %g, want 0 to 1", s.Dead)
	}
	return s.VQ.Validate()
}

func (s VQUpdate) Args() []Arg {
	return []Arg{s.codebook(updated), updated("average", s.Books, s.Codes, s.Dim+1),
		in("samples", s.Books, s.Codes, s.Dim), in("stats", s.Books, s.Codes, s.Dim+1), in("guard")}
}
func (s VQUpdate) FLOPs() int64 { return 6 * int64(s.Books) * int64(s.Codes) * int64(s.Dim+1) }

func (s VQUpdate) Grads() []Grad { return nil }

func (s VQUpdate) Define(args ...[]float32) {
	if finite(float64(args[4][0])) {
		for b := range s.Books {
			s.update(args, b)
		}
	}
}

// update is that of book b.
func (s VQUpdate) update(args [][]float32, b int) {
	codebook, size := s.book(args[0], b), s.Codes*(s.Dim+1)
	average, samples, stats := args[1][b*size:][:size], s.book(args[2], b), args[3][b*size:][:size]
	total := 0.
	for i, v := range stats {
		average[i] += float32(float64(s.Rate) * (float64(v) - float64(average[i])))
		if i%(s.Dim+1) == s.Dim {
			total += float64(average[i])
		}
	}
	mean := total / float64(s.Codes)
	for j := range s.Codes {
		m, e := average[j*(s.Dim+1):][:s.Dim+1], codebook[j*s.Dim:][:s.Dim]
		n := float64(m[s.Dim])
		if n > 0 {
			smoothed := total * (n + float64(s.Eps)) / (total + float64(s.Codes)*float64(s.Eps))
			s.write(e, m[:s.Dim], 1/smoothed)
		}
		sample := samples[j*s.Dim:][:s.Dim]
		if n < float64(s.Dead)*mean && slices.ContainsFunc(sample, func(v float32) bool { return v != 0 }) {
			s.write(e, sample, 1)
			for i, v := range e {
				m[i] = float32(float64(v) * mean)
			}
			m[s.Dim] = float32(mean)
		}
	}
}

// write is e = scale·x, or of norm 1 (of at least minNorm in x).
func (s VQUpdate) write(e, x []float32, scale float64) {
	if s.Spherical {
		squares := 0.
		for _, v := range x {
			squares += square(float64(v) * scale)
		}
		scale /= max(math.Sqrt(squares), minNorm)
	}
	for i, v := range x {
		e[i] = float32(scale * float64(v))
	}
}
