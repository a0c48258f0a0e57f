package kernels

type fsqFactorsArgs struct {
	P, Z    Operand
	N, Dims int
	Levels  fsqLevels
	Width   int
	Scale   float32
}

type fsqMeanArgs struct {
	Mean, P                 Operand
	N, Codes, Tokens, Books int
	Dims                    int
	Levels                  fsqLevels
	Width                   int
}

type fsqEntropiesArgs struct {
	Entropies, P Operand
	Codes, Dims  int
	Levels       fsqLevels
	Width        int
}

type fsqTermsArgs struct {
	Partials, Entropies, Z, Mean Operand
	Rows, Dims, Codes, Books     int
	Levels                       fsqLevels
}

// levelFactors adds the kernels that compute the probabilities of each token's levels, rows of
// width values, and the mean probability of each code, [Books,codes].
func (s FSQLoss) levelFactors(p *Launches) (levels, mean Operand, width int) {
	for _, l := range s.Levels[:s.Dims] {
		width += l
	}
	rows, codes := s.Tokens*s.Books, s.Codes()
	levels, mean = p.workspace(rows*width), p.workspace(s.Books*codes)
	p.elementwise("fsq_factors", rows*s.Dims, fsqFactorsArgs{levels, p.arg("z"), rows * s.Dims, s.Dims, fsqLevels{s.Levels}, width, 2 * s.InvTemp})
	p.elementwise("fsq_mean", s.Books*codes, fsqMeanArgs{mean, levels, s.Books * codes, codes, s.Tokens, s.Books, s.Dims, fsqLevels{s.Levels}, width})
	return levels, mean, width
}

func (s FSQLoss) cuda(p *Launches) {
	rows, codes := s.Tokens*s.Books, s.Codes()
	levels, mean, width := s.levelFactors(p)
	entropies := p.workspace(rows)
	p.add("fsq_entropies", grid1D(rows), grid1D(threads), fsqEntropiesArgs{entropies, levels, codes, s.Dims, fsqLevels{s.Levels}, width})
	ctas := min(ceilDiv(max(rows*s.Dims, s.Books*codes), threads), wave)
	partials := p.workspace(3 * ctas)
	p.add("fsq_terms", grid1D(ctas), grid1D(threads), fsqTermsArgs{partials, entropies, p.arg("z"), mean, rows, s.Dims, s.Books * codes, s.Books, fsqLevels{s.Levels}})
	p.sumRows(p.arg("terms"), partials, ctas, 3, ctas)
}

type fsqLossGradArgs struct {
	DZ, DTerms, Z, P, Mean   Operand
	Rows, Books, Codes, Dims int
	Levels                   fsqLevels
	Width                    int
	Scale                    float32
}

func (s FSQLossGrad) cuda(p *Launches) {
	levels, mean, width := FSQLoss(s).levelFactors(p)
	rows := s.Tokens * s.Books
	p.add("fsq_loss_grad", grid1D(rows), grid1D(threads),
		fsqLossGradArgs{p.arg("dz"), p.arg("dterms"), p.arg("z"), levels, mean, rows, s.Books, s.Codes(), s.Dims, fsqLevels{s.Levels}, width, 2 * s.InvTemp})
}
