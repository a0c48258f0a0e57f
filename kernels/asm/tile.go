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
//	c[i·sc+j] = from[i·sfrom+j] + Σ a[i,p] · b[p·sbk+j]
//
// The sum is over n segments, which say where their rows of a and of b start and
// how many p they have, at least 1; without segments it is over k of them.
//
// Rows of a come in groups of neighbours sai bytes apart; the second and third group
// lie d1 and d2 bytes after the first. So twelve rows need three pointers, and rows
// may belong to different lines of a picture.
//
// With each p it fetches a cache line to L2, from next on, fetch bytes apart: what a later
// product reads.
//
// It makes count such tiles, one below the other.
func tile(s isa, rows, vectors int) {
	group := s.bytes / 16 // a third of the highest tile
	TEXT(fmt.Sprintf("tile%dx%d%s", rows, vectors*s.bytes/4, s.name), NOSPLIT,
		"func(count int, segments *int, n, k int, a *float32, d1, d2, sai, sak int, b *float32, sbk int, from *float32, sfrom int, c *float32, sc int, next *float32, fetch int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("count times %d rows and %d columns of a product.", rows, vectors*s.bytes/4))

	sai, sak, sbk := Load(Param("sai"), GP64()), Load(Param("sak"), GP64()), loadStride("sbk")
	var sai3 reg.Register
	if rows > 3 && group > 3 {
		sai3 = GP64()
		LEAQ(Mem{Base: sai, Index: sai, Scale: 2}, sai3)
	}
	next, fetch := Load(Param("next"), GP64()), Load(Param("fetch"), GP64())

	Label("tile")
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

	segments, n, k := Load(Param("segments"), GP64()), Load(Param("n"), GP64()), Load(Param("k"), GP64())
	a := []reg.Register{Load(Param("a"), GP64())}
	b := Load(Param("b"), GP64())
	others := func() {
		for _, d := range []string{"d1", "d2"}[:len(a)-1] {
			i := int(d[1] - '0')
			Load(Param(d), a[i])
			ADDQ(a[0], a[i])
		}
	}
	for len(a)*group < rows {
		a = append(a, GP64())
	}
	TESTQ(segments, segments)
	JNZ(LabelRef("segment"))
	others()

	Label("loop")
	PREFETCHT1(Mem{Base: next})
	s.addProducts(acc, rowPointers{a, group, sai, sai3}, b, column, row)
	for _, p := range a {
		ADDQ(sak, p)
	}
	ADDQ(sbk, b)
	ADDQ(fetch, next)
	DECQ(k)
	JNZ(LabelRef("loop"))
	DECQ(n)
	JZ(LabelRef("store"))

	Label("segment")
	Load(Param("a"), a[0])
	ADDQ(Mem{Base: segments}, a[0])
	others()
	MOVQ(Mem{Base: segments, Disp: 8}, b)
	IMULQ(sbk, b)
	skip := Load(Param("b"), GP64())
	ADDQ(skip, b)
	MOVQ(Mem{Base: segments, Disp: 16}, k)
	ADDQ(Imm(24), segments)
	JMP(LabelRef("loop"))

	Label("store")
	from, c := Load(Param("from"), GP64()), Load(Param("c"), GP64())
	sfrom, sc := loadStride("sfrom"), loadStride("sc")
	for i := range acc {
		for j := range column {
			VADDPS(Mem{Base: from, Disp: j * s.bytes}, acc[i][j], acc[i][j])
			VMOVUPS(acc[i][j], Mem{Base: c, Disp: j * s.bytes})
		}
		ADDQ(sfrom, from)
		ADDQ(sc, c)
	}
	DECQ(argument("count"))
	JZ(LabelRef("done"))
	below := GP64()
	IMUL3Q(Imm(uint64(rows)), sai, below)
	ADDQ(below, argument("a"))
	MOVQ(from, argument("from"))
	MOVQ(c, argument("c"))
	JMP(LabelRef("tile"))
	Label("done")
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

// rowPointers are the addresses of the rows of a product's first factor: groups of them, sai
// bytes apart, of which a has the first. sai3 is three times sai, nil in groups of up to three.
type rowPointers struct {
	a         []reg.Register
	group     int
	sai, sai3 reg.Register
}

// at is the operand of row i.
func (p rowPointers) at(i int) Mem {
	m := Mem{Base: p.a[i/p.group]}
	switch r := i % p.group; r {
	case 0:
	case 3:
		m.Index, m.Scale = p.sai3, 1
	default:
		m.Index, m.Scale = p.sai, uint8(r)
	}
	return m
}

// addProducts generates sums[i][j] += a_i·b_j of a value of each row and the vectors at b, which
// it loads to column; row is for the values.
func (s isa) addProducts(sums [][]reg.VecVirtual, rows rowPointers, b reg.Register, column []reg.VecVirtual, row reg.VecVirtual) {
	for j := range column {
		VMOVUPS(Mem{Base: b, Disp: j * s.bytes}, column[j])
	}
	for i := range sums {
		VBROADCASTSS(rows.at(i), row)
		for j := range column {
			s.multiplyAdd(column[j], row, sums[i][j])
		}
	}
}

// argument is where an argument is in memory.
func argument(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}
