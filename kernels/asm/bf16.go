package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"strconv"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bf16 is AVX-512 with products of pairs of bfloat16: where another set's tile has
// a float32, this one's has two bfloat16 that are neighbours along the sum.
var bf16 = isa{"BF16", 64, ZMM, false}

// bfloat16 generates the loops that need AVX512_BF16.
func bfloat16() {
	for _, vectors := range []int{2, 1} {
		for _, rows := range []int{12, 8, 4, 2, 1} {
			tile(bf16, rows, vectors)
		}
	}
	peak(bf16)
	packRow()
	packRows()
	Generate()
	encode(flag.Lookup("out").Value.String())
}

// multiplyAdd generates sum += x·y, for bfloat16 the sum of the products of both halves.
func (s isa) multiplyAdd(x, y, sum reg.VecVirtual) {
	if s.name != bf16.name {
		VFMADD231PS(x, y, sum)
		return
	}
	three("VDPBF16PS", x, y, sum, sum)
}

// packRow generates dst[i] = bfloat16(src[i]).
func packRow() {
	TEXT("packRowBF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	Doc("dst = src rounded to bfloat16, ties to even, subnormal values to zero; n is at least 1.")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	tail := rest(n)
	eachVector(n, tail, func(mask reg.OpmaskVirtual) {
		x, y := ZMM(), YMM()
		load(Mem{Base: src}, mask, x)
		Instruction(&ir.Instruction{Opcode: "VCVTNEPS2BF16", Operands: []Op{x, y}, Inputs: []Op{x}, Outputs: []Op{y}})
		if mask == nil {
			VMOVDQU16(y, Mem{Base: dst})
		} else {
			VMOVDQU16(y, mask, Mem{Base: dst})
		}
		ADDQ(Imm(64), src)
		ADDQ(Imm(32), dst)
	})
	VZEROUPPER()
	RET()
}

// packRows generates dst[2i] = bfloat16(a[i]), dst[2i+1] = bfloat16(b[i]), for
// several rows.
func packRows() {
	GLOBL("pairs", attr.RODATA|attr.NOPTR)
	for i := range 16 {
		DATA(4*i, U32(i|(16+i)<<16))
	}
	TEXT("packRowsBF16", NOSPLIT, "func(dst *uint16, a, b *float32, n, count, step int)")
	Pragma("noescape")
	Doc("Each of count rows of dst is n values of a and of b, in turn, rounded as by packRowBF16;",
		"rows of a and of b are step bytes apart. n and count are at least 1.")
	dst, a, b, count, step := Load(Param("dst"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("count"), GP64()), Load(Param("step"), GP64())
	length := Load(Param("n"), GP64())
	tail := rest(length)
	order := ZMM()
	VMOVDQU32(NewDataAddr(Symbol{Name: "pairs", Static: true}, 0), order)
	Label("row")
	n, left, right := GP64(), GP64(), GP64()
	MOVQ(length, n)
	MOVQ(a, left)
	MOVQ(b, right)
	eachVector(n, tail, func(mask reg.OpmaskVirtual) {
		x, y := ZMM(), ZMM()
		load(Mem{Base: left}, mask, x)
		load(Mem{Base: right}, mask, y)
		three("VCVTNE2PS2BF16", x, y, y) // the first operand becomes the lower half
		VPERMW(y, order, y)
		if mask == nil {
			VMOVUPS(y, Mem{Base: dst})
			ADDQ(Imm(64), dst)
		} else {
			VMOVUPS(y, mask, Mem{Base: dst})
			LEAQ(Mem{Base: dst, Index: n, Scale: 4}, dst)
		}
		ADDQ(Imm(64), left)
		ADDQ(Imm(64), right)
	})
	ADDQ(step, a)
	ADDQ(step, b)
	DECQ(count)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// rest generates the mask of the values of a row that do not fill a vector.
func rest(n reg.Register) reg.OpmaskVirtual {
	number, bits, mask := GP64(), GP64(), K()
	MOVQ(n, number)
	ANDQ(Imm(15), number)
	XORQ(bits, bits)
	BTSQ(number, bits)
	DECQ(bits)
	KMOVW(bits.As32(), mask)
	return mask
}

// eachVector generates a loop over n values, 16 at a time, and its end, whose body
// gets the mask of the values that are left; n is how many.
func eachVector(n reg.Register, tail reg.OpmaskVirtual, body func(mask reg.OpmaskVirtual)) {
	SUBQ(Imm(16), n)
	JLT(LabelRef("tail"))
	Label("loop")
	body(nil)
	SUBQ(Imm(16), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(16), n)
	JZ(LabelRef("done"))
	body(tail)
	Label("done")
}

// load generates a read of the values of a mask; nil: of all.
func load(m Mem, mask reg.OpmaskVirtual, v reg.VecVirtual) {
	if mask == nil {
		VMOVUPS(m, v)
	} else {
		VMOVUPS_Z(m, mask, v)
	}
}

// three generates an instruction of two sources and a result that avo does not know;
// also are registers that it reads besides.
func three(opcode string, x, y, result reg.VecVirtual, also ...Op) {
	Instruction(&ir.Instruction{Opcode: opcode, Operands: []Op{x, y, result}, Inputs: append([]Op{x, y}, also...), Outputs: []Op{result}})
}

// unknown is an instruction that Go's assembler does not know: the mandatory prefix
// and the opcode of those with a 512-bit vector and no mask, in map 0F38.
var (
	unknown = map[string]struct{ prefix, opcode int }{
		"VDPBF16PS": {2, 0x52}, "VCVTNE2PS2BF16": {3, 0x72}, "VCVTNEPS2BF16": {2, 0x72},
	}
	line = regexp.MustCompile(`(?m)^\t(VDPBF16PS|VCVTNE2PS2BF16|VCVTNEPS2BF16) +Z(\d+), (?:Z(\d+), )?[YZ](\d+)$`)
)

// encode replaces the instructions that Go's assembler does not know by their bytes.
func encode(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	text = line.ReplaceAllFunc(text, func(l []byte) []byte {
		m := line.FindSubmatch(l)
		number := func(i int) int {
			n, _ := strconv.Atoi(string(m[i])) // "" is no register: 0
			return n
		}
		return fmt.Appendf(nil, "\t%s // %s", evex(string(m[1]), number(2), number(3), number(4)), bytes.TrimSpace(l))
	})
	if err := os.WriteFile(path, text, 0o644); err != nil {
		log.Fatal(err)
	}
}

// evex is the EVEX encoding of an instruction between registers: four bytes of
// prefix, which hold the high bits of the registers' numbers inverted, the opcode
// and the low bits.
func evex(name string, x, y, result int) string {
	u := unknown[name]
	not := func(n, bit int) int { return ^n >> bit & 1 }
	p0 := not(result, 3)<<7 | not(x, 4)<<6 | not(x, 3)<<5 | not(result, 4)<<4 | 2
	p1 := ^y&15<<3 | 1<<2 | u.prefix
	p2 := 2<<5 | not(y, 4)<<3
	modrm := 3<<6 | result&7<<3 | x&7
	s := ""
	for i, b := range []int{0x62, p0, p1, p2, u.opcode, modrm} {
		if i > 0 {
			s += "; "
		}
		s += fmt.Sprintf("BYTE $0x%02x", b)
	}
	return s
}
