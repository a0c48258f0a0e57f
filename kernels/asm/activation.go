package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// lazy returns a function that gives a value in every lane: from a register, or from
// memory each time where there are few.
func (s isa) lazy(v float32) func() vec {
	if !s.few {
		r := s.constant(v)
		return func() vec { return r }
	}
	return func() vec { return s.constant(v) }
}

// lazyZero returns a function that gives a vector of zeros: one register with AVX-512,
// where avo takes what is cleared for read.
func (s isa) lazyZero() func() vec {
	if s.wide() {
		r := s.zero()
		return func() vec { return r }
	}
	return s.zero
}

// lazyScalar is lazy for a parameter.
func (s isa) lazyScalar(name string) func() vec {
	if !s.few {
		r := s.scalar(name)
		return func() vec { return r }
	}
	return func() vec { return s.scalar(name) }
}

// horner generates the polynomial in x with the coefficients, the highest first.
func (s isa) horner(coefficients ...float64) func(x vec) vec {
	var c []func() vec
	for _, v := range coefficients {
		c = append(c, s.lazy(float32(v)))
	}
	return func(x vec) vec {
		p := s.reg()
		VMOVAPS(c[0](), p)
		for _, term := range c[1:] {
			VFMADD213PS(term(), x, p)
		}
		return p
	}
}

// expm1 returns a function that generates scale = 2^m and part with
// e^x - 1 = scale·part + (scale-1), for x clamped to [lo,hi] inside ±87; a NaN stays
// one. m = round(x/ln 2), part is the Taylor sum to the seventh degree of e^r-1 at
// r = x - m·ln 2, |r| <= ln 2/2, where the rest is below 2e-8 of it.
func (s isa) expm1(lo, hi float32) func(x vec) (scale, part vec) {
	min, max := s.lazy(lo), s.lazy(hi)
	log2e, one := s.lazy(math.Log2E), s.lazy(1)
	ln2hi, ln2lo := s.lazy(math.Ln2), s.lazy(float32(math.Ln2-float64(float32(math.Ln2))))
	taylor := s.horner(1./5040, 1./720, 1./120, 1./24, 1./6, 1./2)
	return func(x vec) (scale, part vec) {
		v, m, r := s.reg(), s.reg(), s.reg()
		VMINPS(x, max(), v) // a NaN in the first operand is the result
		VMAXPS(v, min(), v)
		VMULPS(log2e(), v, m)
		const nearest, noException = 0, 8
		if s.wide() {
			VRNDSCALEPS(Imm(nearest|noException), m, m)
		} else {
			VROUNDPS(Imm(nearest|noException), m, m)
		}
		VMOVAPS(v, r)
		VFNMADD231PS(ln2hi(), m, r)
		VFNMADD231PS(ln2lo(), m, r)
		part = taylor(r)
		VMULPS(r, part, part) // part = (e^r-1-r)/r
		VFMADD213PS(r, r, part)
		scale = s.reg()
		if s.wide() {
			VSCALEFPS(m, one(), scale)
		} else {
			VCVTPS2DQ(m, scale)
			VPSLLD(Imm(23), scale, scale)
			VPADDD(one(), scale, scale) // adds m to the exponent of 1
		}
		return scale, part
	}
}

// exp returns a function that generates e^x, x clamped as in expm1.
func (s isa) exp(lo, hi float32) func(x vec) vec {
	parts := s.expm1(lo, hi)
	return func(x vec) vec {
		scale, part := parts(x)
		VFMADD213PS(scale, scale, part)
		return part
	}
}

// sigmoid returns a function that generates 1/(1+e^-x).
func (s isa) sigmoid() func(x vec) vec {
	exp, one := s.exp(-87, 87), s.lazy(1)
	return func(x vec) vec {
		minus := s.zero()
		VSUBPS(x, minus, minus)
		e, u := exp(minus), one()
		VADDPS(u, e, e)
		VDIVPS(e, u, e)
		return e
	}
}

// normal returns a function that generates the normal distribution at x and its
// density: with e = exp(-x²/2) and t = 1/(1+.3|x|), that of -|x| is e·t·P(t), P fitted
// to 1.3e-7 relative for |x| < 13.
func (s isa) normal() func(x vec) (cdf, density vec) {
	exp, one, slope, minusHalf := s.exp(-87, 0), s.lazy(1), s.lazy(.3), s.lazy(-.5)
	clear, root := s.lazy(math.Float32frombits(1<<31-1)), s.lazy(float32(1/math.Sqrt(2*math.Pi)))
	few := s
	few.few = true // two polynomials do not fit
	tail := few.horner(.03603845137, -.1587222031, .2089787627, -.05610835922, .1298497425, .09952121977, .1208171777, .1196251475)
	return func(x vec) (cdf, density vec) {
		h := s.reg()
		VMULPS(minusHalf(), x, h)
		VMULPS(x, h, h)
		e, t, u := exp(h), s.reg(), one()
		VANDPS(clear(), x, t)
		VFMADD213PS(u, slope(), t)
		VDIVPS(t, u, t)
		cdf = tail(t)
		VMULPS(t, cdf, cdf)
		VMULPS(e, cdf, cdf)
		above := s.reg()
		VSUBPS(cdf, u, above)
		s.keepPositive(x, above, s.zero(), cdf)
		VMULPS(root(), e, e)
		return cdf, e
	}
}

// keepPositive replaces v by with in the lanes where x > 0.
func (s isa) keepPositive(x, with, zero, v vec) {
	const greater = 30 // false for NaN
	if s.wide() {
		k := K()
		VCMPPS(Imm(greater), zero, x, k)
		VMOVAPS(with, k, v)
		return
	}
	m := s.reg()
	VCMPPS(Imm(greater), zero, x, m)
	VBLENDVPS(m, with, v, v)
}

// elu returns a function that generates ELU.
func (s isa) elu() func(x vec) vec {
	exp, one, zero := s.expm1(-87, 0), s.lazy(1), s.lazyZero()
	return func(x vec) vec {
		scale, part := exp(x)
		bias := s.reg()
		VSUBPS(one(), scale, bias)
		VFMADD213PS(bias, scale, part)
		s.keepPositive(x, x, zero(), part)
		return part
	}
}

// eluSlope returns a function that generates ELU' by the output y of ELU.
func (s isa) eluSlope() func(y vec) vec {
	one, zero := s.lazy(1), s.lazyZero()
	return func(y vec) vec {
		slope, u := s.reg(), one()
		VADDPS(u, y, slope)
		s.keepPositive(y, u, zero(), slope)
		return slope
	}
}

// each generates functions of a single source or of two.
func (s isa) each(name, doc string, sources []string, setup func(s isa) func(in []vec) vec) {
	loop{name: name, doc: doc, results: []string{"dst"}, sources: sources, setup: func(s isa) func(in []vec) ([]vec, []term) {
		body := setup(s)
		return func(in []vec) ([]vec, []term) { return []vec{body(in)}, nil }
	}}.generate(s)
}

// activations generates those of package kernels and their slopes.
func (s isa) activations() {
	x, back := []string{"x"}, []string{"dy", "s"}
	s.each("elu", "dst = ELU(x), to 2e-7 relative.", x, func(s isa) func([]vec) vec {
		elu := s.elu()
		return func(in []vec) vec { return elu(in[0]) }
	})
	s.each("eluGrad", "dst = dy·ELU'(x) by the output s of ELU.", back, func(s isa) func([]vec) vec {
		slope := s.eluSlope()
		return func(in []vec) vec {
			f := slope(in[1])
			VMULPS(in[0], f, f)
			return f
		}
	})
	s.each("silu", "dst = SiLU(x), to 2e-7 relative.", x, func(s isa) func([]vec) vec {
		sigmoid := s.sigmoid()
		return func(in []vec) vec {
			y := sigmoid(in[0])
			VMULPS(in[0], y, y)
			return y
		}
	})
	s.each("siluGrad", "dst = dy·SiLU'(s).", back, func(s isa) func([]vec) vec { // p·(1+x·(1-p))
		sigmoid, one := s.sigmoid(), s.lazy(1)
		return func(in []vec) vec {
			p, q, u := sigmoid(in[1]), s.reg(), one()
			VSUBPS(p, u, q)
			VFMADD213PS(u, in[1], q)
			VMULPS(p, q, q)
			VMULPS(in[0], q, q)
			return q
		}
	})
	s.each("leaky", "dst = LeakyReLU(x).", x, func(s isa) func([]vec) vec {
		leak := s.lazy(.1)
		return func(in []vec) vec {
			y := s.reg()
			VMULPS(leak(), in[0], y)
			VMAXPS(in[0], y, y)
			return y
		}
	})
	s.each("leakyGrad", "dst = dy·LeakyReLU'(x) by its output s.", back, func(s isa) func([]vec) vec {
		leak := s.lazy(.1)
		return func(in []vec) vec {
			dx := s.reg()
			VMULPS(leak(), in[0], dx)
			s.keepPositive(in[1], in[0], s.zero(), dx)
			return dx
		}
	})
	s.each("sigmoid", "dst = 1/(1+exp(-x)), to 2e-7 relative.", x, func(s isa) func([]vec) vec {
		sigmoid := s.sigmoid()
		return func(in []vec) vec { return sigmoid(in[0]) }
	})
	s.each("sigmoidGrad", "dst = dy·s·(1-s).", back, func(s isa) func([]vec) vec {
		one := s.lazy(1)
		return func(in []vec) vec {
			dx := s.reg()
			VSUBPS(in[1], one(), dx)
			VMULPS(in[1], dx, dx)
			VMULPS(in[0], dx, dx)
			return dx
		}
	})
	s.each("tanh", "dst = tanh(x), to 3e-7 relative.", x, func(s isa) func([]vec) vec { // e/(e+2) with e = exp(2x)-1
		exp, one := s.expm1(-20, 20), s.lazy(1) // tanh(10) rounds to 1
		return func(in []vec) vec {
			twice, bias, u := s.reg(), s.reg(), one()
			VADDPS(in[0], in[0], twice)
			scale, e := exp(twice)
			VSUBPS(u, scale, bias)
			VFMADD213PS(bias, scale, e)
			VADDPS(u, e, bias)
			VADDPS(u, bias, bias)
			VDIVPS(bias, e, e)
			return e
		}
	})
	s.each("tanhGrad", "dst = dy·(1-s²).", back, func(s isa) func([]vec) vec {
		one := s.lazy(1)
		return func(in []vec) vec {
			dx := s.reg()
			VMOVAPS(in[1], dx)
			VFNMADD213PS(one(), in[1], dx)
			VMULPS(in[0], dx, dx)
			return dx
		}
	})
	s.each("gelu", "dst = x·Φ(x), to 5e-7·(1+x²/8) relative.", x, func(s isa) func([]vec) vec {
		normal := s.normal()
		return func(in []vec) vec {
			y, _ := normal(in[0])
			VMULPS(in[0], y, y)
			return y
		}
	})
	s.each("geluGrad", "dst = dy·(Φ(s) + s·Φ'(s)).", back, func(s isa) func([]vec) vec {
		normal := s.normal()
		return func(in []vec) vec {
			cdf, density := normal(in[1])
			VFMADD231PS(in[1], density, cdf)
			VMULPS(in[0], cdf, cdf)
			return cdf
		}
	})
}
