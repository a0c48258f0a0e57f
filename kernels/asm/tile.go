package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile generates the product of a few rows and one or two vectors of columns, all
// sums in registers:
//
//	c[i·sc+j] = from[i·sfrom+j] + Σ a[i·sai+p·sak] · b[p·sbk+j]
//
// with p below k, which is at least 1. Strides count values.
//
// Rows are addressed in groups of three by one pointer and {0,1,2}·sai, so that
// twelve rows need four pointers.
func tile(s isa, rows, vectors int) {
	const group = 3
	TEXT(fmt.Sprintf("tile%dx%d%s", rows, vectors*s.bytes/4, s.name), NOSPLIT,
		"func(k int, a *float32, sai, sak int, b *float32, sbk int, from *float32, sfrom int, c *float32, sc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%d rows and %d columns of a product.", rows, vectors*s.bytes/4))

	k := Load(Param("k"), GP64())
	sai, sak, sbk := loadStride("sai"), loadStride("sak"), loadStride("sbk")
	a := []reg.Register{Load(Param("a"), GP64())}
	for len(a)*group < rows {
		next := GP64()
		LEAQ(Mem{Base: a[len(a)-1], Index: sai, Scale: 2}, next)
		ADDQ(sai, next)
		a = append(a, next)
	}
	b := Load(Param("b"), GP64())

	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		for range vectors {
			acc[i] = append(acc[i], s.zero())
		}
	}
	column := make([]reg.VecVirtual, vectors)
	for j := range column {
		column[j] = s.reg()
	}
	row := s.reg()

	Label("loop")
	for j := range column {
		VMOVUPS(Mem{Base: b, Disp: j * s.bytes}, column[j])
	}
	for i := range acc {
		m := Mem{Base: a[i/group]}
		if r := i % group; r > 0 {
			m.Index, m.Scale = sai, uint8(r)
		}
		VBROADCASTSS(m, row)
		for j := range column {
			s.multiplyAdd(column[j], row, acc[i][j])
		}
	}
	for _, p := range a {
		ADDQ(sak, p)
	}
	ADDQ(sbk, b)
	DECQ(k)
	JNZ(LabelRef("loop"))

	from, c := Load(Param("from"), GP64()), Load(Param("c"), GP64())
	sfrom, sc := loadStride("sfrom"), loadStride("sc")
	for i := range acc {
		for j := range column {
			VADDPS(Mem{Base: from, Disp: j * s.bytes}, acc[i][j], acc[i][j])
			VMOVUPS(acc[i][j], Mem{Base: c, Disp: j * s.bytes})
		}
		if i < rows-1 {
			ADDQ(sfrom, from)
			ADDQ(sc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// loadStride returns a stride in bytes.
func loadStride(name string) reg.Register {
	r := Load(Param(name), GP64())
	SHLQ(Imm(2), r)
	return r
}

// peak generates a loop of multiply-adds that touches no memory: twelve
// independent sums, enough to hide the latency of an addition on two ports.
func peak(s isa) {
	const sums = 12
	TEXT("peak"+s.name, NOSPLIT, "func(n int)")
	Doc(fmt.Sprintf("n times %d multiply-adds of vectors of %d values.", sums, s.bytes/4))
	n := Load(Param("n"), GP64())
	acc := make([]reg.VecVirtual, sums)
	for i := range acc {
		acc[i] = s.zero()
	}
	x, y := s.zero(), s.zero()
	Label("loop")
	for i := range acc {
		s.multiplyAdd(x, y, acc[i])
	}
	DECQ(n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
