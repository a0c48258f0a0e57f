package kernels

// groupPartArgs are those of a kernel with a CTA for each split and group.
type groupPartArgs struct {
	Parts, X           Operand
	Rows, C, G, Splits int
}

type groupStatsArgs struct {
	Stats, Parts              Operand
	N, Splits, Rows, Channels int
	Eps                       float32
}

// stats adds the kernels that compute the mean and scale of each group, [N·Groups,2].
func (s GroupNorm) stats(p *Launches) Operand {
	groups := s.N * s.Groups
	splits := s.splits()
	parts, stats := p.workspace(groups*splits*3), p.workspace(groups*2)
	p.add(p.typed("group_norm_parts"), grid2D(splits, groups), grid1D(threads), groupPartArgs{parts, p.arg("x"), s.Rows, s.C, s.Groups, splits})
	p.elementwise("group_norm_stats", groups, groupStatsArgs{stats, parts, groups, splits, s.Rows, s.group(), s.Eps})
	return stats
}

// splits is the number of CTAs that share the rows of a group.
func (s GroupNorm) splits() int {
	n, _ := splitInto(sumWave, s.Rows, s.N*s.Groups, ceilDiv(4*threads, s.group()))
	return n
}

type groupNormArgs struct {
	Y, X, Gamma, Beta, Stats Operand
	Values, Rows, C, G       int
	Adaptive                 int
	Kind                     Activation
}

func (s GroupNorm) cuda(p *Launches) {
	stats := s.stats(p)
	n := s.N * s.Rows * s.C
	p.elementwise(p.typed("group_norm"), n, groupNormArgs{p.arg("y"), p.arg("x"), p.arg("gamma"), p.arg("beta"), stats, n, s.Rows, s.C, s.Groups, flag(s.Adaptive), s.Act})
}

type groupSlopeArgs struct {
	Parts, DY, X, Gamma, Stats   Operand
	Rows, C, G, Splits, Adaptive int
}

type groupNormGradXArgs struct {
	DX, DY, X, Gamma, Stats, Sums Operand
	Values, Rows, C, G, Adaptive  int
}

func (s GroupNormGradX) cuda(p *Launches) {
	stats := s.stats(p)
	groups, splits := s.N*s.Groups, s.splits()
	sums := p.workspace(groups * 2)
	parts := p.partials(sums, splits, groups*2)
	p.add(p.typed("group_norm_slopes"), grid2D(splits, groups), grid1D(threads),
		groupSlopeArgs{parts, p.arg("dy"), p.arg("x"), p.arg("gamma"), stats, s.Rows, s.C, s.Groups, splits, flag(s.Adaptive)})
	p.addPartials(sums, parts, splits, groups*splits, 2)
	n := s.N * s.Rows * s.C
	p.elementwise(p.typed("group_norm_grad_x"), n, groupNormGradXArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("gamma"), stats, sums, n, s.Rows, s.C, s.Groups, flag(s.Adaptive)})
}

type groupNormGradGammaArgs struct {
	Y, DY, X, Stats      Operand
	Rows, Columns, Group int
	Sample, G            int
}

func (s GroupNormGradGamma) cuda(p *Launches) {
	stats := s.stats(p)
	rows := s.N * s.Rows
	args := func(y Operand, group int) any {
		return groupNormGradGammaArgs{y, p.arg("dy"), p.arg("x"), stats, rows, s.C, group, s.Rows, s.Groups}
	}
	if s.Adaptive {
		p.groupSums(p.typed("group_norm_grad_gamma"), p.arg("dgamma"), s.N, s.Rows, s.C, args)
		return
	}
	p.totalSums(p.typed("group_norm_grad_gamma"), p.arg("dgamma"), rows, s.C, args)
}

func (s SumSamples) cuda(p *Launches) {
	p.groupSums(p.typed("sum_rows"), p.arg("y"), s.N, s.Rows, s.C, sumRowsOf(p.arg("x"), s.N*s.Rows, s.C))
}
