package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// attention generates the softmax of attention and its slopes. A query is a column of logits,
// so that a vector has a logit of each of its queries.
func (s isa) attention() {
	s.softmaxColumns()
	for _, vectors := range []int{2, 1} {
		s.weights(vectors)
	}
	if s.wide() {
		s.querySums()
	}
	s.transposed()
}

// exp2 returns a function that generates 2^x, for x from -126 to 127; below it is 2^-126, and a
// NaN stays one. With m = floor(x), 2^(x-m) is a polynomial of the fifth degree, fitted on [0,1]
// to 8.3e-8 relative.
func (s isa) exp2() func(x vec) vec {
	least, most := s.lazy(-126), s.lazy(127)
	fitted := s.horner(.001867130515, .009017028846, .05579991266, .2401644439, .6931512952, 1)
	const floor, noException = 1, 8
	return func(x vec) vec {
		v, r := s.reg(), s.reg()
		VMAXPS(x, least(), v) // a NaN in the first operand is the result
		if s.wide() {
			VREDUCEPS(Imm(floor|noException), v, r)
			p := fitted(r)
			VSCALEFPS(v, p, p)
			return p
		}
		VMINPS(v, most(), v)
		m := s.reg()
		VROUNDPS(Imm(floor|noException), v, m)
		VSUBPS(m, v, r)
		p := fitted(r)
		VCVTPS2DQ(m, m)
		VPSLLD(Imm(23), m, m)
		VPADDD(m, p, p) // adds m to the exponent
		return p
	}
}

// weightStride is the distance of the rows of weights and slopes: queryBlock of package kernels.
const weightStride = 64

// weights generates the softmax's weights p of some columns and the slopes ds of their logits,
// in tiles of which each is a product, and what becomes of its sums while they are in registers.
// Constants are in memory: all registers hold sums.
func (s isa) weights(vectors int) {
	rows, group := 12, 4
	if s.few {
		rows = 4
	}
	TEXT(fmt.Sprintf("weights%d%s", vectors*s.bytes/4, s.name), NOSPLIT, "func(p, ds, k, v, q, dy, lse, mean *float32, count, dim, ld int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("p = 2^(k·q + lse), to 2e-7 for exponents from -126 to 127, ds = p·(v·dy + mean): count times %d rows of %d columns.", rows, vectors*s.bytes/4),
		fmt.Sprintf("Rows of p and ds are %d values apart, of k and v dim, of q and dy ld.", weightStride))
	p, ds := Load(Param("p"), GP64()), Load(Param("ds"), GP64())
	k, v := Load(Param("k"), GP64()), Load(Param("v"), GP64())
	dim, ld := loadStride("dim"), loadStride("ld")
	dim3 := GP64()
	LEAQ(Mem{Base: dim, Index: dim, Scale: 2}, dim3)
	few := s
	few.few = true
	exp2 := few.exp2()
	sums := make([][]vec, rows)
	for i := range sums {
		for range vectors {
			sums[i] = append(sums[i], s.reg())
		}
	}
	product := func(left reg.Register, right string) {
		for i := range sums {
			for _, v := range sums[i] {
				s.clear(v)
			}
		}
		column, row := []vec{}, s.reg()
		for range vectors {
			column = append(column, s.reg())
		}
		var a []reg.Register
		for len(a)*group < rows {
			a = append(a, GP64())
		}
		MOVQ(left, a[0])
		for i := range a[1:] {
			LEAQ(Mem{Base: a[i], Index: dim, Scale: uint8(group)}, a[i+1])
		}
		b, n := Load(Param(right), GP64()), Load(Param("dim"), GP64())
		Label(right + "Product")
		s.addProducts(sums, rowPointers{a, group, dim, dim3}, b, column, row)
		for _, p := range a {
			ADDQ(Imm(4), p)
		}
		ADDQ(ld, b)
		DECQ(n)
		JNZ(LabelRef(right + "Product"))
	}
	Label("tile")
	lse := GP64()
	product(k, "q")
	Load(Param("lse"), lse)
	to := GP64()
	MOVQ(p, to)
	for i := range sums {
		for j, x := range sums[i] {
			VADDPS(Mem{Base: lse, Disp: j * s.bytes}, x, x)
			VMOVUPS(exp2(x), Mem{Base: to, Disp: j * s.bytes})
		}
		ADDQ(I32(4*weightStride), to)
	}
	product(v, "dy")
	mean, from := Load(Param("mean"), GP64()), GP64()
	MOVQ(p, from)
	for i := range sums {
		for j, x := range sums[i] {
			VADDPS(Mem{Base: mean, Disp: j * s.bytes}, x, x)
			VMULPS(Mem{Base: from, Disp: j * s.bytes}, x, x)
			VMOVUPS(x, Mem{Base: ds, Disp: j * s.bytes})
		}
		ADDQ(I32(4*weightStride), from)
		ADDQ(I32(4*weightStride), ds)
	}
	MOVQ(from, p)
	below := GP64()
	IMUL3Q(Imm(uint64(rows)), dim, below)
	ADDQ(below, k)
	ADDQ(below, v)
	DECQ(argument("count"))
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// querySums generates tiles of sums over queries. A tile of one vector of columns needs as many
// values of w as it makes multiply-adds; as the distance of their rows is a constant, these read
// them themselves.
func (s isa) querySums() {
	const rows = 12
	TEXT("querySums"+s.name, NOSPLIT, "func(sums, w, x *float32, count, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("sums += w·x: count times %d rows of w, %d values apart, of which n count, x [n,%d].", rows, weightStride, s.bytes/4))
	sums, w, count, n := Load(Param("sums"), GP64()), Load(Param("w"), GP64()), Load(Param("count"), GP64()), Load(Param("n"), GP64())
	var acc []vec
	for range rows {
		acc = append(acc, s.reg())
	}
	column, x, at, left := s.reg(), GP64(), GP64(), GP64()
	Label("tile")
	for _, v := range acc {
		s.clear(v)
	}
	Load(Param("x"), x)
	MOVQ(w, at)
	MOVQ(n, left)
	Label("query")
	VMOVUPS(Mem{Base: x}, column)
	for i, v := range acc {
		VFMADD231PS_BCST(Mem{Base: at, Disp: 4 * weightStride * i}, column, v)
	}
	ADDQ(Imm(4), at)
	ADDQ(Imm(uint64(s.bytes)), x)
	DECQ(left)
	JNZ(LabelRef("query"))
	for i, v := range acc {
		VADDPS(Mem{Base: sums, Disp: i * s.bytes}, v, v)
		VMOVUPS(v, Mem{Base: sums, Disp: i * s.bytes})
	}
	ADDQ(I32(int32(rows*s.bytes)), sums)
	ADDQ(I32(4*weightStride*rows), w)
	DECQ(count)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// softmaxColumns generates a step of an online softmax.
func (s isa) softmaxColumns() {
	const unrolled = 4 // chains that hide the latency of a maximum
	lanes := s.bytes / 4
	TEXT("softmaxColumns"+s.name, NOSPLIT, "func(x, most, total, factor []float32, rows, c int)")
	Pragma("noescape")
	Doc("For each column of x [rows,c]: most becomes the greatest of it and x, factor = 2^(most before-most), x = 2^(x-most), total = factor·total + Σ x. c is a multiple of the lanes.")
	x, most := Load(Param("x").Base(), GP64()), Load(Param("most").Base(), GP64())
	total, factor := Load(Param("total").Base(), GP64()), Load(Param("factor").Base(), GP64())
	rows, c, stride := Load(Param("rows"), GP64()), Load(Param("c"), GP64()), loadStride("c")
	stride3, full := GP64(), GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	MOVQ(rows, full)
	ANDQ(I32(-unrolled), full)
	exp2 := s.exp2()
	i, r, p := GP64(), GP64(), GP64()
	before, high, sum := s.reg(), [unrolled]vec{}, s.reg()
	for k := range high {
		high[k] = s.reg()
	}
	XORQ(i, i)
	Label("column")
	CMPQ(i, c)
	JGE(LabelRef("done"))
	LEAQ(Mem{Base: x, Index: i, Scale: 4}, p)
	VMOVUPS(Mem{Base: most, Index: i, Scale: 4}, before)
	for k := range high {
		VMOVAPS(before, high[k])
	}
	XORQ(r, r)
	Label("greatest4")
	CMPQ(r, full)
	JGE(LabelRef("greatest"))
	VMAXPS(Mem{Base: p}, high[0], high[0])
	VMAXPS(Mem{Base: p, Index: stride, Scale: 1}, high[1], high[1])
	VMAXPS(Mem{Base: p, Index: stride, Scale: 2}, high[2], high[2])
	VMAXPS(Mem{Base: p, Index: stride3, Scale: 1}, high[3], high[3])
	LEAQ(Mem{Base: p, Index: stride, Scale: 4}, p)
	ADDQ(Imm(unrolled), r)
	JMP(LabelRef("greatest4"))
	Label("greatest")
	CMPQ(r, rows)
	JGE(LabelRef("greatestDone"))
	VMAXPS(Mem{Base: p}, high[0], high[0])
	ADDQ(stride, p)
	INCQ(r)
	JMP(LabelRef("greatest"))
	Label("greatestDone")
	VMAXPS(high[2], high[0], high[0])
	VMAXPS(high[3], high[1], high[1])
	VMAXPS(high[1], high[0], high[0])
	VMOVUPS(high[0], Mem{Base: most, Index: i, Scale: 4})
	VSUBPS(high[0], before, before)
	f := exp2(before)
	VMOVUPS(f, Mem{Base: factor, Index: i, Scale: 4})
	VMULPS(Mem{Base: total, Index: i, Scale: 4}, f, sum)
	LEAQ(Mem{Base: x, Index: i, Scale: 4}, p)
	XORQ(r, r)
	Label("exp")
	CMPQ(r, rows)
	JGE(LabelRef("next"))
	v := s.reg()
	VMOVUPS(Mem{Base: p}, v)
	VSUBPS(high[0], v, v)
	e := exp2(v)
	VMOVUPS(e, Mem{Base: p})
	VADDPS(e, sum, sum)
	ADDQ(stride, p)
	INCQ(r)
	JMP(LabelRef("exp"))
	Label("next")
	VMOVUPS(sum, Mem{Base: total, Index: i, Scale: 4})
	ADDQ(Imm(uint64(lanes)), i)
	JMP(LabelRef("column"))
	Label("done")
	VZEROUPPER()
	RET()
}

// transposed generates the copy of a matrix with rows and columns exchanged: by squares of a
// vector's rows, and what is left by gathers.
func (s isa) transposed() {
	lanes := s.bytes / 4
	TEXT("transposed"+s.name, NOSPLIT, "func(y []float32, ldy int, x []float32, ldx, rows, cols int, m float32)")
	Pragma("noescape")
	Doc("y[j·ldy+i] = m·x[i·ldx+j] for i < rows, j < cols, of which there are at least 1.")
	y, x := Load(Param("y").Base(), GP64()), Load(Param("x").Base(), GP64())
	ldy, ldx := loadStride("ldy"), Load(Param("ldx"), GP64())
	rows, cols := Load(Param("rows"), GP64()), Load(Param("cols"), GP64())
	factor, index, low := s.scalar("m"), s.reg(), XMM()
	VMOVD(ldx.(reg.GP).As32(), low)
	VPBROADCASTD(low, index)
	VPMULLD(laneNumbers(), index, index)
	n, count, from, to, j := GP64(), GP64(), GP64(), GP64(), GP64()
	Label("rows")
	MOVQ(rows, n)
	MOVQ(x, from)
	MOVQ(y, to)
	MOVQ(cols, j)
	CMPQ(n, Imm(uint64(lanes)))
	JLT(LabelRef("some"))
	MOVQ(U64(lanes), n)
	Label("squares")
	CMPQ(j, Imm(uint64(lanes)))
	JLT(LabelRef("some"))
	s.square(from, ldx, to, ldy, factor)
	ADDQ(Imm(uint64(s.bytes)), from)
	SUBQ(Imm(uint64(lanes)), j)
	JMP(LabelRef("squares"))
	Label("some")
	TESTQ(j, j)
	JZ(LabelRef("next"))
	MOVQ(n, count)
	m := s.mask(count)
	Label("column")
	v := s.zero()
	m.gather(Mem{Base: from, Index: index, Scale: 4}, v)
	VMULPS(factor, v, v)
	m.store(v, Mem{Base: to})
	ADDQ(Imm(4), from)
	ADDQ(ldy, to)
	DECQ(j)
	JNZ(LabelRef("column"))
	Label("next")
	ADDQ(Imm(uint64(s.bytes)), y)
	MOVQ(ldx, from)
	IMULQ(n, from)
	LEAQ(Mem{Base: x, Index: from, Scale: 4}, x)
	SUBQ(n, rows)
	JNZ(LabelRef("rows"))
	VZEROUPPER()
	RET()
}

// square generates the transpose of a square as wide as a vector, times a factor; to moves on by its
// columns. ldx counts values, ldy bytes.
func (s isa) square(x, ldx, to, ldy reg.Register, factor vec) {
	lanes := s.bytes / 4
	from, step := GP64(), GP64()
	MOVQ(x, from)
	MOVQ(ldx, step)
	SHLQ(Imm(2), step)
	down := newSteps(step, 4)
	fours := make([][4]vec, lanes/4) // of four rows: lane l of vector c has column 4·l+c
	for g := range fours {
		var v [4]vec
		for i := range v {
			v[i] = s.reg()
			VMOVUPS(down.at(from, i), v[i])
		}
		fours[g] = transpose(s.reg, v)
		if g < len(fours)-1 {
			LEAQ(Mem{Base: from, Index: step, Scale: 4}, from)
		}
	}
	var apart reg.Register = GP64() // of columns of neighbouring lanes
	MOVQ(ldy, apart)
	SHLQ(Imm(2), apart)
	across := newSteps(apart, len(fours))
	for c := range 4 {
		var v []vec
		for _, f := range fours {
			v = append(v, f[c])
		}
		for l, column := range s.lanes(v) {
			VMULPS(factor, column, column)
			VMOVUPS(column, across.at(to, l))
		}
		ADDQ(ldy, to)
	}
	if s.wide() {
		apart = across.three
	}
	ADDQ(apart, to)
}

// lanes generates the transpose of the 128-bit lanes of as many vectors.
func (s isa) lanes(v []vec) []vec {
	pair := func(order uint64, a, b vec) vec {
		r := s.reg()
		if s.wide() {
			VSHUFF32X4(Imm(order), b, a, r)
		} else {
			VPERM2F128(Imm(order), b, a, r)
		}
		return r
	}
	if !s.wide() {
		return []vec{pair(0x20, v[0], v[1]), pair(0x31, v[0], v[1])}
	}
	const even, odd = 0x88, 0xdd // lanes of each of the two
	evens, odds := [2]vec{}, [2]vec{}
	for i := range evens {
		evens[i], odds[i] = pair(even, v[2*i], v[2*i+1]), pair(odd, v[2*i], v[2*i+1])
	}
	return []vec{pair(even, evens[0], evens[1]), pair(even, odds[0], odds[1]), pair(odd, evens[0], evens[1]), pair(odd, odds[0], odds[1])}
}

// gather loads values at a vector of addresses.
func (m mask) gather(from Mem, v vec) {
	if m.wide() {
		k := K() // a gather clears its mask
		KMOVW(m.k, k)
		VGATHERDPS(from, k, v)
		return
	}
	k := m.reg()
	VMOVAPS(m.v, k)
	VGATHERDPS(k, from, v)
}

var laneTable *Mem

// laneNumbers is a vector of the integers from 0.
func laneNumbers() Mem {
	if laneTable == nil {
		m := GLOBL("numbers", RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, U32(i))
		}
		laneTable = &m
	}
	return *laneTable
}
