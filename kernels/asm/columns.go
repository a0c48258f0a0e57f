package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A column loop adds the rows of slices [rows,c] to float64 sums, c by c. The sums
// have room for whole vectors: lanes beyond c get 0.
type columnLoop struct {
	name, doc string
	sources   []string
	scalars   []string // float32 parameters, the same for all rows
	weights   bool     // weights of the rows, after the sources
	setup     func(s isa) func(in []vec) term
}

func (l columnLoop) generate(s isa) {
	sig := "func(sums []float64"
	for _, n := range l.sources {
		sig += ", " + n
	}
	if l.weights {
		sig += ", weights"
	}
	sig += " []float32"
	sig += ", rows, c int"
	for _, n := range l.scalars {
		sig += ", " + n + " float32"
	}
	TEXT(l.name+s.name, NOSPLIT, sig+")")
	Pragma("noescape")
	Doc(l.doc)
	sums := Load(Param("sums").Base(), GP64())
	var src []reg.Register
	for _, n := range l.sources {
		src = append(src, Load(Param(n).Base(), GP64()))
	}
	weight := reg.Register(nil)
	if l.weights {
		weight = Load(Param("weights").Base(), GP64())
	}
	rows, c := Load(Param("rows"), GP64()), Load(Param("c"), GP64())
	body := l.setup(s)
	lanes := s.bytes / 4
	full, rest, i := GP64(), GP64(), GP64()
	MOVQ(c, full)
	ANDQ(I32(-lanes), full)
	MOVQ(c, rest)
	SUBQ(full, rest)
	m := s.mask(rest)
	TESTQ(rows, rows)
	JZ(LabelRef("done"))
	wide := s.reg()
	Label("row")
	if l.weights {
		VBROADCASTSS(Mem{Base: weight}, wide)
		wide = s.widen(wide, 0)
		ADDQ(Imm(4), weight)
	}
	XORQ(i, i)
	once := func(load func(m Mem, v vec)) {
		var in []vec
		for _, p := range src {
			v := s.reg()
			load(Mem{Base: p, Index: i, Scale: 4}, v)
			in = append(in, v)
		}
		t := body(in)
		for half := range 2 {
			at := Mem{Base: sums, Index: i, Scale: 8, Disp: half * s.bytes}
			a := s.widen(t.a, half)
			switch {
			case l.weights:
				VFMADD213PD(at, wide, a)
			case t.b != nil:
				VFMADD213PD(at, s.widen(t.b, half), a)
			default:
				VADDPD(at, a, a)
			}
			VMOVUPD(a, at)
		}
	}
	CMPQ(i, full)
	JGE(LabelRef("tail"))
	Label("column")
	once(func(m Mem, v vec) { VMOVUPS(m, v) })
	ADDQ(Imm(uint64(lanes)), i)
	CMPQ(i, full)
	JLT(LabelRef("column"))
	Label("tail")
	CMPQ(i, c)
	JGE(LabelRef("next"))
	once(m.load)
	Label("next")
	for _, p := range src {
		LEAQ(Mem{Base: p, Index: c, Scale: 4}, p)
	}
	DECQ(rows)
	JNZ(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

// columns generates sums over rows.
func (s isa) columns() {
	columnLoop{name: "addRows", doc: "sums += the rows of x.", sources: []string{"x"},
		setup: func(isa) func([]vec) term { return func(in []vec) term { return term{in[0], nil} } }}.generate(s)
	columnLoop{name: "weighRows", doc: "sums += weight·row of x.", sources: []string{"x"}, weights: true,
		setup: func(isa) func([]vec) term { return func(in []vec) term { return term{in[0], nil} } }}.generate(s)
	columnLoop{name: "mulRows", doc: "sums += the rows of a·b.", sources: []string{"a", "b"},
		setup: func(isa) func([]vec) term { return func(in []vec) term { return term{in[0], in[1]} } }}.generate(s)
	columnLoop{name: "normRows", doc: "sums += the rows of dy·((x-mean)·scale).", sources: []string{"dy", "x"}, scalars: []string{"mean", "scale"},
		setup: func(s isa) func([]vec) term {
			mean, scale := s.scalar("mean"), s.scalar("scale")
			return func(in []vec) term {
				VSUBPS(mean, in[1], in[1])
				VMULPS(scale, in[1], in[1])
				return term{in[0], in[1]}
			}
		}}.generate(s)
}
