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
	each      []string // slices with a value for each row, after the sources
	body      func(s isa, in, each []vec) term
}

func (l columnLoop) generate(s isa) {
	sig := "func(sums []float64"
	for _, n := range l.sources {
		sig += ", " + n
	}
	for _, n := range l.each {
		sig += ", " + n
	}
	TEXT(l.name+s.name, NOSPLIT, sig+" []float32, rows, c int)")
	Pragma("noescape")
	Doc(l.doc)
	sums := Load(Param("sums").Base(), GP64())
	var src []reg.Register
	for _, n := range l.sources {
		src = append(src, Load(Param(n).Base(), GP64()))
	}
	var each []reg.Register
	for _, n := range l.each {
		each = append(each, Load(Param(n).Base(), GP64()))
	}
	rows, c := Load(Param("rows"), GP64()), Load(Param("c"), GP64())
	lanes := s.bytes / 4
	full, rest, i := GP64(), GP64(), GP64()
	MOVQ(c, full)
	ANDQ(I32(-lanes), full)
	MOVQ(c, rest)
	SUBQ(full, rest)
	m := s.mask(rest)
	TESTQ(rows, rows)
	JZ(LabelRef("done"))
	Label("row")
	var values []vec
	for _, p := range each {
		v := s.reg()
		VBROADCASTSS(Mem{Base: p}, v)
		ADDQ(Imm(4), p)
		values = append(values, v)
	}
	XORQ(i, i)
	once := func(load func(m Mem, v vec)) {
		var in []vec
		for _, p := range src {
			v := s.reg()
			load(Mem{Base: p, Index: i, Scale: 4}, v)
			in = append(in, v)
		}
		t := l.body(s, in, values)
		for half := range 2 {
			at := Mem{Base: sums, Index: i, Scale: 8, Disp: half * s.bytes}
			a := s.widen(t.a, half)
			switch {
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
		body: func(_ isa, in, _ []vec) term { return term{in[0], nil} }}.generate(s)
	columnLoop{name: "weighRows", doc: "sums += weight·row of x.", sources: []string{"x"}, each: []string{"weight"},
		body: func(_ isa, in, each []vec) term { return term{in[0], each[0]} }}.generate(s)
	columnLoop{name: "mulRows", doc: "sums += the rows of a·b.", sources: []string{"a", "b"},
		body: func(_ isa, in, _ []vec) term { return term{in[0], in[1]} }}.generate(s)
	columnLoop{name: "normRows", doc: "sums += the rows of dy·((x-mean)·scale).", sources: []string{"dy", "x"}, each: []string{"mean", "scale"},
		body: func(_ isa, in, each []vec) term {
			VSUBPS(each[0], in[1], in[1])
			VMULPS(each[1], in[1], in[1])
			return term{in[0], in[1]}
		}}.generate(s)
}
