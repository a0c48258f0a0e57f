package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// attention generates the softmax of a row of logits, without its division: the exponentials
// and their sum, and for the backward pass also their product with a second row.
func (s isa) attention() {
	s.expRow("expRow", "x = exp((x-greatest)·scale), to 2e-7 for exponents from -87 to 0, and their sum; x is not empty.", false)
	s.expRow("expRowDot", "expRow, and the sum of the results times g.", true)
}

func (s isa) expRow(name, doc string, dot bool) {
	signature := "func(x []float32, scale float32) (sum float32)"
	if dot {
		signature = "func(x, g []float32, scale float32) (sum, dot float32)"
	}
	TEXT(name+s.name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(doc)
	x, n := Load(Param("x").Base(), GP64()), Load(Param("x").Len(), GP64())
	var g reg.Register
	if dot {
		g = Load(Param("g").Base(), GP64())
	}
	lanes := s.bytes / 4
	i, full, rest := GP64(), GP64(), GP64()
	MOVQ(n, full)
	ANDQ(I32(-lanes), full)
	MOVQ(n, rest)
	ANDQ(I32(lanes-1), rest)
	m := s.mask(rest)
	at := func(base reg.Register, vectors int) Mem {
		return Mem{Base: base, Index: i, Scale: 4, Disp: vectors * s.bytes}
	}
	most := s.greatestOf(x, n, full, i, m)

	scale, exp := s.scalar("scale"), s.exp(-87, 0)
	sum, product := s.zero(), s.zero()
	once := func(load, store func(Mem, vec), keep func(vec)) {
		v := s.reg()
		load(at(x, 0), v)
		VSUBPS(most, v, v)
		VMULPS(scale, v, v)
		v = exp(v)
		keep(v)
		store(at(x, 0), v)
		VADDPS(v, sum, sum)
		if dot {
			w := s.reg()
			load(at(g, 0), w)
			VFMADD231PS(w, v, product)
		}
	}
	XORQ(i, i)
	Label("exp")
	CMPQ(i, full)
	JGE(LabelRef("expTail"))
	once(func(from Mem, v vec) { VMOVUPS(from, v) }, func(to Mem, v vec) { VMOVUPS(v, to) }, func(vec) {})
	ADDQ(Imm(uint64(lanes)), i)
	JMP(LabelRef("exp"))
	Label("expTail")
	CMPQ(i, n)
	JGE(LabelRef("done"))
	once(m.load, func(to Mem, v vec) { m.store(v, to) }, m.keep)
	Label("done")
	results := map[string]reg.Register{"sum": s.lanesSum(sum)}
	if dot {
		results["dot"] = s.lanesSum(product)
	}
	VZEROUPPER() // keeps the lower lanes
	for _, name := range []string{"sum", "dot"} {
		if v := results[name]; v != nil {
			Store(v, Return(name))
		}
	}
	RET()
}

// greatestOf is the greatest of the n values at x in every lane; full is n rounded down to
// whole vectors, m the lanes that remain.
func (s isa) greatestOf(x, n, full, i reg.Register, m mask) vec {
	const unrolled = 4 // chains that hide the latency of a maximum
	lanes := s.bytes / 4
	at := func(vectors int) Mem { return Mem{Base: x, Index: i, Scale: 4, Disp: vectors * s.bytes} }
	var most [unrolled]vec
	for k := range most {
		most[k] = s.reg()
		VBROADCASTSS(Mem{Base: x}, most[k])
	}
	blocks := GP64()
	MOVQ(n, blocks)
	ANDQ(I32(-unrolled*lanes), blocks)
	XORQ(i, i)
	Label("greatest4")
	CMPQ(i, blocks)
	JGE(LabelRef("greatest"))
	for k := range most {
		VMAXPS(at(k), most[k], most[k])
	}
	ADDQ(Imm(uint64(unrolled*lanes)), i)
	JMP(LabelRef("greatest4"))
	Label("greatest")
	CMPQ(i, full)
	JGE(LabelRef("greatestTail"))
	VMAXPS(at(0), most[0], most[0])
	ADDQ(Imm(uint64(lanes)), i)
	JMP(LabelRef("greatest"))
	Label("greatestTail")
	CMPQ(i, n)
	JGE(LabelRef("greatestDone"))
	v := s.reg()
	m.load(at(0), v)
	m.replace(v, most[1])
	VMAXPS(v, most[1], most[1])
	Label("greatestDone")
	VMAXPS(most[2], most[0], most[0])
	VMAXPS(most[3], most[1], most[1])
	VMAXPS(most[1], most[0], most[0])
	all := s.reg()
	VBROADCASTSS(s.greatestLane(most[0]), all)
	return all
}
