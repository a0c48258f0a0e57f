package kernels

type batchMomentsArgs struct {
	Y, Parts           Operand
	N, C, Splits, Rows int
	Decay              float32
	Variance           int
}

func (s BatchMoments) cuda(p *Launches) {
	norm := s.norm()
	groups, splits := s.N*s.C, norm.splits()
	parts := p.workspace(groups * splits * 3)
	p.add(p.typed("group_norm_parts"), grid2D(splits, groups), grid1D(threads), groupPartArgs{parts, p.arg("x"), s.Rows, s.C, s.C, splits})
	p.elementwise("batch_moments", s.C, batchMomentsArgs{p.arg("y"), parts, s.N, s.C, splits, s.Rows, s.Decay, flag(s.Variance)})
}
