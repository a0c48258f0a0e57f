package main

import (
	"fmt"
	"math"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pointwise generates a loop over n values of vectors, n a multiple of the vector's
// size and not zero. The loop's body gets one vector of each source and returns the
// result's; setup runs before the loop and loads constants.
func pointwise(s isa, name, doc string, sources []string, setup func() (body func(in []reg.VecVirtual) reg.VecVirtual)) {
	TEXT(name+s.name, NOSPLIT, "func(dst, "+strings.Join(sources, ", ")+" *float32, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s; n is a multiple of %d, at least that.", doc, s.bytes/4))
	dst := Load(Param("dst"), GP64())
	var src []reg.Register
	for _, p := range sources {
		src = append(src, Load(Param(p), GP64()))
	}
	n := Load(Param("n"), GP64())
	body := setup()
	Label("loop")
	var in []reg.VecVirtual
	for _, p := range src {
		v := s.reg()
		VMOVUPS(Mem{Base: p}, v)
		in = append(in, v)
	}
	VMOVUPS(body(in), Mem{Base: dst})
	for _, p := range append(src, dst) {
		ADDQ(Imm(uint64(s.bytes)), p)
	}
	SUBQ(Imm(uint64(s.bytes/4)), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// expm1 returns a function that generates scale = 2^m and part with
// e^x - 1 = scale·part + (scale-1), for x clamped to [lo,hi] inside ±87; a NaN stays
// one. m = round(x/ln 2), part is the Taylor sum to the seventh degree of e^r-1 at
// r = x - m·ln 2, |r| <= ln 2/2, where the rest is below 2e-8 of it.
func expm1(s isa, lo, hi float32) func(x reg.VecVirtual) (scale, part reg.VecVirtual) {
	min, max := s.constant(lo), s.constant(hi)
	log2e, one := s.constant(math.Log2E), s.constant(1)
	ln2hi := s.constant(math.Ln2)
	ln2lo := s.constant(float32(math.Ln2 - float64(float32(math.Ln2))))
	coefficients := []float64{1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 1. / 2}
	var taylor []reg.VecVirtual
	if s.wide() { // sixteen registers would not hold them
		for _, c := range coefficients {
			taylor = append(taylor, s.constant(float32(c)))
		}
	}
	return func(x reg.VecVirtual) (scale, part reg.VecVirtual) {
		v, m, r := s.reg(), s.reg(), s.reg()
		VMINPS(x, max, v) // a NaN in the first operand is the result
		VMAXPS(v, min, v)
		VMULPS(v, log2e, m)
		const nearest, noException = 0, 8
		if s.wide() {
			VRNDSCALEPS(Imm(nearest|noException), m, m)
		} else {
			VROUNDPS(Imm(nearest|noException), m, m)
		}
		VMOVAPS(v, r)
		VFNMADD231PS(ln2hi, m, r)
		VFNMADD231PS(ln2lo, m, r)
		part = s.reg()
		for i, c := range coefficients {
			var term reg.VecVirtual
			if s.wide() {
				term = taylor[i]
			} else {
				term = s.constant(float32(c))
			}
			if i == 0 {
				VMOVAPS(term, part)
			} else {
				VFMADD213PS(term, r, part)
			}
		}
		VMULPS(r, part, part) // part = (e^r-1-r)/r
		VFMADD213PS(r, r, part)
		scale = s.reg()
		if s.wide() {
			VSCALEFPS(m, one, scale)
		} else {
			VCVTPS2DQ(m, scale)
			VPSLLD(Imm(23), scale, scale)
			VPADDD(one, scale, scale) // adds m to the exponent of 1
		}
		return scale, part
	}
}

// elu generates y = x for x > 0 and e^x-1 elsewhere.
func elu(s isa) {
	pointwise(s, "elu", "dst = ELU(x)", []string{"x"}, func() func([]reg.VecVirtual) reg.VecVirtual {
		exp := expm1(s, -87, 0)
		one, zero := s.constant(1), s.zero()
		return func(in []reg.VecVirtual) reg.VecVirtual {
			x := in[0]
			scale, part := exp(x)
			bias := s.reg()
			VSUBPS(one, scale, bias)
			VFMADD213PS(bias, scale, part)
			s.keepPositive(x, x, zero, part)
			return part
		}
	})
}

// eluGrad generates dx = dy·(y > 0 ? 1 : y+1), y = ELU(x).
func eluGrad(s isa) {
	pointwise(s, "eluGrad", "dst = dy·ELU'(x) by the output y of ELU", []string{"dy", "y"}, func() func([]reg.VecVirtual) reg.VecVirtual {
		one, zero := s.constant(1), s.zero()
		return func(in []reg.VecVirtual) reg.VecVirtual {
			dy, y := in[0], in[1]
			slope := s.reg()
			VADDPS(one, y, slope)
			s.keepPositive(y, one, zero, slope)
			VMULPS(dy, slope, slope)
			return slope
		}
	})
}

// silu generates y = x·p with p = 1/(1+e^-x).
func silu(s isa) {
	pointwise(s, "silu", "dst = SiLU(x)", []string{"x"}, func() func([]reg.VecVirtual) reg.VecVirtual {
		p, _ := sigmoid(s)
		return func(in []reg.VecVirtual) reg.VecVirtual {
			y := p(in[0])
			VMULPS(in[0], y, y)
			return y
		}
	})
}

// siluGrad generates dx = dy·p·(1+x·(1-p)) with p = 1/(1+e^-x).
func siluGrad(s isa) {
	pointwise(s, "siluGrad", "dst = dy·SiLU'(x)", []string{"dy", "x"}, func() func([]reg.VecVirtual) reg.VecVirtual {
		sigma, one := sigmoid(s)
		return func(in []reg.VecVirtual) reg.VecVirtual {
			dy, x := in[0], in[1]
			p, q := sigma(x), s.reg()
			VSUBPS(p, one, q)
			VFMADD213PS(one, x, q)
			VMULPS(p, q, q)
			VMULPS(dy, q, q)
			return q
		}
	})
}

// sigmoid returns a function that generates 1/(1+e^-x), and a vector of ones.
func sigmoid(s isa) (p func(x reg.VecVirtual) reg.VecVirtual, one reg.VecVirtual) {
	exp := expm1(s, -87, 87)
	one, zero := s.constant(1), s.zero()
	return func(x reg.VecVirtual) reg.VecVirtual {
		minus := s.reg()
		VSUBPS(x, zero, minus)
		scale, part := exp(minus)
		VFMADD213PS(scale, scale, part) // e^-x
		VADDPS(one, part, part)
		VDIVPS(part, one, part)
		return part
	}, one
}

// keepPositive replaces v by with in the lanes where x > 0.
func (s isa) keepPositive(x, with, zero, v reg.VecVirtual) {
	const greater = 14 // ordered comparison: false for NaN
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
