package kernels

type bsqProbabilitiesArgs struct {
	P, U Operand
	N    int
	Inv  float32
}

// probabilitySums are the sums over tokens of the probabilities of bits, [Books·Bits].
func (s BSQLoss) probabilitySums(p *Launches) Operand {
	n, columns := s.Tokens*s.Books*s.Bits, s.Books*s.Bits
	probabilities, sums := p.workspace(n), p.workspace(columns)
	p.elementwise("bsq_probabilities", n, bsqProbabilitiesArgs{probabilities, p.arg("u"), n, float32(s.logitScale())})
	p.totalSums("sum_rows", sums, s.Tokens, columns, sumRowsOf(probabilities, s.Tokens, columns))
	return sums
}

type bsqMeansArgs struct {
	Mean, Sums      Operand
	Columns, Tokens int
}

func (s BSQMeans) cuda(p *Launches) {
	columns := s.Books * s.Bits
	p.elementwise("bsq_means", columns, bsqMeansArgs{p.arg("mean"), BSQLoss(s).probabilitySums(p), columns, s.Tokens})
}

type bsqTermsArgs struct {
	Parts, U, Sums                   Operand
	N, Columns, Tokens, Books, Count int
	Inv, Radius                      float32
}

func (s BSQLoss) cuda(p *Launches) { s.launch(p, s.probabilitySums(p), s.Tokens) }

// launch adds the kernels of the loss, of mean probabilities that are sums over count.
func (s BSQLoss) launch(p *Launches, sums Operand, count int) {
	n, columns := s.Tokens*s.Books*s.Bits, s.Books*s.Bits
	ctas := min(ceilDiv(n, threads), wave)
	partials := p.workspace(3 * ctas)
	p.add("bsq_terms", grid1D(ctas), grid1D(threads), bsqTermsArgs{partials, p.arg("u"), sums, n, columns, s.Tokens, s.Books, count, float32(s.logitScale()), float32(s.radius())})
	p.sumRows(p.arg("terms"), partials, ctas, 3, ctas)
}

type bsqGradArgs struct {
	DU, DTerms, U, Sums              Operand
	N, Columns, Tokens, Books, Count int
	Inv, Radius                      float32
}

func (s BSQLossGrad) cuda(p *Launches) { s.launch(p, BSQLoss(s).probabilitySums(p), s.Tokens) }

// launch adds the kernel of the gradient, see BSQLoss.launch.
func (s BSQLossGrad) launch(p *Launches, sums Operand, count int) {
	l := BSQLoss(s)
	n, columns := s.Tokens*s.Books*s.Bits, s.Books*s.Bits
	p.elementwise("bsq_grad", n, bsqGradArgs{p.arg("du"), p.arg("dterms"), p.arg("u"), sums, n, columns, s.Tokens, s.Books, count, float32(l.logitScale()), float32(l.radius())})
}
