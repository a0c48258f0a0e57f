package kernels

import (
	"fmt"
	"math"
)

// FSQ holds the sizes of finite scalar quantization (Mentzer et al., "Finite
// scalar quantization: VQ-VAE made simple", 2023): each of Dims channels of a
// book is rounded to one of its levels. FSQQuantize, FSQGrad, FSQIndex and
// FSQValues are its kernels.
//
// With L a channel's levels, r = (L-1)·1.001/2 and o = 1/2 for even L, else 0:
//
//	b = tanh(z + atanh(o/r))·r - o,  m = b rounded half to even
//	code = m/⌊L/2⌋,  index = sum_i (m_i + ⌊L_i/2⌋)·(L_0 ··· L_{i-1})
//
// so level 0 varies fastest.
type FSQ struct {
	Tokens, Books, Dims int
	Levels              [8]int // the first Dims count, the others are 0
}

// Codes is the number of codes of a book.
func (f FSQ) Codes() int {
	n := 1
	for _, l := range f.Levels[:f.Dims] {
		n *= l
	}
	return n
}

// Validate says which size or level is wrong and what would be legal.
func (f FSQ) Validate() error {
	if err := positive([]string{"Tokens", "Books", "Dims"}, f.Tokens, f.Books, f.Dims); err != nil {
		return err
	}
	if f.Dims > len(f.Levels) {
		return fmt.Errorf("Dims is %d, want at most %d", f.Dims, len(f.Levels))
	}
	codes := 1
	for i, l := range f.Levels {
		switch {
		case i >= f.Dims && l != 0:
			return fmt.Errorf("Levels[%d] is %d, want 0 from Dims = %d on", i, l, f.Dims)
		case i < f.Dims && l < 3:
			return fmt.Errorf("Levels[%d] is %d, want at least 3", i, l)
		case i < f.Dims && l > MaxCodes/codes:
			return fmt.Errorf("Levels %v make more than %d codes", f.Levels[:f.Dims], MaxCodes)
		case i < f.Dims:
			codes *= l
		}
	}
	return nil
}

func (f FSQ) wide(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, f.Tokens, f.Books*f.Dims)
}

func (f FSQ) values() int64 { return int64(f.Tokens) * int64(f.Books) * int64(f.Dims) }

// channel is what a channel's number of levels fixes.
type channel struct {
	radius, offset, shift float64
	half                  float64 // ⌊L/2⌋
	levels                int
}

func (f FSQ) channels() []channel {
	cs := make([]channel, f.Dims)
	for i := range cs {
		l := f.Levels[i]
		c := channel{radius: float64(l-1) * 1.001 / 2, half: float64(l / 2), levels: l}
		if l%2 == 0 {
			c.offset = .5
		}
		c.shift = math.Atanh(c.offset / c.radius)
		cs[i] = c
	}
	return cs
}

// round is m, a whole number from -⌊L/2⌋.
func (c *channel) round(z float32) float64 {
	return math.RoundToEven(math.Tanh(float64(z)+c.shift)*c.radius - c.offset)
}

// slope is the derivative of b/⌊L/2⌋, which is used for that of the code.
func (c *channel) slope(z float32) float64 {
	t := math.Tanh(float64(z) + c.shift)
	return (1 - t*t) * c.radius / c.half
}

// FSQQuantize gives the codes' values. Arguments: q; z, both [Tokens,Books·Dims].
type FSQQuantize struct{ FSQ }

func (s FSQQuantize) Args() []Arg  { return []Arg{s.wide(out, "q"), s.wide(in, "z")} }
func (s FSQQuantize) FLOPs() int64 { return 16 * s.values() }

func (s FSQQuantize) Grads() []Grad {
	return []Grad{grad("z", FSQGrad(s), "dq", "z")}
}

func (s FSQQuantize) Define(args ...[]float32) {
	s.quantize(s.channels(), args[0], args[1])
}

func (f FSQ) quantize(cs []channel, q, z []float32) {
	for i, v := range z {
		c := &cs[i%f.Dims]
		q[i] = float32(c.round(v) / c.half)
	}
}

// FSQGrad is dz = dq·d(b/⌊L/2⌋)/dz: rounding counts as the identity.
// Arguments: dz; dq, z, all [Tokens,Books·Dims].
type FSQGrad struct{ FSQ }

func (s FSQGrad) FLOPs() int64 { return 16 * s.values() }

func (s FSQGrad) Args() []Arg {
	return []Arg{s.wide(out, "dz"), s.wide(in, "dq"), s.wide(in, "z")}
}

func (s FSQGrad) Grads() []Grad { return nil }

func (s FSQGrad) Define(args ...[]float32) {
	s.grad(s.channels(), args[0], args[1], args[2])
}

func (f FSQ) grad(cs []channel, dz, dq, z []float32) {
	for i, v := range z {
		dz[i] = float32(float64(dq[i]) * cs[i%f.Dims].slope(v))
	}
}

// FSQIndex gives the codes' indices. Arguments: idx [Tokens,Books]; z [Tokens,Books·Dims].
type FSQIndex struct{ FSQ }

func (s FSQIndex) Args() []Arg  { return []Arg{out("idx", s.Tokens, s.Books), s.wide(in, "z")} }
func (s FSQIndex) FLOPs() int64 { return 18 * s.values() }

func (s FSQIndex) Grads() []Grad { return nil }

func (s FSQIndex) Define(args ...[]float32) { s.index(s.channels(), args[0], args[1]) }

func (f FSQ) index(cs []channel, idx, z []float32) {
	for n := range idx {
		sum, place := 0., 1.
		for i, v := range z[n*f.Dims:][:f.Dims] {
			c := &cs[i]
			sum += (c.round(v) + c.half) * place
			place *= float64(c.levels)
		}
		idx[n] = float32(sum)
	}
}

// FSQValues gives the values of codes, the inverse of FSQIndex after
// FSQQuantize. Indices are whole and in [0,Codes).
// Arguments: q [Tokens,Books·Dims]; idx [Tokens,Books].
type FSQValues struct{ FSQ }

func (s FSQValues) FLOPs() int64 { return 2 * s.values() }

func (s FSQValues) Args() []Arg {
	return []Arg{s.wide(out, "q"), in("idx", s.Tokens, s.Books)}
}

func (s FSQValues) Grads() []Grad { return nil }

func (s FSQValues) Define(args ...[]float32) { s.lookUp(s.channels(), args[0], args[1]) }

func (f FSQ) lookUp(cs []channel, q, idx []float32) {
	for n, v := range idx {
		rest := int(v)
		for i := range cs {
			c := &cs[i]
			q[n*f.Dims+i] = float32((float64(rest%c.levels) - c.half) / c.half)
			rest /= c.levels
		}
	}
}

// The CPU forms are the definitions on ranges of codes: what they must round the
// same way is computed the same way, and a code is a few numbers of 10,000.

func (f FSQ) perCode(do func(cs []channel, args [][]float32, from, to int)) []stage {
	cs := f.channels()
	return rowwise(f.Tokens*f.Books, 8*f.Dims, func(args [][]float32, from, to int) { do(cs, args, from, to) })
}

func (s FSQQuantize) cpu(*CPU) []stage {
	f := s.FSQ
	return f.perCode(func(cs []channel, args [][]float32, from, to int) {
		from, to = from*f.Dims, to*f.Dims
		f.quantize(cs, args[0][from:to], args[1][from:to])
	})
}

func (s FSQGrad) cpu(*CPU) []stage {
	f := s.FSQ
	return f.perCode(func(cs []channel, args [][]float32, from, to int) {
		from, to = from*f.Dims, to*f.Dims
		f.grad(cs, args[0][from:to], args[1][from:to], args[2][from:to])
	})
}

func (s FSQIndex) cpu(*CPU) []stage {
	f := s.FSQ
	return f.perCode(func(cs []channel, args [][]float32, from, to int) {
		f.index(cs, args[0][from:to], args[1][from*f.Dims:to*f.Dims])
	})
}

func (s FSQValues) cpu(*CPU) []stage {
	f := s.FSQ
	return f.perCode(func(cs []channel, args [][]float32, from, to int) {
		f.lookUp(cs, args[0][from*f.Dims:to*f.Dims], args[1][from:to])
	})
}
