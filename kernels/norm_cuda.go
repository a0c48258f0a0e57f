package kernels

type layerNormArgs struct {
	Y, X, Gamma, Beta Operand
	Rows, C           int
	Eps               float32
}

func (s LayerNorm) cuda(p *Launches) {
	p.normRows("layer_norm", s.Rows, s.C, layerNormArgs{p.arg("y"), p.arg("x"), p.arg("gamma"), p.arg("beta"), s.Rows, s.C, s.Eps})
}

type layerNormGradXArgs struct {
	DX, DY, X, Gamma Operand
	Rows, C          int
	Eps              float32
}

func (s LayerNormGradX) cuda(p *Launches) {
	p.normRows("layer_norm_grad_x", s.Rows, s.C, layerNormGradXArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("gamma"), s.Rows, s.C, s.Eps})
}

type normGradGammaArgs struct {
	Y, DY, X       Operand
	Rows, C, Group int
}

type layerNormGradGammaArgs struct {
	normGradGammaArgs
	Eps float32
}

func (s LayerNormGradGamma) cuda(p *Launches) {
	p.gammaSums("layer_norm_grad_gamma", 1, s.Rows, s.C, func(a normGradGammaArgs) any { return layerNormGradGammaArgs{a, s.Eps} })
}

type rmsNormArgs struct {
	Y, X, Gamma    Operand
	Rows, C, Group int
}

func (s RMSNorm) cuda(p *Launches) {
	p.normRows("rms_norm", s.Rows, s.C, rmsNormArgs{p.arg("y"), p.arg("x"), p.arg("gamma"), s.Rows, s.C, s.Rows})
}

func (s AdaptiveRMSNorm) cuda(p *Launches) {
	rows := s.N * s.Rows
	p.normRows("rms_norm", rows, s.C, rmsNormArgs{p.arg("y"), p.arg("x"), p.arg("gamma"), rows, s.C, s.Rows})
}

type rmsNormGradXArgs struct {
	DX, DY, X, Gamma, R Operand
	Rows, C, Group      int
}

func (s RMSNormGradX) cuda(p *Launches) {
	p.normRows("rms_norm_grad_x", s.Rows, s.C, rmsNormGradXArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("gamma"), p.optional("r"), s.Rows, s.C, s.Rows})
}

func (s AdaptiveRMSNormGradX) cuda(p *Launches) {
	rows := s.N * s.Rows
	p.normRows("rms_norm_grad_x", rows, s.C, rmsNormGradXArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("gamma"), Operand{}, rows, s.C, s.Rows})
}

type rmsNormGradArgs struct {
	DX, Y, DY, X, Gamma, R Operand
	Rows, C, Group         int
}

// A row that a CTA does not hold in registers is read by one kernel for each gradient.
func (s RMSNormGrad) cuda(p *Launches) {
	if b := normBlockOf("", s.C); s.C > b.sums*b.lanes {
		RMSNormGradX(s).cuda(p)
		s.gamma().cuda(p)
		return
	}
	p.gammaSums("rms_norm_grad", 1, s.Rows, s.C, func(a normGradGammaArgs) any {
		return rmsNormGradArgs{p.arg("dx"), a.Y, a.DY, a.X, p.arg("gamma"), p.optional("r"), a.Rows, a.C, a.Group}
	})
}

func (s RMSNormGradGamma) cuda(p *Launches) {
	p.gammaSums("rms_norm_grad_gamma", 1, s.Rows, s.C, func(a normGradGammaArgs) any { return a })
}

func (s AdaptiveRMSNormGradGamma) cuda(p *Launches) {
	p.gammaSums("rms_norm_grad_gamma", s.N, s.Rows, s.C, func(a normGradGammaArgs) any { return a })
}

type normalizeArgs struct {
	Y, X    Operand
	Rows, C int
}

func (s Normalize) cuda(p *Launches) {
	p.normRows("normalize", s.Rows, s.C, normalizeArgs{p.arg("y"), p.arg("x"), s.Rows, s.C})
}

type normalizeGradArgs struct {
	DX, DY, X Operand
	Rows, C   int
}

func (s NormalizeGrad) cuda(p *Launches) {
	p.normRows("normalize_grad", s.Rows, s.C, normalizeGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), s.Rows, s.C})
}

// normBlock is the shape of norm.cu's CTAs: lanes threads share a row, of which each reads
// values neighbours at once; a CTA that sums over rows keeps sums columns in each lane.
type normBlock struct {
	kernel              string
	values, lanes, sums int
}

func normBlockOf(kernel string, c int) normBlock {
	b := normBlock{kernel, 8, 32, 16}
	if c%8 != 0 {
		b = normBlock{kernel + "_odd", 1, 32, 8}
	}
	for b.lanes > 1 && b.lanes/2*b.values >= c {
		b.lanes /= 2
	}
	return b
}

// normRows adds a kernel of norm.cu for rows of c values.
func (p *Launches) normRows(kernel string, rows, c int, args any) {
	b := normBlockOf(kernel, c)
	p.elementwise(p.typed(b.kernel), rows*b.lanes, args)
}

// gammaSums adds a kernel of norm.cu that sums over each of n groups of rows, in splits of
// equal size if the groups are long.
func (p *Launches) gammaSums(kernel string, n, rows, c int, args func(normGradGammaArgs) any) {
	b := normBlockOf(kernel, c)
	columns := ceilDiv(c, b.sums*b.lanes)
	splits, size := splitInto(sumWave, rows, n*columns, 8*threads/b.lanes)
	if n > 1 {
		for rows%splits != 0 {
			splits--
		}
		size = rows / splits
	}
	y := p.arg("dgamma")
	partials := p.partials(y, splits, n*c)
	p.add(p.typed(b.kernel), grid2D(n*splits, columns), grid1D(threads), args(normGradGammaArgs{partials, p.arg("dy"), p.arg("x"), n * rows, c, size}))
	p.addPartials(y, partials, splits, n*splits, c)
}
