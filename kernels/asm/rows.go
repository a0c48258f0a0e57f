package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A rowLoop is a loop over the rows of slices [rows,c]. Rows are short: a call for
// each, and a sum that waits for its last addition, would cost more than the work.
type rowLoop struct {
	name, doc string
	results   []string // slices that are written
	sums      []string // or: float64 slices, a sum of each row
	sources   []string // slices that are read
	shared    []string // slices [c], the same for all rows
	each      []string // slices with a value for each row
	// body gets a vector of each source and shared slice, and the row's values.
	body func(s isa, in, each []vec) (out []vec, terms []term)
}

func (l rowLoop) generate(s isa) {
	names := append(append(append(append([]string(nil), l.results...), l.sources...), l.shared...), l.each...)
	sig := "func("
	if len(l.sums) > 0 {
		sig += strings.Join(l.sums, ", ") + " []float64, "
	}
	TEXT(l.name+s.name, NOSPLIT, sig+strings.Join(names, ", ")+" []float32, rows, c int)")
	Pragma("noescape")
	Doc(l.doc)
	load := func(names []string) (ps []reg.Register) {
		for _, n := range names {
			ps = append(ps, Load(Param(n).Base(), GP64()))
		}
		return ps
	}
	results, sums, sources, shared, each := load(l.results), load(l.sums), load(l.sources), load(l.shared), load(l.each)
	c, r, i := Load(Param("c"), GP64()), GP64(), GP64()
	lanes := s.bytes / 4
	rest := GP64()
	MOVQ(c, rest)
	ANDQ(I32(lanes-1), rest)
	m := s.mask(rest)
	XORQ(r, r)
	Label("row")
	CMPQ(r, argument("rows"))
	JGE(LabelRef("done"))
	var values []vec
	for _, p := range each {
		v := s.reg()
		VBROADCASTSS(Mem{Base: p, Index: r, Scale: 4}, v)
		values = append(values, v)
	}
	var acc [][2]vec
	for range sums {
		acc = append(acc, [2]vec{s.zero(), s.zero()})
	}
	once := func(load func(m Mem, v vec), store func(v vec, m Mem), keep func(v vec)) {
		var in []vec
		for _, p := range append(append([]reg.Register(nil), sources...), shared...) {
			v := s.reg()
			load(Mem{Base: p, Index: i, Scale: 4}, v)
			in = append(in, v)
		}
		out, terms := l.body(s, in, values)
		for j, p := range results {
			store(out[j], Mem{Base: p, Index: i, Scale: 4})
		}
		for j, t := range terms {
			keep(t.a)
			s.accumulate(acc[j], t)
		}
	}
	XORQ(i, i)
	full := GP64()
	MOVQ(c, full)
	ANDQ(I32(-lanes), full)
	JZ(LabelRef("tail"))
	Label("column")
	once(func(m Mem, v vec) { VMOVUPS(m, v) }, func(v vec, m Mem) { VMOVUPS(v, m) }, func(vec) {})
	ADDQ(Imm(uint64(lanes)), i)
	CMPQ(i, full)
	JLT(LabelRef("column"))
	Label("tail")
	CMPQ(i, c)
	JGE(LabelRef("next"))
	once(m.load, m.store, m.keep)
	Label("next")
	for j, p := range sums {
		VMOVSD(s.total(acc[j]), Mem{Base: p, Index: r, Scale: 8})
	}
	for _, p := range append(results, sources...) {
		LEAQ(Mem{Base: p, Index: c, Scale: 4}, p)
	}
	INCQ(r)
	JMP(LabelRef("row"))
	Label("done")
	VZEROUPPER()
	RET()
}

// rows generates what norms and pooling do with rows.
func (s isa) rows() {
	x := []string{"x"}
	rowLoop{name: "rowSums", doc: "sums of the rows of x.", sums: []string{"sums"}, sources: x,
		body: func(_ isa, in, _ []vec) ([]vec, []term) { return nil, []term{{in[0], nil}} }}.generate(s)
	rowLoop{name: "rowSquares", doc: "sums of (x-mean)².", sums: []string{"sums"}, sources: x, each: []string{"mean"},
		body: func(_ isa, in, each []vec) ([]vec, []term) {
			VSUBPS(each[0], in[0], in[0])
			return nil, []term{{in[0], in[0]}}
		}}.generate(s)
	rowLoop{name: "rowDots", doc: "sums of x·y.", sums: []string{"xy"}, sources: x, shared: []string{"y"},
		body: func(_ isa, in, _ []vec) ([]vec, []term) { return nil, []term{{in[0], in[1]}} }}.generate(s)
	rowLoop{name: "rowPairs", doc: "sums of x·y and of x·z.", sums: []string{"xy", "xz"}, sources: x, shared: []string{"y", "z"},
		body: func(_ isa, in, _ []vec) ([]vec, []term) { return nil, []term{{in[0], in[1]}, {in[0], in[2]}} }}.generate(s)
	rowLoop{name: "rowAlong", doc: "sums of g = dy·gamma and of g·(x-mean).", sums: []string{"sums", "along"},
		sources: []string{"dy", "x"}, shared: []string{"gamma"}, each: []string{"mean"},
		body: func(_ isa, in, each []vec) ([]vec, []term) {
			VMULPS(in[2], in[0], in[0])
			VSUBPS(each[0], in[1], in[1])
			return nil, []term{{in[0], nil}, {in[0], in[1]}}
		}}.generate(s)
	rowLoop{name: "rowStandardise", doc: "y = (x-mean)·scale·gamma + beta.", results: []string{"y"}, sources: x,
		shared: []string{"gamma", "beta"}, each: []string{"mean", "scale"},
		body: func(_ isa, in, each []vec) ([]vec, []term) {
			VSUBPS(each[0], in[0], in[0])
			VMULPS(each[1], in[0], in[0])
			VFMADD213PS(in[2], in[1], in[0])
			return in[:1], nil
		}}.generate(s)
	rowLoop{name: "rowScale", doc: "y = x·scale·gamma.", results: []string{"y"}, sources: x, shared: []string{"gamma"}, each: []string{"scale"},
		body: func(_ isa, in, each []vec) ([]vec, []term) {
			VMULPS(each[0], in[0], in[0])
			VMULPS(in[1], in[0], in[0])
			return in[:1], nil
		}}.generate(s)
	rowLoop{name: "rowMul", doc: "y = x·g.", results: []string{"y"}, sources: x, shared: []string{"g"},
		body: func(_ isa, in, _ []vec) ([]vec, []term) {
			VMULPS(in[1], in[0], in[0])
			return in[:1], nil
		}}.generate(s)
	rowLoop{name: "rowSlope", doc: "dx = u·dy·gamma + v·(x-mean) + w.", results: []string{"dx"}, sources: []string{"dy", "x"},
		shared: []string{"gamma"}, each: []string{"mean", "u", "v", "w"},
		body: func(_ isa, in, each []vec) ([]vec, []term) {
			VMULPS(in[2], in[0], in[0])
			VSUBPS(each[0], in[1], in[1])
			VFMADD213PS(each[3], each[2], in[1])
			VFMADD213PS(in[1], each[1], in[0])
			return in[:1], nil
		}}.generate(s)
	rowLoop{name: "rowMix", doc: "y = u·a + v·b.", results: []string{"y"}, shared: []string{"a", "b"}, each: []string{"u", "v"},
		body: func(_ isa, in, each []vec) ([]vec, []term) {
			VMULPS(each[0], in[0], in[0])
			VFMADD231PS(each[1], in[1], in[0])
			return in[:1], nil
		}}.generate(s)
}
