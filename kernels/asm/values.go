package main

import (
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// arithmetic generates loops of a few operations a value.
func (s isa) arithmetic() {
	one := func(f func(in []vec) vec) func(s isa) func([]vec) ([]vec, []term) {
		return func(isa) func([]vec) ([]vec, []term) {
			return func(in []vec) ([]vec, []term) { return []vec{f(in)}, nil }
		}
	}
	loop{name: "add", doc: "y = a + b.", results: []string{"y"}, sources: []string{"a", "b"}, setup: one(func(in []vec) vec {
		VADDPS(in[1], in[0], in[0])
		return in[0]
	})}.generate(s)
	loop{name: "mulAdd", doc: "y += a·b.", results: []string{"y"}, sources: []string{"y", "a", "b"}, setup: one(func(in []vec) vec {
		VFMADD231PS(in[2], in[1], in[0])
		return in[0]
	})}.generate(s)
	loop{name: "affine", doc: "y = m·x + a.", results: []string{"y"}, sources: []string{"x"}, scalars: []string{"m", "a"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			m, a := s.scalar("m"), s.scalar("a")
			return func(in []vec) ([]vec, []term) {
				VFMADD213PS(a, m, in[0])
				return in[:1], nil
			}
		}}.generate(s)
	loop{name: "axpy", doc: "y += a·x.", results: []string{"y"}, sources: []string{"y", "x"}, scalars: []string{"a"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			a := s.scalar("a")
			return func(in []vec) ([]vec, []term) {
				VFMADD231PS(a, in[1], in[0])
				return in[:1], nil
			}
		}}.generate(s)
	loop{name: "adam", doc: "adam is AdamW.", results: []string{"p", "m", "v", "ema"}, sources: []string{"p", "m", "v", "ema", "g"},
		scalars: append(slices.Clone(adamScalars), "rate"), setup: func(s isa) func([]vec) ([]vec, []term) {
			update, rate := s.adam(), s.lazyScalar("rate")
			return func(in []vec) ([]vec, []term) {
				p, m, v, ema, g := in[0], in[1], in[2], in[3], in[4]
				update(p, m, v, g)
				VSUBPS(ema, p, g)
				VFMADD231PS(rate(), g, ema)
				return in[:4], nil
			}
		}}.generate(s)
	loop{name: "adamAlone", doc: "adamAlone is AdamW that leaves the average.", results: []string{"p", "m", "v"}, sources: []string{"p", "m", "v", "g"},
		scalars: adamScalars, setup: func(s isa) func([]vec) ([]vec, []term) {
			update := s.adam()
			return func(in []vec) ([]vec, []term) {
				update(in[0], in[1], in[2], in[3])
				return in[:3], nil
			}
		}}.generate(s)
}

var adamScalars = []string{"scale", "b1", "c1", "b2", "c2", "root", "eps", "keep", "step"}

// adam is AdamW on parameters and moments; g is lost.
func (s isa) adam() func(p, m, v, g vec) {
	scale, b1, c1, b2, c2 := s.lazyScalar("scale"), s.lazyScalar("b1"), s.lazyScalar("c1"), s.lazyScalar("b2"), s.lazyScalar("c2")
	root, eps, keep, step := s.lazyScalar("root"), s.lazyScalar("eps"), s.lazyScalar("keep"), s.lazyScalar("step")
	return func(p, m, v, g vec) {
		VMULPS(scale(), g, g)
		VMULPS(b1(), m, m)
		VFMADD231PS(c1(), g, m)
		VMULPS(b2(), v, v)
		VMULPS(g, g, g)
		VFMADD231PS(c2(), g, v)
		VSQRTPS(v, g)
		VMULPS(root(), g, g)
		VADDPS(eps(), g, g)
		VDIVPS(g, m, g)
		VMULPS(keep(), p, p)
		VFNMADD231PS(step(), g, p)
	}
}

// sums generates sums of values, and softmax.
func (s isa) sums() {
	loop{name: "sum", doc: "sum of x.", sources: []string{"x"}, sums: []string{"sum"},
		setup: func(isa) func([]vec) ([]vec, []term) {
			return func(in []vec) ([]vec, []term) { return nil, []term{{in[0], nil}} }
		}}.generate(s)
	loop{name: "squares", doc: "sum of (x-mean)².", sources: []string{"x"}, scalars: []string{"mean"}, sums: []string{"sum"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			mean := s.scalar("mean")
			return func(in []vec) ([]vec, []term) {
				VSUBPS(mean, in[0], in[0])
				return nil, []term{{in[0], in[0]}}
			}
		}}.generate(s)
	loop{name: "dot", doc: "sum of x·y.", sources: []string{"x", "y"}, sums: []string{"sum"},
		setup: func(isa) func([]vec) ([]vec, []term) {
			return func(in []vec) ([]vec, []term) { return nil, []term{{in[0], in[1]}} }
		}}.generate(s)
	loop{name: "greatest", doc: "the greatest of x, which is not empty.", sources: []string{"x"}, greatest: "most",
		setup: func(isa) func([]vec) ([]vec, []term) {
			return func([]vec) ([]vec, []term) { return nil, nil }
		}}.generate(s)
	loop{name: "exps", doc: "y = exp((x-most)·scale), to 2e-7 for exponents from -87 to 0, and their sum.",
		results: []string{"y"}, sources: []string{"x"}, scalars: []string{"most", "scale"}, sums: []string{"sum"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			most, scale, exp := s.scalar("most"), s.scalar("scale"), s.exp(-87, 0)
			return func(in []vec) ([]vec, []term) {
				VSUBPS(most, in[0], in[0])
				VMULPS(scale, in[0], in[0])
				y, copied := exp(in[0]), s.reg()
				VMOVAPS(y, copied) // as the term loses its lanes beyond the end
				return []vec{y}, []term{{copied, nil}}
			}
		}}.generate(s)
}

// gates generates GateLoop's steps and GEGLU.
func (s isa) gates() {
	loop{name: "gateStep", doc: "h = sigmoid(a)·h + kv, y = q·h.", results: []string{"h", "y"}, sources: []string{"h", "q", "kv", "a"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			sigmoid := s.sigmoid()
			return func(in []vec) ([]vec, []term) {
				g := sigmoid(in[3])
				VFMADD213PS(in[2], g, in[0])
				VMULPS(in[0], in[1], in[1])
				return in[:2], nil
			}
		}}.generate(s)
	loop{name: "gateBack", doc: "dh = carry + q·dy, dq = h·dy, dkv = dh, da = dh·before·g·(1-g), carry = dh·g, with g = sigmoid(a); dq holds h.",
		results: []string{"carry", "dq", "dkv", "da"}, sources: []string{"carry", "dq", "dy", "q", "a", "before"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			sigmoid, one := s.sigmoid(), s.lazy(1)
			return func(in []vec) ([]vec, []term) {
				dh, h, dy, q, a, before := in[0], in[1], in[2], in[3], in[4], in[5]
				g := sigmoid(a)
				VFMADD231PS(dy, q, dh)
				VMULPS(dy, h, h)
				VSUBPS(g, one(), a)
				VMULPS(g, a, a)
				VMULPS(dh, before, before)
				VMULPS(before, a, a)
				VMULPS(dh, g, g)
				return []vec{g, h, dh, a}, nil
			}
		}}.generate(s)
	loop{name: "geglu", doc: "y = u·GELU(g).", results: []string{"y"}, sources: []string{"u", "g"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			normal := s.normal()
			return func(in []vec) ([]vec, []term) {
				cdf, _ := normal(in[1])
				VMULPS(in[1], cdf, cdf)
				VMULPS(in[0], cdf, cdf)
				return []vec{cdf}, nil
			}
		}}.generate(s)
	loop{name: "gegluGrad", doc: "du = dy·GELU(g), dg = dy·u·GELU'(g).", results: []string{"du", "dg"}, sources: []string{"dy", "u", "g"},
		setup: func(s isa) func([]vec) ([]vec, []term) {
			normal := s.normal()
			return func(in []vec) ([]vec, []term) {
				dy, u, g := in[0], in[1], in[2]
				cdf, density := normal(g)
				VMULPS(dy, u, u)
				VMULPS(g, dy, dy)
				VMULPS(cdf, dy, dy)
				VFMADD213PS(cdf, density, g)
				VMULPS(u, g, g)
				return []vec{dy, g}, nil
			}
		}}.generate(s)
}

// losses generates ReconLoss's errors and their slopes.
func (s isa) losses() {
	sources, scalars := []string{"x", "target", "weight"}, []string{"overshoot"}
	for _, l1 := range []bool{false, true} {
		name, e := "squareError", "(x-target)²"
		if l1 {
			name, e = "absoluteError", "|x-target|"
		}
		loop{name: name, doc: "sum of weight·" + e + ", times overshoot where x is beyond a saturated target.",
			sources: sources, scalars: scalars, sums: []string{"sum"},
			setup: func(s isa) func([]vec) ([]vec, []term) {
				factor, clear := s.factor(), s.lazy(math.Float32frombits(1<<31-1))
				return func(in []vec) ([]vec, []term) {
					d := in[0]
					VSUBPS(in[1], d, d)
					f := factor(d, in[1])
					if l1 {
						VANDPS(clear(), d, d)
					} else {
						VMULPS(d, d, d)
					}
					VMULPS(f, d, d)
					return nil, []term{{in[2], d}}
				}
			}}.generate(s)
		loop{name: name + "Slope", doc: "dx = weight·slope of " + e + ", times overshoot likewise.",
			results: []string{"dx"}, sources: sources, scalars: scalars,
			setup: func(s isa) func([]vec) ([]vec, []term) {
				factor, sign, one := s.factor(), s.lazy(math.Float32frombits(1<<31)), s.lazy(1)
				return func(in []vec) ([]vec, []term) {
					d := in[0]
					VSUBPS(in[1], d, d)
					f := factor(d, in[1])
					VMULPS(in[2], f, f)
					if l1 {
						signed := s.reg()
						VANDPS(sign(), d, signed)
						VORPS(one(), signed, signed)
						const differs = 12 // false for NaN
						s.where(differs, d, s.zero(), signed, d)
					} else {
						VADDPS(d, d, d)
					}
					VMULPS(f, d, d)
					return []vec{d}, nil
				}
			}}.generate(s)
	}
}

// where replaces v by with in the lanes where x compares with y.
func (s isa) where(predicate uint64, x, y, with, v vec) {
	if s.wide() {
		k := K()
		VCMPPS(Imm(predicate), y, x, k)
		VMOVAPS(with, k, v)
		return
	}
	m := s.reg()
	VCMPPS(Imm(predicate), y, x, m)
	VBLENDVPS(m, with, v, v)
}

// factor returns a function that generates overshoot where the difference d leads out
// of [0,1] from a target at its end, else 1.
func (s isa) factor() func(d, target vec) vec {
	overshoot, one, zero := s.scalar("overshoot"), s.lazy(1), s.zero()
	const less, notMore, notLess, greater = 17, 18, 29, 30 // false for NaN
	return func(d, target vec) vec {
		u := one()
		if s.wide() {
			f := s.reg()
			VMOVAPS(u, f)
			low, high := K(), K()
			VCMPPS(Imm(notMore), zero, target, low)
			VCMPPS(Imm(less), zero, d, low, low)
			VCMPPS(Imm(notLess), u, target, high)
			VCMPPS(Imm(greater), zero, d, high, high)
			KORW(low, high, high)
			VMOVAPS(overshoot, high, f)
			return f
		}
		low, high, m := s.reg(), s.reg(), s.reg()
		VCMPPS(Imm(notMore), zero, target, low)
		VCMPPS(Imm(less), zero, d, m)
		VANDPS(m, low, low)
		VCMPPS(Imm(notLess), u, target, high)
		VCMPPS(Imm(greater), zero, d, m)
		VANDPS(m, high, high)
		VORPS(low, high, high)
		VBLENDVPS(high, overshoot, u, u)
		return u
	}
}
