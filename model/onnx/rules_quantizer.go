package onnx

import (
	"math"
	"slices"

	"magvit/kernels"
	"magvit/model/onnx/onnxpb"
)

// digitsOf splits codes [N,T,H,W,books] into digits [N,T,H,W,books,digits]: code/base mod level.
func (g *graph) digitsOf(codes string, bases, levels []int) string {
	return g.op("Mod", g.op("Div", g.op("Unsqueeze", codes, g.ints(-1)), g.ints(bases...)), g.ints(levels...))
}

// codeOf is the sum of digits [N,T,H,W,books,digits], which are integers, times their bases.
func (g *graph) codeOf(digits string, bases []int) string {
	return g.opWith("ReduceSum", []attr{{"keepdims", 0}}, g.op("Mul", digits, g.ints(bases...)), g.ints(-1))
}

// fsqConstants are, for each digit, what kernels.FSQ rounds with: m = round(tanh(z+shift)·radius - offset).
func fsqConstants(s kernels.FSQ) (levels, bases []int, shift, radius, offset, half []float64) {
	base := 1
	for _, l := range s.Levels[:s.Dims] {
		r, o := float64(l-1)*1.001/2, 0.
		if l%2 == 0 {
			o = .5
		}
		levels, bases = append(levels, l), append(bases, base)
		shift, radius, offset, half = append(shift, math.Atanh(o/r)), append(radius, r), append(offset, o), append(half, float64(l/2))
		base *= l
	}
	return levels, bases, shift, radius, offset, half
}

func fsqIndex(g *graph, s kernels.FSQIndex, _ []int, in []value) string {
	_, bases, shift, radius, offset, half := fsqConstants(s.FSQ)
	z := g.reshape(g.clips(in[0]), 0, 0, 0, 0, s.Books, s.Dims)
	m := g.op("Sub", g.op("Mul", g.op("Tanh", g.op("Add", z, g.floats(shift...))), g.floats(radius...)), g.floats(offset...))
	digits := g.cast(g.op("Add", g.op("Round", m), g.floats(half...)), integers)
	return g.codeOf(digits, bases)
}

func fsqValues(g *graph, s kernels.FSQValues, _ []int, in []value) string {
	levels, bases, _, _, _, half := fsqConstants(s.FSQ)
	digits := g.cast(g.digitsOf(g.clips(in[0]), bases, levels), onnxpb.TensorProto_FLOAT)
	q := g.op("Div", g.op("Sub", digits, g.floats(half...)), g.floats(half...))
	return g.reshape(q, 0, 0, 0, 0, s.Books*s.Dims)
}

// bitBases are those of bits whose first is the most significant one, or the least.
func bitBases(n int, lowFirst bool) (bases, levels []int) {
	for i := range n {
		bases, levels = append(bases, 1<<i), append(levels, 2)
	}
	if !lowFirst {
		slices.Reverse(bases)
	}
	return bases, levels
}

func lfqIndex(g *graph, s kernels.LFQIndex, _ []int, in []value) string {
	bases, _ := bitBases(s.Bits, s.LowFirst)
	set := g.cast(g.op("Greater", g.clips(in[0]), g.float(0)), integers)
	return g.codeOf(g.reshape(set, 0, 0, 0, 0, s.Books, s.Bits), bases)
}

func lfqValues(g *graph, s kernels.LFQValues, _ []int, in []value) string {
	bases, levels := bitBases(s.Bits, s.LowFirst)
	bits := g.cast(g.digitsOf(g.clips(in[0]), bases, levels), onnxpb.TensorProto_FLOAT)
	return g.reshape(g.scaled(bits, 2, -1), 0, 0, 0, 0, s.Books*s.Bits)
}

// vqIndex is the code of the least |e|² - 2z·e, which differs from |z-e|² by |z|² alone.
func vqIndex(g *graph, s kernels.VQIndex, _ []int, in []value) string {
	z := g.reshape(g.clips(in[0]), 0, 0, 0, 0, s.Books, 1, s.Dim)
	e := g.asIs(in[1])                                          // [books,codes,dim]
	squares := g.op("ReduceSum", g.op("Mul", e, e), g.ints(-1)) // [books,codes,1]
	distance := g.op("Sub", g.transpose(squares, 0, 2, 1), g.scaled(g.op("MatMul", z, g.transpose(e, 0, 2, 1)), 2, 0))
	return g.reshape(g.opWith("ArgMin", []attr{{"axis", -1}, {"keepdims", 0}}, distance), 0, 0, 0, 0, s.Books)
}

func vqValues(g *graph, s kernels.VQValues, _ []int, in []value) string {
	first := make([]int, s.Books)
	for b := range first {
		first[b] = b * s.Codes
	}
	rows := g.op("Add", g.clips(in[0]), g.ints(first...))
	e := g.shaped(in[1], ".rows", s.Books*s.Codes, s.Dim)
	return g.reshape(g.op("Gather", e, rows), 0, 0, 0, 0, s.Books*s.Dim)
}
