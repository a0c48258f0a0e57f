package kernels

type crossEntropyArgs struct {
	Rows, Counts, Logits, Label Operand
	N, C                        int
}

type crossEntropyEndArgs struct {
	Loss, Rows, Counts Operand
	N                  int
}

func (s CrossEntropy) cuda(p *Launches) {
	rows, counts := p.workspace(s.Rows), p.workspace(s.Rows)
	p.elementwise("cross_entropy", s.Rows, crossEntropyArgs{rows, counts, p.arg("logits"), p.arg("label"), s.Rows, s.C})
	p.oneCTA("cross_entropy_end", crossEntropyEndArgs{p.arg("loss"), rows, counts, s.Rows})
}

type crossEntropyGradArgs struct {
	DLogits, DLoss, Logits, Label Operand
	N, C                          int
}

func (s CrossEntropyGrad) cuda(p *Launches) {
	p.elementwise("cross_entropy_grad", s.Rows, crossEntropyGradArgs{p.arg("dlogits"), p.arg("dloss"), p.arg("logits"), p.arg("label"), s.Rows, s.C})
}
