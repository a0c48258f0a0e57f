package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose generates the transpose of four rows of four values, in each 128-bit lane of vectors.
func transpose(next func() vec, x [4]vec) [4]vec {
	var t, y [4]vec
	for i := range t {
		t[i], y[i] = next(), next()
	}
	VUNPCKLPS(x[1], x[0], t[0])
	VUNPCKHPS(x[1], x[0], t[1])
	VUNPCKLPS(x[3], x[2], t[2])
	VUNPCKHPS(x[3], x[2], t[3])
	VUNPCKLPD(t[2], t[0], y[0])
	VUNPCKHPD(t[2], t[0], y[1])
	VUNPCKLPD(t[3], t[1], y[2])
	VUNPCKHPD(t[3], t[1], y[3])
	return y
}

// quads generates copies between the first four columns of px, whose rows are stride
// apart, and a, b, c and d.
func quads(back bool) {
	name, doc := "quads", "quads copies the first four columns of px, whose rows are stride apart, to a, b, c and d."
	if back {
		name, doc = "quadsBack", "quadsBack copies a, b, c and d to the first four columns of px, whose rows are stride apart."
	}
	TEXT(name+"AVX2", NOSPLIT, "func(a, b, c, d, px []float32, stride int)")
	Pragma("noescape")
	Doc(doc)
	var rows [4]reg.Register
	for i, p := range []string{"a", "b", "c", "d"} {
		rows[i] = Load(Param(p).Base(), GP64())
	}
	px, n := Load(Param("px").Base(), GP64()), Load(Param("a").Len(), GP64())
	step, three := loadStride("stride"), GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, three)
	columns := [4]Mem{{Base: px}, {Base: px, Index: step, Scale: 1}, {Base: px, Index: step, Scale: 2}, {Base: px, Index: three, Scale: 1}}
	Label("fours")
	CMPQ(n, Imm(4))
	JLT(LabelRef("ones"))
	var x [4]reg.VecVirtual
	for i := range x {
		x[i] = XMM()
		if back {
			VMOVUPS(Mem{Base: rows[i]}, x[i])
		} else {
			VMOVUPS(columns[i], x[i])
		}
	}
	for i, y := range transpose(XMM, x) {
		if back {
			VMOVUPS(y, columns[i])
		} else {
			VMOVUPS(y, Mem{Base: rows[i]})
		}
	}
	for _, p := range rows {
		ADDQ(Imm(16), p)
	}
	LEAQ(Mem{Base: px, Index: step, Scale: 4}, px)
	SUBQ(Imm(4), n)
	JMP(LabelRef("fours"))
	Label("ones")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	v := XMM()
	if back {
		VMOVSS(Mem{Base: rows[0]}, v)
		for i := 1; i < 4; i++ {
			VINSERTPS(Imm(uint64(i<<4)), Mem{Base: rows[i]}, v, v)
		}
		VMOVUPS(v, Mem{Base: px})
	} else {
		VMOVUPS(Mem{Base: px}, v)
		for i, p := range rows {
			VEXTRACTPS(Imm(uint64(i)), v, Mem{Base: p})
		}
	}
	for _, p := range rows {
		ADDQ(Imm(4), p)
	}
	ADDQ(step, px)
	DECQ(n)
	JMP(LabelRef("ones"))
	Label("done")
	RET()
}

// thirds generates copies of a line of pixels of a picture: of each deep pixel [3,f] the
// first four columns are four neighbouring wide pixels of three values.
func thirds(back bool) {
	name, doc := "thirds", "thirds copies the first four columns of each of n deep pixels [3,f] to four wide pixels of three values."
	if back {
		name, doc = "thirdsBack", "thirdsBack copies four wide pixels of three values to the first four columns of each of n deep pixels [3,f]."
	}
	TEXT(name+"AVX2", NOSPLIT, "func(wide, deep []float32, n, f int)")
	Pragma("noescape")
	Doc(doc)
	wide, deep := Load(Param("wide").Base(), GP64()), Load(Param("deep").Base(), GP64())
	n, step, pixel := Load(Param("n"), GP64()), loadStride("f"), GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, pixel)
	columns := [3]Mem{{Base: deep}, {Base: deep, Index: step, Scale: 1}, {Base: deep, Index: step, Scale: 2}}
	Label("loop")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	var x [4]reg.VecVirtual
	for i := range x {
		x[i] = XMM()
		at := Mem{Base: wide, Disp: 12 * i}
		switch {
		case back && i < 3:
			VMOVUPS(at, x[i])
		case back: // no further than the pixel
			VMOVSD(at, x[i])
			at.Disp += 8
			VINSERTPS(Imm(2<<4), at, x[i], x[i])
		case i < 3:
			VMOVUPS(columns[i], x[i])
		default:
			VXORPS(x[i], x[i], x[i])
		}
	}
	for i, y := range transpose(XMM, x) {
		at := Mem{Base: wide, Disp: 12 * i}
		switch {
		case back && i < 3:
			VMOVUPS(y, columns[i])
		case back:
		case i < 3: // the fourth value is overwritten by the next pixel
			VMOVUPS(y, at)
		default:
			VMOVLPS(y, at)
			at.Disp += 8
			VEXTRACTPS(Imm(2), y, at)
		}
	}
	ADDQ(Imm(48), wide)
	ADDQ(pixel, deep)
	DECQ(n)
	JMP(LabelRef("loop"))
	Label("done")
	RET()
}
