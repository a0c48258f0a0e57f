// Program asm turns descriptions of inner loops into the assembler files of package kernels.
//
// Run it by go generate in package kernels. Each loop is written once and
// generated for AVX2 with FMA and for AVX-512. With -bf16 it makes the loops that
// need AVX512_BF16, in a file of their own.
package main

import (
	"flag"
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/buildtags"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An isa is what differs between the instruction sets.
type isa struct {
	name  string
	bytes int // a vector's size
	reg   func() reg.VecVirtual
	few   bool // registers: sixteen
}

var (
	avx2   = isa{"AVX2", 32, YMM, true}
	avx512 = isa{"AVX512", 64, ZMM, false}
)

func (s isa) wide() bool { return s.bytes == 64 }

// zero returns a vector of zeros.
func (s isa) zero() reg.VecVirtual {
	v := s.reg()
	s.clear(v)
	return v
}

func (s isa) clear(v reg.VecVirtual) {
	if s.wide() {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// constant returns a vector with the value in every lane.
func (s isa) constant(v float32) reg.VecVirtual {
	r := s.reg()
	VBROADCASTSS(constF32(v), r)
	return r
}

var constants = map[uint32]Mem{} // by their bits

// constF32 is the place of a value in the file's read-only data.
func constF32(v float32) Mem {
	bits := math.Float32bits(v)
	m, ok := constants[bits]
	if !ok { // an integral F32 would be printed, and read, as an integer
		m = ConstData(fmt.Sprintf("f%08x", bits), U32(bits))
		constants[bits] = m
	}
	return m
}

func main() {
	part := flag.String("part", "products", "which file to write: products, bf16, wire, vectors, attention or winograd")
	flag.Parse()
	Constraint(buildtags.Term("amd64"))
	switch *part {
	case "products":
		products()
	case "bf16":
		bfloat16()
		return
	case "wire":
		wire()
	case "vectors":
		for _, s := range []isa{avx512, avx2} {
			s.activations()
			s.arithmetic()
			s.sums()
			s.rows()
			s.columns()
			s.gates()
			s.losses()
		}
		for _, back := range []bool{false, true} {
			quads(back)
			thirds(back)
		}
	case "attention":
		for _, s := range []isa{avx512, avx2} {
			s.attention()
		}
	case "winograd":
		for _, s := range []isa{avx512, avx2} {
			s.winograd()
		}
	}
	Generate()
}

// products generates tiles of matrix products and the peak they are measured by.
func products() {
	for _, t := range []struct {
		isa
		rows []int
	}{{avx512, []int{12, 8, 4, 2, 1}}, {avx2, []int{6, 4, 2, 1}}} {
		for _, vectors := range []int{2, 1} {
			for _, rows := range t.rows {
				tile(t.isa, rows, vectors)
			}
		}
	}
	for _, s := range []isa{avx512, avx2} {
		peak(s)
	}
}
