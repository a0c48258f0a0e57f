package kernels

type lfqSignArgs struct {
	Q, Z Operand
	N    int
}

func (s LFQSign) cuda(p *Launches) {
	n := s.Tokens * s.Books * s.Bits
	p.elementwise("lfq_sign", n, lfqSignArgs{p.arg("q"), p.arg("z"), n})
}

type lfqIndexArgs struct {
	Idx, Z                Operand
	Codes, Bits, LowFirst int
}

func (s LFQIndex) cuda(p *Launches) {
	n := s.Tokens * s.Books
	p.elementwise("lfq_index", n, lfqIndexArgs{p.arg("idx"), p.arg("z"), n, s.Bits, flag(s.LowFirst)})
}

type lfqValuesArgs struct {
	Q, Idx                Operand
	Codes, Bits, LowFirst int
}

func (s LFQValues) cuda(p *Launches) {
	n := s.Tokens * s.Books
	p.elementwise("lfq_values", n, lfqValuesArgs{p.arg("q"), p.arg("idx"), n, s.Bits, flag(s.LowFirst)})
}

// lfqFactors are the two factors of LFQ's probabilities, of the high and of the low half
// of the bits.
type lfqFactors struct {
	high, low int     // bits of each half
	a, b      Operand // [books,tokens,2^high], [books,tokens,2^low]
}

type lfqFactorsArgs struct {
	A, B, Z                     Operand
	N, Tokens, Books, High, Low int
	Inv                         float32
}

func (l LFQ) factors(p *Launches, inv float32) lfqFactors {
	high := (l.Bits + 1) / 2
	f := lfqFactors{high: high, low: l.Bits - high}
	rows := l.Books * l.Tokens
	f.a, f.b = p.workspace(rows<<f.high), p.workspace(rows<<f.low)
	n := rows<<f.high + rows<<f.low
	p.elementwise("lfq_factors", n, lfqFactorsArgs{f.a, f.b, p.arg("z"), n, l.Tokens, l.Books, f.high, f.low, inv})
	return f
}

// means is the mean probability of each code over the tokens, [books,2^bits]. The result is to, or workspace where to is null.
func (l LFQ) means(p *Launches, f lfqFactors, to Operand) Operand {
	return p.matmul(to, l.Books,
		strided{f.a, l.Tokens << f.high, 1, 1 << f.high}, strided{f.b, l.Tokens << f.low, 1 << f.low, 1},
		1<<f.high, 1<<f.low, l.Tokens, 1/float32(l.Tokens))
}

// strided is a batch of matrices: x[i,j] of one is at batch·size + i·rows + j·columns.
type strided struct {
	Operand
	batch, rows, columns int
}

const matmulTile = 64 // rows and columns of a tile of matmul

type matmulArgs struct {
	C, X, Y                Operand
	M, N, K                int
	XB, XI, XK, YB, YK, YJ int
	Chunk                  int
	Scale                  float32
}

// matmul is scale·x·y, [batches,m,n], with sums of k terms. The result is to, or workspace where to is null.
func (p *Launches) matmul(to Operand, batches int, x, y strided, m, n, k int, scale float32) Operand {
	tiles := ceilDiv(m, matmulTile) * ceilDiv(n, matmulTile)
	splits, size := splitK(k, ceilDiv(tiles*batches, 2), 128) // its CTAs have half as many threads as others
	c := to
	if splits > 1 || c == (Operand{}) {
		c = p.workspace(splits * batches * m * n)
	}
	p.add("matmul", grid3D(tiles, batches, splits), grid1D(128), matmulArgs{c, x.Operand, y.Operand,
		m, n, k, x.batch, x.rows, x.columns, y.batch, y.rows, y.columns, size, scale})
	if splits == 1 {
		return c
	}
	if to == (Operand{}) {
		to = p.workspace(batches * m * n)
	}
	p.sumRows(to, c, splits, batches*m*n, splits)
	return to
}

// halfSums are the sums of slopes of codes, weighted by probabilities: over the low half of
// the bits for each high half (r) and over the high half for each low one (q).
func (l LFQ) halfSums(p *Launches, f lfqFactors, slopes Operand) (r, q Operand) {
	r = p.matmul(Operand{}, l.Books, strided{f.b, l.Tokens << f.low, 1 << f.low, 1}, strided{slopes, 1 << l.Bits, 1, 1 << f.low}, l.Tokens, 1<<f.high, 1<<f.low, 1)
	q = p.matmul(Operand{}, l.Books, strided{f.a, l.Tokens << f.high, 1 << f.high, 1}, strided{slopes, 1 << l.Bits, 1 << f.low, 1}, l.Tokens, 1<<f.low, 1<<f.high, 1)
	return r, q
}

type lfqTermsArgs struct {
	Partials, Z, Mean            Operand
	Values, Codes, Tokens, Books int
	Inv, Offset                  float32
}

func (s LFQLoss) cuda(p *Launches) {
	s.launch(p, s.means(p, s.factors(p, 4*s.InvTemp), Operand{}))
}

// launch adds the kernels of the loss, given the mean probabilities.
func (s LFQLoss) launch(p *Launches, mean Operand) {
	values, codes, inv := s.Tokens*s.Books*s.Bits, s.Books<<s.Bits, 4*s.InvTemp
	ctas := min(ceilDiv(max(values, codes), threads), wave)
	partials := p.workspace(3 * ctas)
	p.add("lfq_terms", grid1D(ctas), grid1D(threads), lfqTermsArgs{partials, p.arg("z"), mean, values, codes, s.Tokens, s.Books, inv, s.Offset})
	p.sumRows(p.arg("terms"), partials, ctas, 3, ctas)
}

type lfqSlopesArgs struct {
	S, Mean Operand
	N       int
	Tokens  float32
}

type lfqOffsetSlopesArgs struct {
	lfqSlopesArgs
	Offset float32
}

type lfqGradArgs struct {
	DZ, DTerms, Z, A, R, B, Q   Operand
	N, Tokens, Books, High, Low int
	Inv                         float32
}

func (s LFQLossGrad) cuda(p *Launches) {
	f := s.factors(p, 4*s.InvTemp)
	s.launch(p, f, s.means(p, f, Operand{}))
}

// launch adds the kernels of the gradient, given the mean probabilities.
func (s LFQLossGrad) launch(p *Launches, f lfqFactors, mean Operand) {
	codes, inv := s.Books<<s.Bits, 4*s.InvTemp
	slopes := p.workspace(codes)
	p.elementwise("lfq_slopes", codes, lfqOffsetSlopesArgs{lfqSlopesArgs{slopes, mean, codes, float32(s.Tokens * s.Books)}, s.Offset})
	r, q := s.halfSums(p, f, slopes)
	n := s.Tokens * s.Books * s.Bits
	p.elementwise("lfq_grad", n, lfqGradArgs{p.arg("dz"), p.arg("dterms"), p.arg("z"), f.a, r, f.b, q, n, s.Tokens, s.Books, f.high, f.low, inv})
}
