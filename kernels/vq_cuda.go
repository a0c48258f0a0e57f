package kernels

type vqIndexArgs struct {
	Idx, Z, Codebook        Operand
	Rows, Books, Codes, Dim int
}

func (s VQIndex) cuda(p *Launches) {
	rows := s.Tokens * s.Books
	p.add("vq_index", grid1D(rows), grid1D(threads), vqIndexArgs{p.arg("idx"), p.arg("z"), p.arg("codebook"), rows, s.Books, s.Codes, s.Dim})
}

type vqValuesArgs struct {
	Q, Idx, Codebook     Operand
	N, Books, Codes, Dim int
}

func (v VQ) valuesCUDA(p *Launches) {
	n := v.Tokens * v.Books * v.Dim
	p.elementwise("vq_values", n, vqValuesArgs{p.arg("q"), p.arg("idx"), p.arg("codebook"), n, v.Books, v.Codes, v.Dim})
}

func (s VQValues) cuda(p *Launches)   { s.valuesCUDA(p) }
func (s VQQuantize) cuda(p *Launches) { s.valuesCUDA(p) }

type vqStatisticsArgs struct {
	Stats, Z, Idx                Operand
	N, Tokens, Books, Codes, Dim int
}

func (s VQStatistics) cuda(p *Launches) {
	n := s.Books * s.Codes * (s.Dim + 1)
	p.elementwise("vq_statistics", n, vqStatisticsArgs{p.arg("stats"), p.arg("z"), p.arg("idx"), n, s.Tokens, s.Books, s.Codes, s.Dim})
}

type vqSamplesArgs struct {
	Samples, Z, Picks            Operand
	N, Tokens, Books, Codes, Dim int
}

func (s VQSamples) cuda(p *Launches) {
	n := s.Books * s.Codes * s.Dim
	p.elementwise("vq_samples", n, vqSamplesArgs{p.arg("samples"), p.arg("z"), p.arg("picks"), n, s.Tokens, s.Books, s.Codes, s.Dim})
}

type vqAverageArgs struct {
	Average, Stats, Guard Operand
	N                     int
	Rate                  float32
}

type vqTotalArgs struct {
	Totals, Average Operand
	Codes, Dim      int
}

type vqCodebookArgs struct {
	Codebook, Average, Samples, Totals, Guard Operand
	N, Codes, Dim                             int
	Eps, Dead                                 float32
	Spherical                                 int
}

func (s VQUpdate) cuda(p *Launches) {
	codes, totals := s.Books*s.Codes, p.workspace(2*s.Books) // doubles
	n := codes * (s.Dim + 1)
	p.elementwise("vq_average", n, vqAverageArgs{p.arg("average"), p.arg("stats"), p.arg("guard"), n, s.Rate})
	p.add("vq_total", grid1D(s.Books), grid1D(threads), vqTotalArgs{totals, p.arg("average"), s.Codes, s.Dim})
	p.elementwise("vq_codebook", codes, vqCodebookArgs{p.arg("codebook"), p.arg("average"), p.arg("samples"), totals, p.arg("guard"),
		codes, s.Codes, s.Dim, s.Eps, s.Dead, flag(s.Spherical)})
}
