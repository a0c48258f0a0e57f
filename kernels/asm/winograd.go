package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A transform is a linear map of in vectors to out vectors, a matrix of Winograd's. A
// kernel applies it along both dimensions of a matrix [in][in] of vectors and gets one
// [out][out].
type transform struct {
	in, out int
	// wide and narrow are the rows of the first dimension's result that 32 and 16
	// registers hold together.
	wide, narrow [][]int
	// setup loads constants. What it returns emits the wanted results.
	setup func(s isa) func(x input, want func(i int) bool, emit func(i int, v vec))
}

// An input is what a transform reads: get gives vectors not to be written, fresh gives
// copies.
type input struct{ get, fresh func(i int) vec }

func (s isa) groups(t transform) [][]int {
	if s.wide() {
		return t.wide
	}
	return t.narrow
}

func (s isa) plus(a, b vec) vec {
	r := s.reg()
	VADDPS(b, a, r)
	return r
}

func (s isa) minus(a, b vec) vec {
	r := s.reg()
	VSUBPS(b, a, r)
	return r
}

func (s isa) times(f, a vec) vec {
	r := s.reg()
	VMULPS(f, a, r)
	return r
}

// both emits p + f·q and p - f·q as results i and i+1, those that are wanted. It
// overwrites p.
func (s isa) both(i int, p, f, q vec, want func(int) bool, emit func(int, vec)) {
	first := p
	if want(i + 1) {
		first = s.reg()
		VMOVAPS(p, first)
	}
	if want(i) {
		VFMADD231PS(f, q, first)
		emit(i, first)
	}
	if want(i + 1) {
		VFNMADD231PS(f, q, p)
		emit(i+1, p)
	}
}

// The points of F(2×2,3×3) are 0, 1, -1 and ∞.
var (
	input2 = transform{in: 4, out: 4, wide: [][]int{{0, 1, 2, 3}}, narrow: [][]int{{0, 1}, {2, 3}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			return func(x input, want func(int) bool, emit func(int, vec)) {
				for i, d := range [][2]int{{0, 2}, {1, 2}, {2, 1}, {3, 1}} {
					if !want(i) {
						continue
					}
					if i == 1 {
						emit(i, s.plus(x.get(1), x.get(2)))
					} else {
						emit(i, s.minus(x.get(d[0]), x.get(d[1])))
					}
				}
			}
		}}
	output2 = transform{in: 4, out: 2, wide: [][]int{{0, 1}}, narrow: [][]int{{0, 1}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) {
					emit(0, s.plus(s.plus(x.get(0), x.get(1)), x.get(2)))
				}
				if want(1) {
					emit(1, s.plus(s.minus(x.get(1), x.get(2)), x.get(3)))
				}
			}
		}}
	weights2 = transform{in: 3, out: 4, wide: [][]int{{0, 1, 2, 3}}, narrow: [][]int{{0, 1}, {2, 3}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			half := s.lazy(.5)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) {
					emit(0, x.get(0))
				}
				if want(1) || want(2) {
					p := s.plus(x.get(0), x.get(2))
					h := half()
					VMULPS(h, p, p)
					s.both(1, p, h, x.get(1), want, emit)
				}
				if want(3) {
					emit(3, x.get(2))
				}
			}
		}}
	gradOutput2 = transform{in: 2, out: 4, wide: [][]int{{0, 1, 2, 3}}, narrow: [][]int{{0, 1, 2, 3}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			return func(x input, want func(int) bool, emit func(int, vec)) {
				emit(0, x.get(0))
				emit(1, s.plus(x.get(0), x.get(1)))
				emit(2, s.minus(x.get(0), x.get(1)))
				emit(3, x.get(1))
			}
		}}
	gradWeights2 = transform{in: 4, out: 3, wide: [][]int{{0, 1, 2}}, narrow: [][]int{{0, 2}, {1}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			half := s.lazy(.5)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) || want(2) {
					p := s.plus(x.get(1), x.get(2))
					VMULPS(half(), p, p)
					if want(0) {
						emit(0, s.plus(x.get(0), p))
					}
					if want(2) {
						emit(2, s.plus(x.get(3), p))
					}
				}
				if want(1) {
					d := s.minus(x.get(1), x.get(2))
					VMULPS(half(), d, d)
					emit(1, d)
				}
			}
		}}
)

// The points of F(4×4,3×3) are 0, ±a, ±b and ∞ with a = 1/√2 and b = √2.
const (
	pointA = float32(math.Sqrt2 / 2)
	pointB = float32(math.Sqrt2)
)

var (
	input4 = transform{in: 6, out: 6, wide: [][]int{{0, 1, 2}, {3, 4, 5}}, narrow: [][]int{{0}, {1, 2}, {3, 4}, {5}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			two, half, both := s.lazy(2), s.lazy(.5), s.lazy(2.5)
			a, b := s.lazy(pointA), s.lazy(pointB)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) {
					v := s.plus(x.get(0), x.get(4))
					VFNMADD231PS(both(), x.get(2), v)
					emit(0, v)
				}
				pair := func(i int, f func() vec, point func() vec) {
					if !want(i) && !want(i+1) {
						return
					}
					p, q, c := x.fresh(4), x.fresh(3), f()
					VFNMADD231PS(c, x.get(2), p)
					VFNMADD231PS(c, x.get(1), q)
					s.both(i, p, point(), q, want, emit)
				}
				pair(1, two, a)
				pair(3, half, b)
				if want(5) {
					v := s.plus(x.get(1), x.get(5))
					VFNMADD231PS(both(), x.get(3), v)
					emit(5, v)
				}
			}
		}}
	output4 = transform{in: 6, out: 4, wide: [][]int{{0, 2}, {1, 3}}, narrow: [][]int{{0}, {2}, {1}, {3}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			two, half, eight := s.lazy(2), s.lazy(.5), s.lazy(8)
			a, a2 := s.lazy(pointA), s.lazy(pointA/2)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) || want(2) {
					p, q := s.plus(x.get(1), x.get(2)), s.plus(x.get(3), x.get(4))
					if want(0) {
						v := s.plus(x.get(0), p)
						VADDPS(q, v, v)
						emit(0, v)
					}
					if want(2) {
						VMULPS(half(), p, p)
						VFMADD231PS(two(), q, p)
						emit(2, p)
					}
				}
				if want(1) || want(3) {
					p, q := s.minus(x.get(1), x.get(2)), s.minus(x.get(3), x.get(4))
					if want(1) {
						v := s.reg()
						VMOVAPS(p, v)
						VFMADD231PS(two(), q, v)
						VMULPS(a(), v, v)
						emit(1, v)
					}
					if want(3) {
						VFMADD231PS(eight(), q, p)
						VFMADD213PS(x.get(5), a2(), p)
						emit(3, p)
					}
				}
			}
		}}
	weights4 = transform{in: 3, out: 6, wide: [][]int{{0, 1, 2, 3, 4, 5}}, narrow: [][]int{{0}, {1, 2}, {3, 4}, {5}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			twoThirds, third, sixth := s.lazy(-2./3), s.lazy(1./3), s.lazy(1./6)
			a, b := s.lazy(-2*pointA/3), s.lazy(pointB/6)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) {
					emit(0, x.get(0))
				}
				if want(1) || want(2) { // -2/3·x0 - 1/3·x2 ± a·x1
					p := s.times(third(), x.get(2))
					VFMSUB231PS(twoThirds(), x.get(0), p)
					s.both(1, p, a(), x.get(1), want, emit)
				}
				if want(3) || want(4) { // 1/6·x0 + 1/3·x2 ± b·x1
					p := s.times(third(), x.get(2))
					VFMADD231PS(sixth(), x.get(0), p)
					s.both(3, p, b(), x.get(1), want, emit)
				}
				if want(5) {
					emit(5, x.get(2))
				}
			}
		}}
	gradOutput4 = transform{in: 4, out: 6, wide: [][]int{{0, 1, 2}, {3, 4, 5}}, narrow: [][]int{{0}, {1, 2}, {3, 4}, {5}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			two, half := s.lazy(2), s.lazy(.5)
			a, b := s.lazy(pointA), s.lazy(pointB)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) {
					emit(0, x.get(0))
				}
				pair := func(i int, f func() vec, point func() vec) {
					if !want(i) && !want(i+1) {
						return
					}
					p, q, c := x.fresh(0), x.fresh(1), f()
					VFMADD231PS(c, x.get(2), p)
					VFMADD231PS(c, x.get(3), q)
					s.both(i, p, point(), q, want, emit)
				}
				pair(1, half, a)
				pair(3, two, b)
				if want(5) {
					emit(5, x.get(3))
				}
			}
		}}
	gradWeights4 = transform{in: 6, out: 3, wide: [][]int{{0, 1, 2}}, narrow: [][]int{{0}, {1}, {2}},
		setup: func(s isa) func(input, func(int) bool, func(int, vec)) {
			sixth, twoThirds, third := s.lazy(1./6), s.lazy(2./3), s.lazy(1./3)
			a, b := s.lazy(2*pointA/3), s.lazy(pointB/6)
			return func(x input, want func(int) bool, emit func(int, vec)) {
				if want(0) || want(2) {
					p, q := s.plus(x.get(1), x.get(2)), s.plus(x.get(3), x.get(4))
					if want(0) {
						v := x.fresh(0)
						VFNMADD231PS(twoThirds(), p, v)
						VFMADD231PS(sixth(), q, v)
						emit(0, v)
					}
					if want(2) {
						VSUBPS(p, q, q)
						VFMADD213PS(x.get(5), third(), q)
						emit(2, q)
					}
				}
				if want(1) {
					p, q := s.minus(x.get(1), x.get(2)), s.minus(x.get(3), x.get(4))
					VMULPS(a(), p, p)
					VFMSUB231PS(b(), q, p)
					emit(1, p)
				}
			}
		}}
)

// steps are the places of up to six vectors a number of bytes apart.
type steps struct {
	stride, three, five reg.Register
}

func newSteps(stride reg.Register, n int) steps {
	p := steps{stride: stride}
	if n > 3 {
		p.three = GP64()
		LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, p.three)
	}
	if n > 5 {
		p.five = GP64()
		LEAQ(Mem{Base: stride, Index: stride, Scale: 4}, p.five)
	}
	return p
}

func (p steps) at(base reg.Register, i int) Mem {
	switch i {
	case 0:
		return Mem{Base: base}
	case 3:
		return Mem{Base: base, Index: p.three, Scale: 1}
	case 5:
		return Mem{Base: base, Index: p.five, Scale: 1}
	}
	return Mem{Base: base, Index: p.stride, Scale: uint8(i)}
}

// offset returns base + n·stride.
func offset(base, stride reg.Register, n int) reg.Register {
	r := GP64()
	if n == 0 {
		MOVQ(base, r)
		return r
	}
	IMUL3Q(Imm(uint64(n)), stride, r)
	ADDQ(base, r)
	return r
}

// twice generates t along the columns and then along the rows of a matrix: load gives
// the vector in row i of column j; store gets that of the result.
func (s isa) twice(t transform, column func(j int) func(i int) vec, row func(i int) func(j int, v vec)) func() {
	apply := t.setup(s)
	return func() {
		for _, group := range s.groups(t) {
			half := make([][]vec, t.out)
			for _, i := range group {
				half[i] = make([]vec, t.in)
			}
			want := func(i int) bool { return half[i] != nil }
			for j := range t.in {
				load := column(j)
				loaded := map[int]vec{}
				x := input{get: func(i int) vec {
					if loaded[i] == nil {
						loaded[i] = load(i)
					}
					return loaded[i]
				}, fresh: load}
				apply(x, want, func(i int, v vec) { half[i][j] = v })
			}
			for _, i := range group {
				x := input{get: func(j int) vec { return half[i][j] }, fresh: func(j int) vec {
					v := s.reg()
					VMOVAPS(half[i][j], v)
					return v
				}}
				apply(x, func(int) bool { return true }, row(i))
			}
		}
	}
}

// pointed returns the place of value k, in bytes, of the i-th of a list of pointers.
func pointed(list reg.Register, i int, k reg.Register) Mem {
	p := GP64()
	MOVQ(Mem{Base: list, Disp: 8 * i}, p)
	return Mem{Base: p, Index: k, Scale: 1}
}

// channels generates a loop over the values [at,at+n), whose body gets the place of the
// first of a vector in bytes; advance moves pointers by a vector.
func (s isa) channels(body func(k reg.Register), advance func()) {
	k, end := Load(Param("at"), GP64()), Load(Param("n"), GP64())
	SHLQ(Imm(2), k)
	SHLQ(Imm(2), end)
	ADDQ(k, end)
	Label("loop")
	body(k)
	advance()
	ADDQ(Imm(uint64(s.bytes)), k)
	CMPQ(k, end)
	JLT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// toPlanes generates a transform of a tile to planes. Where the tile is one of pixels,
// those of the tile ahead values further are fetched.
func (s isa) toPlanes(name, doc string, t transform) {
	TEXT(name+s.name, NOSPLIT, "func(dst *float32, plane int, src **float32, at, n, ahead int)")
	Pragma("noescape")
	Doc(doc)
	dst, plane, src := Load(Param("dst"), GP64()), loadStride("plane"), Load(Param("src"), GP64())
	planes := newSteps(plane, t.out)
	var k reg.Register
	seen := map[int]bool{}
	var next reg.Register
	var ahead reg.Register
	if t.in > 3 {
		ahead, next = loadStride("ahead"), GP64()
	}
	body := s.twice(t, func(j int) func(i int) vec {
		return func(i int) vec {
			v := s.reg()
			at := pointed(src, i*t.in+j, k)
			VMOVUPS(at, v)
			if ahead != nil && !seen[i*t.in+j] && j >= t.in-4 {
				seen[i*t.in+j] = true
				at.Index, at.Scale = next, 1
				PREFETCHT0(at)
			}
			return v
		}
	}, func(i int) func(int, vec) {
		to := offset(dst, plane, i*t.out)
		return func(j int, v vec) { VMOVUPS(v, planes.at(to, j)) }
	})
	s.channels(func(at reg.Register) {
		k = at
		if ahead != nil {
			LEAQ(Mem{Base: k, Index: ahead, Scale: 1}, next)
		}
		body()
	}, func() { ADDQ(Imm(uint64(s.bytes)), dst) })
}

// fromPlanes generates a transform of planes to a tile. finish makes the value stored as
// the i-th of the result. The pixels of the lists to fetch are fetched for the tile whose
// pixels are ahead values further.
func (s isa) fromPlanes(name, doc, params string, t transform, fetch []string, finish func(s isa) func(i int, k reg.Register, v vec, to Mem)) {
	TEXT(name+s.name, NOSPLIT, "func(dst **float32, src *float32, plane int"+params+", at, n, ahead int)")
	Pragma("noescape")
	Doc(doc)
	src, plane, dst := Load(Param("src"), GP64()), loadStride("plane"), Load(Param("dst"), GP64())
	down := GP64()
	IMUL3Q(Imm(uint64(t.in)), plane, down)
	planes := newSteps(down, t.in)
	var k reg.Register
	last := finish(s)
	body := s.twice(t, func(j int) func(i int) vec {
		from := offset(src, plane, j)
		return func(i int) vec {
			v := s.reg()
			VMOVUPS(planes.at(from, i), v)
			return v
		}
	}, func(i int) func(int, vec) {
		return func(j int, v vec) { last(i*t.out+j, k, v, pointed(dst, i*t.out+j, k)) }
	})
	s.channels(func(at reg.Register) {
		k = at
		next := loadStride("ahead")
		ADDQ(k, next)
		for _, list := range fetch {
			pixels := Load(Param(list), GP64())
			for i := range t.out * t.out {
				PREFETCHT0(pointed(pixels, i, next))
			}
		}
		body()
	}, func() { ADDQ(Imm(uint64(s.bytes)), src) })
}

// winograd generates the transforms of F(2×2,3×3) and F(4×4,3×3).
func (s isa) winograd() {
	s.few = true // registers: the transforms take them
	for _, f := range []struct {
		m                                               int
		input, gradOutput, weights, output, gradWeights transform
	}{{2, input2, gradOutput2, weights2, output2, gradWeights2}, {4, input4, gradOutput4, weights4, output4, gradWeights4}} {
		name := func(what string) string { return fmt.Sprintf("winograd%d%s", f.m, what) }
		constants := s
		constants.few = !s.wide()
		constants.toPlanes(name("Input"), "the transform Bᵀ·d·B of a tile of the input.", f.input)
		constants.toPlanes(name("GradOutput"), "the transform A·dy·Aᵀ of a tile of the output's gradient.", f.gradOutput)
		constants.toPlanes(name("Weights"), "the transform G·g·Gᵀ of weights.", f.weights)
		constants.fromPlanes(name("GradWeights"), "adds the transform Gᵀ·m·G to gradients of weights.", "", f.gradWeights, []string{"dst"},
			func(s isa) func(int, reg.Register, vec, Mem) {
				return func(i int, k reg.Register, v vec, to Mem) {
					r := s.reg()
					VADDPS(to, v, r)
					VMOVUPS(r, to)
				}
			})
		const forward, back = ", bias *float32, r **float32", ", r, s **float32"
		finish := func(act func(s isa) func(vec) vec) func(s isa) func(int, reg.Register, vec, Mem) {
			return func(s isa) func(int, reg.Register, vec, Mem) {
				bias, r := Load(Param("bias"), GP64()), Load(Param("r"), GP64())
				apply := act(s)
				return func(i int, k reg.Register, v vec, to Mem) {
					u := s.reg()
					VADDPS(Mem{Base: bias, Index: k, Scale: 1}, v, u)
					u = apply(u)
					VADDPS(pointed(r, i, k), u, u)
					VMOVUPS(u, to)
				}
			}
		}
		s.fromPlanes(name("Output"), "the output Aᵀ·m·A + bias + r.", forward, f.output, []string{"dst"}, finish(func(isa) func(vec) vec { return func(v vec) vec { return v } }))
		s.fromPlanes(name("OutputELU"), "the output ELU(Aᵀ·m·A + bias) + r.", forward, f.output, []string{"dst"}, finish(isa.elu))
		s.fromPlanes(name("OutputELUSlope"), "the output (Aᵀ·m·A + r)·ELU' by ELU's output s.", back, f.output, []string{"dst", "s"},
			func(s isa) func(int, reg.Register, vec, Mem) {
				r, by := Load(Param("r"), GP64()), Load(Param("s"), GP64())
				slope := s.eluSlope()
				return func(i int, k reg.Register, v vec, to Mem) {
					u, y := s.reg(), s.reg()
					VADDPS(pointed(r, i, k), v, u)
					VMOVUPS(pointed(by, i, k), y)
					f := slope(y)
					VMULPS(u, f, f)
					VMOVUPS(f, to)
				}
			})
	}
}
