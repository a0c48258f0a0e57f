package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wire generates conversions to and from bfloat16 by integers, which subnormal values survive.
func wire() {
	word := func(bits uint32) reg.VecVirtual {
		v := YMM()
		VPBROADCASTD(ConstData(fmt.Sprintf("w%08x", bits), U32(bits)), v)
		return v
	}
	TEXT("encodeBF16AVX2", NOSPLIT, "func(dst *byte, src *float32, n int)")
	Pragma("noescape")
	Doc("dst = src rounded as by RoundBF16, two bytes each; n is a multiple of 16.")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	half, one, quiet := word(0x7fff), word(1), word(1<<22)
	Label("loop")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	var out [2]reg.VecVirtual
	for i := range out {
		x, rounded, nan, kept := YMM(), YMM(), YMM(), YMM()
		VMOVUPS(Mem{Base: src, Disp: 32 * i}, x)
		VPSRLD(Imm(16), x, rounded)
		VPAND(one, rounded, rounded)
		VPADDD(half, rounded, rounded)
		VPADDD(x, rounded, rounded)
		VCMPPS(Imm(3), x, x, nan) // unordered
		VPOR(quiet, x, kept)
		VBLENDVPS(nan, kept, rounded, rounded)
		VPSRLD(Imm(16), rounded, rounded)
		out[i] = rounded
	}
	VPACKUSDW(out[1], out[0], out[0]) // within each half of the register
	VPERMQ(Imm(0xd8), out[0], out[0])
	VMOVDQU(out[0], Mem{Base: dst})
	ADDQ(Imm(64), src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(16), n)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()

	TEXT("decodeBF16AVX2", NOSPLIT, "func(dst *float32, src *byte, n int)")
	Pragma("noescape")
	Doc("decodeBF16AVX2 is the inverse of encodeBF16AVX2; n is a multiple of 16.")
	to, from, left := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	Label("loop")
	TESTQ(left, left)
	JZ(LabelRef("done"))
	for i := range 2 {
		x := YMM()
		VPMOVZXWD(Mem{Base: from, Disp: 16 * i}, x)
		VPSLLD(Imm(16), x, x)
		VMOVDQU(x, Mem{Base: to, Disp: 32 * i})
	}
	ADDQ(Imm(32), from)
	ADDQ(Imm(64), to)
	SUBQ(Imm(16), left)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}
