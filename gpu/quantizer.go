package gpu

import (
	"math"

	"magvit/kernels"
)

// quantizer plans what lfq.cu, lfq_floored.cu, fsq.cu and codes.cu compute.
func (p *program) quantizer(s kernels.Spec) bool {
	switch s := s.(type) {
	case kernels.LFQSign:
		p.each("lfq_sign", s.Tokens*s.Books*s.Bits, args(2))
	case kernels.LFQIndex:
		p.each("lfq_index", s.Tokens*s.Books, args(2), s.Bits)
	case kernels.LFQValues:
		p.each("lfq_values", s.Tokens*s.Books, args(2), s.Bits)
	case kernels.LFQLoss:
		p.entropies(s)
	case kernels.LFQLossGrad:
		p.entropiesGrad(s)
	case kernels.LFQLossFloored:
		p.floored(s)
	case kernels.LFQLossFlooredGrad:
		p.flooredGrad(s)
	case kernels.CodeCounts:
		p.eights("fill", s.Codes, args(1), float32(0))
		p.each("code_counts", s.Tokens, args(2), float32(s.Codes))
	case kernels.FSQQuantize:
		p.each("fsq_quantize", s.Tokens*s.Books*s.Dims, args(2), levels(s.FSQ)...)
	case kernels.FSQGrad:
		p.each("fsq_grad", s.Tokens*s.Books*s.Dims, args(3), levels(s.FSQ)...)
	case kernels.FSQIndex:
		p.each("fsq_index", s.Tokens*s.Books, args(2), levels(s.FSQ)...)
	case kernels.FSQValues:
		p.each("fsq_values", s.Tokens*s.Books, args(2), levels(s.FSQ)...)
	default:
		return false
	}
	return true
}

// levels are dims and the fields of Levels.
func levels(f kernels.FSQ) []any {
	v := []any{f.Dims}
	for _, l := range f.Levels {
		v = append(v, l)
	}
	return v
}

// factors are the two halves of LFQ's probabilities, and their mean over tokens.
type factors struct {
	high, low  int     // bits of each half
	a, b, mean operand // [books,tokens,2^high], [books,tokens,2^low], [books,2^bits]
}

func (p *program) factors(l kernels.LFQ, inv float32, z operand) factors {
	high := (l.Bits + 1) / 2
	f := factors{high: high, low: l.Bits - high}
	rows := l.Books * l.Tokens
	f.a, f.b = p.reserve(rows<<f.high), p.reserve(rows<<f.low)
	p.each("lfq_factors", rows<<f.high+rows<<f.low, []operand{f.a, f.b, z}, l.Tokens, l.Books, f.high, f.low, inv)
	f.mean = p.matmul(l.Books,
		matrix{f.a, l.Tokens << f.high, 1, 1 << f.high}, matrix{f.b, l.Tokens << f.low, 1 << f.low, 1},
		1<<f.high, 1<<f.low, l.Tokens, 1/float32(l.Tokens))
	return f
}

// matrix is where values lie: x[i,j] of a batch at batch·size + i·rows + j·columns.
type matrix struct {
	operand
	batch, rows, columns int
}

const matmulTile = 64 // results of a block of matmul, in both directions

// matmul gives scale·x·y, [batches,m,n], k terms each.
func (p *program) matmul(batches int, x, y matrix, m, n, k int, scale float32) operand {
	grid := [3]uint32{uint32(ceilDiv(m, matmulTile) * ceilDiv(n, matmulTile)), uint32(batches), 1}
	parts, size := split(k, ceilDiv(int(grid[0])*batches, 2), 128) // its blocks are half as large as others
	grid[2] = uint32(parts)
	c := p.reserve(parts * batches * m * n)
	p.add("matmul", grid, line(128), []operand{c, x.operand, y.operand},
		m, n, k, x.batch, x.rows, x.columns, y.batch, y.rows, y.columns, size, scale)
	if parts == 1 {
		return c
	}
	sum := p.reserve(batches * m * n)
	p.columns("sum_rows", sum, []operand{c}, parts, batches*m*n, parts)
	return sum
}

// byHalves sums slopes of codes, weighed by probabilities, over the low half of the bits
// for each high one (r) and over the high half for each low one (q).
func (p *program) byHalves(l kernels.LFQ, f factors, slopes operand) (r, q operand) {
	r = p.matmul(l.Books, matrix{f.b, l.Tokens << f.low, 1 << f.low, 1}, matrix{slopes, 1 << l.Bits, 1, 1 << f.low}, l.Tokens, 1<<f.high, 1<<f.low, 1)
	q = p.matmul(l.Books, matrix{f.a, l.Tokens << f.high, 1 << f.high, 1}, matrix{slopes, 1 << l.Bits, 1 << f.low, 1}, l.Tokens, 1<<f.low, 1<<f.high, 1)
	return r, q
}

func (p *program) entropies(s kernels.LFQLoss) {
	values, codes, inv := s.Tokens*s.Books*s.Bits, s.Books<<s.Bits, 4*s.InvTemp
	f := p.factors(s.LFQ, inv, arg(1))
	blocks := min(ceilDiv(max(values, codes), threads), wave)
	parts := p.reserve(3 * blocks)
	p.add("lfq_terms", line(blocks), line(threads), []operand{parts, arg(1), f.mean}, values, codes, s.Tokens, s.Books, inv)
	p.columns("sum_rows", arg(0), []operand{parts}, blocks, 3, blocks)
}

func (p *program) entropiesGrad(s kernels.LFQLossGrad) {
	codes, inv := s.Books<<s.Bits, 4*s.InvTemp
	f := p.factors(s.LFQ, inv, arg(2))
	slopes := p.reserve(codes)
	p.each("lfq_slopes", codes, []operand{slopes, f.mean}, float32(s.Tokens*s.Books))
	r, q := p.byHalves(s.LFQ, f, slopes)
	p.each("lfq_grad", s.Tokens*s.Books*s.Bits, []operand{arg(0), arg(1), arg(2), f.a, r, f.b, q}, s.Tokens, s.Books, f.high, f.low, inv)
}

// flooredScale is the absolute value of a code's coordinates and that of u = inv·z.
func flooredScale(s kernels.LFQLossFloored) (size, inv float32) {
	size = 1
	if s.Spherical {
		size = float32(1 / math.Sqrt(float64(s.Bits)))
	}
	return size, float32(4 * float64(s.InvTemp) * float64(size))
}

func (p *program) floored(s kernels.LFQLossFloored) {
	rows, values, codes := s.Tokens*s.Books, s.Tokens*s.Books*s.Bits, s.Books<<s.Bits
	size, inv := flooredScale(s)
	f := p.factors(s.LFQ, inv, arg(1))
	entropies := p.reserve(rows)
	p.add("lfq_floored_entropies", line(rows), line(threads), []operand{entropies, f.a, f.b}, f.high, f.low)
	blocks := min(ceilDiv(max(values, codes), threads), wave)
	parts := p.reserve(3 * blocks)
	p.add("lfq_floored_terms", line(blocks), line(threads), []operand{parts, entropies, arg(1), f.mean}, rows, values, codes, s.Books, size)
	p.columns("sum_rows", arg(0), []operand{parts}, blocks, 3, blocks)
}

func (p *program) flooredGrad(s kernels.LFQLossFlooredGrad) {
	rows, codes := s.Tokens*s.Books, s.Books<<s.Bits
	size, inv := flooredScale(kernels.LFQLossFloored(s))
	f := p.factors(s.LFQ, inv, arg(2))
	slopes := p.reserve(codes)
	p.each("lfq_floored_slopes", codes, []operand{slopes, f.mean}, float32(rows))
	r, q := p.byHalves(s.LFQ, f, slopes)
	p.add("lfq_floored_grad", line(rows), line(threads), []operand{arg(0), arg(1), arg(2), f.a, r, f.b, q}, rows*s.Bits, s.Tokens, s.Books, f.high, f.low, inv, size)
}
