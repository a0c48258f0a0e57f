package kernels

import "math"

// scales are the absolute value of a code's coordinates and that of u = inv·z.
func (s LFQLossFloored) scales() (size, inv float32) {
	size = 1
	if s.Spherical {
		size = float32(1 / math.Sqrt(float64(s.Bits)))
	}
	return size, float32(4 * float64(s.InvTemp) * float64(size))
}

type lfqFlooredEntropiesArgs struct {
	Entropies, A, B Operand
	High, Low       int
}

type lfqFlooredTermsArgs struct {
	Partials, Entropies, Z, Mean Operand
	Rows, Values, Codes, Books   int
	Size                         float32
}

func (s LFQLossFloored) cuda(p *Launches) {
	rows, values, codes := s.Tokens*s.Books, s.Tokens*s.Books*s.Bits, s.Books<<s.Bits
	size, inv := s.scales()
	f := s.factors(p, inv)
	mean := s.means(p, f, Operand{})
	entropies := p.workspace(rows)
	p.add("lfq_floored_entropies", grid1D(rows), grid1D(threads), lfqFlooredEntropiesArgs{entropies, f.a, f.b, f.high, f.low})
	ctas := min(ceilDiv(max(values, codes), threads), wave)
	partials := p.workspace(3 * ctas)
	p.add("lfq_floored_terms", grid1D(ctas), grid1D(threads), lfqFlooredTermsArgs{partials, entropies, p.arg("z"), mean, rows, values, codes, s.Books, size})
	p.sumRows(p.arg("terms"), partials, ctas, 3, ctas)
}

type lfqFlooredGradArgs struct {
	DZ, DTerms, Z, A, R, B, Q        Operand
	Values, Tokens, Books, High, Low int
	Inv, Size                        float32
}

func (s LFQLossFlooredGrad) cuda(p *Launches) {
	rows, codes := s.Tokens*s.Books, s.Books<<s.Bits
	size, inv := LFQLossFloored(s).scales()
	f := s.factors(p, inv)
	mean := s.means(p, f, Operand{})
	slopes := p.workspace(codes)
	p.elementwise("lfq_floored_slopes", codes, lfqSlopesArgs{slopes, mean, codes, float32(rows)})
	r, q := s.halfSums(p, f, slopes)
	p.add("lfq_floored_grad", grid1D(rows), grid1D(threads),
		lfqFlooredGradArgs{p.arg("dz"), p.arg("dterms"), p.arg("z"), f.a, r, f.b, q, rows * s.Bits, s.Tokens, s.Books, f.high, f.low, inv, size})
}
