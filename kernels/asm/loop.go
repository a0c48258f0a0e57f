package main

import (
	"slices"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type vec = reg.VecVirtual

// A loop goes over slices of float32 of one length, a vector at a time, and over what
// is left with a mask, so that each value's result does not depend on its place. The
// length is that of the first slice.
type loop struct {
	name, doc string
	results   []string // slices that are written
	sources   []string // slices that are read; may name results
	scalars   []string // float32 parameters, after the slices
	sums      []string // float64 results of the function
	greatest  string   // or: a float32 result, the greatest of the values
	// setup runs before the loop and loads constants. The body gets a vector of each
	// source and returns one for each result and one term for each sum.
	setup func(s isa) (body func(in []vec) (out []vec, terms []term))
}

// A term adds a, or in float64 a·b, to a sum.
type term struct{ a, b vec }

// signature of the function.
func (l loop) signature() string {
	names := slices.Clone(l.results)
	for _, n := range l.sources {
		if !slices.Contains(l.results, n) {
			names = append(names, n)
		}
	}
	sig := "func(" + strings.Join(names, ", ") + " []float32"
	if len(l.scalars) > 0 {
		sig += ", " + strings.Join(l.scalars, ", ") + " float32"
	}
	sig += ")"
	if len(l.sums) > 0 {
		sig += " (" + strings.Join(l.sums, ", ") + " float64)"
	} else if l.greatest != "" {
		sig += " (" + l.greatest + " float32)"
	}
	return sig
}

// generate writes the function for an instruction set.
func (l loop) generate(s isa) {
	TEXT(l.name+s.name, NOSPLIT, l.signature())
	Pragma("noescape")
	Doc(l.doc)
	pointers := map[string]reg.Register{}
	first := ""
	for _, n := range slices.Concat(l.results, l.sources) {
		if pointers[n] == nil {
			pointers[n] = Load(Param(n).Base(), GP64())
		}
		if first == "" {
			first = n
		}
	}
	n := Load(Param(first).Len(), GP64())
	body := l.setup(s)
	var sums [][2]vec // of the lower and upper half of a vector
	for range l.sums {
		sums = append(sums, [2]vec{s.zero(), s.zero()})
	}
	var greatest vec
	if l.greatest != "" {
		greatest = s.reg()
		VBROADCASTSS(Mem{Base: pointers[first]}, greatest)
	}
	i, end := GP64(), GP64()
	XORQ(i, i)
	MOVQ(n, end)
	ANDQ(I32(-s.bytes/4), end)
	JZ(LabelRef("tail"))
	at := func(name string) Mem { return Mem{Base: pointers[name], Index: i, Scale: 4} }
	once := func(load func(m Mem, v vec), store func(v vec, m Mem), keep func(v vec), blend func(v vec)) {
		var in []vec
		for _, name := range l.sources {
			v := s.reg()
			load(at(name), v)
			in = append(in, v)
		}
		out, terms := body(in)
		for j, name := range l.results {
			store(out[j], at(name))
		}
		for j, t := range terms {
			keep(t.a)
			s.accumulate(sums[j], t)
		}
		if greatest != nil {
			blend(in[0])
			VMAXPS(in[0], greatest, greatest)
		}
	}
	Label("loop")
	once(func(m Mem, v vec) { VMOVUPS(m, v) }, func(v vec, m Mem) { VMOVUPS(v, m) }, func(vec) {}, func(vec) {})
	ADDQ(Imm(uint64(s.bytes/4)), i)
	CMPQ(i, end)
	JLT(LabelRef("loop"))
	Label("tail")
	SUBQ(i, n)
	JZ(LabelRef("done"))
	m := s.mask(n)
	once(m.load, m.store, m.keep, func(v vec) { m.replace(v, greatest) })
	Label("done")
	values := map[string]reg.Register{}
	for j, name := range l.sums {
		values[name] = s.total(sums[j])
	}
	if greatest != nil {
		values[l.greatest] = s.greatestLane(greatest)
	}
	VZEROUPPER() // keeps the lower lanes
	for _, name := range append(l.sums, l.greatest) {
		if v := values[name]; v != nil {
			Store(v, Return(name))
		}
	}
	RET()
}

// accumulate adds a term to the sums of a vector's halves.
func (s isa) accumulate(sum [2]vec, t term) {
	for half := range sum {
		a := s.widen(t.a, half)
		switch {
		case t.b == nil:
			VADDPD(a, sum[half], sum[half])
		case t.b == t.a:
			VFMADD231PD(a, a, sum[half])
		default:
			VFMADD231PD(s.widen(t.b, half), a, sum[half])
		}
	}
}

// widen gives the lower or upper half of a vector in float64.
func (s isa) widen(v vec, half int) vec {
	d := s.reg()
	if s.wide() {
		part := v.(reg.Vec).AsY()
		if half == 1 {
			high := YMM()
			VEXTRACTF64X4(Imm(1), v, high)
			part = high
		}
		VCVTPS2PD(part, d)
		return d
	}
	part := v.(reg.Vec).AsX()
	if half == 1 {
		high := XMM()
		VEXTRACTF128(Imm(1), v, high)
		part = high
	}
	VCVTPS2PD(part, d)
	return d
}

// total is the sum of all lanes of both halves.
func (s isa) total(sum [2]vec) reg.Register {
	VADDPD(sum[1], sum[0], sum[0])
	y := sum[0].(reg.Vec).AsY()
	if s.wide() {
		high := YMM()
		VEXTRACTF64X4(Imm(1), sum[0], high)
		VADDPD(high, y, y)
	}
	x, high := sum[0].(reg.Vec).AsX(), XMM()
	VEXTRACTF128(Imm(1), y, high)
	VADDPD(high, x, x)
	VUNPCKHPD(x, x, high)
	VADDSD(high, x, x)
	return x
}

// greatestLane is the greatest value of a vector.
func (s isa) greatestLane(v vec) reg.Register {
	y := v.(reg.Vec).AsY()
	if s.wide() {
		high := YMM()
		VEXTRACTF64X4(Imm(1), v, high)
		VMAXPS(high, y, y)
	}
	x, high := v.(reg.Vec).AsX(), XMM()
	VEXTRACTF128(Imm(1), y, high)
	VMAXPS(high, x, x)
	VUNPCKHPD(x, x, high)
	VMAXPS(high, x, x)
	VMOVSHDUP(x, high)
	VMAXSS(high, x, x)
	return x
}

// A mask selects the leading lanes of a vector.
type mask struct {
	isa
	k reg.Register // AVX-512
	v vec          // AVX2
}

// mask selects n lanes, n less than a vector's.
func (s isa) mask(n reg.Register) mask {
	if s.wide() {
		ones, k := GP64(), K()
		MOVQ(I64(-1), ones)
		BZHIQ(n, ones, ones)
		KMOVW(ones.As32(), k)
		return mask{isa: s, k: k}
	}
	table, v := GP64(), s.reg()
	LEAQ(maskTable(), table)
	NEGQ(n)
	VMOVDQU(Mem{Base: table, Disp: 32, Index: n, Scale: 4}, v)
	return mask{isa: s, v: v}
}

var maskTables *Mem

// maskTable is eight lanes of ones and eight of zeros.
func maskTable() Mem {
	if maskTables == nil {
		m := GLOBL("lanes", RODATA|NOPTR)
		for i := range 16 {
			v := U32(0)
			if i < 8 {
				v = U32(1<<32 - 1)
			}
			DATA(4*i, v)
		}
		maskTables = &m
	}
	return *maskTables
}

func (m mask) load(from Mem, v vec) {
	if m.wide() {
		VMOVUPS_Z(from, m.k, v)
	} else {
		VMASKMOVPS(from, m.v, v)
	}
}

func (m mask) store(v vec, to Mem) {
	if m.wide() {
		VMOVUPS(v, m.k, to)
	} else {
		VMASKMOVPS(v, m.v, to)
	}
}

// keep clears the other lanes.
func (m mask) keep(v vec) {
	if m.wide() {
		VMOVAPS_Z(v, m.k, v)
	} else {
		VANDPS(m.v, v, v)
	}
}

// replace puts those of other into the other lanes.
func (m mask) replace(v, other vec) {
	if m.wide() {
		VBLENDMPS(v, other, m.k, v)
	} else {
		VBLENDVPS(m.v, v, other, v)
	}
}

// scalar is a parameter in every lane.
func (s isa) scalar(name string) vec {
	v := s.reg()
	VBROADCASTSS(argument(name), v)
	return v
}
