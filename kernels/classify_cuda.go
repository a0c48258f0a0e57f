package kernels

type crossEntropyArgs struct {
	Rows, Logits, Label Operand
	N, C                int
	Smoothing           float32
}

type crossEntropyEndArgs struct {
	Loss, Rows, Label Operand
	N                 int
}

func (s CrossEntropy) cuda(p *Launches) {
	rows := p.workspace(s.Rows)
	p.warpPerRow("cross_entropy", s.Rows, crossEntropyArgs{rows, p.arg("logits"), p.arg("label"), s.Rows, s.C, s.Smoothing})
	p.oneCTA("cross_entropy_end", crossEntropyEndArgs{p.arg("loss"), rows, p.arg("label"), s.Rows})
}

type crossEntropyCountArgs struct {
	Count, Label Operand
	N            int
}

type crossEntropyGradArgs struct {
	DLogits, DLoss, Logits, Label, Count Operand
	N, C                                 int
	Smoothing                            float32
}

func (s CrossEntropyGrad) cuda(p *Launches) {
	count := p.workspace(1)
	p.oneCTA("cross_entropy_count", crossEntropyCountArgs{count, p.arg("label"), s.Rows})
	p.warpPerRow("cross_entropy_grad", s.Rows, crossEntropyGradArgs{p.arg("dlogits"), p.arg("dloss"), p.arg("logits"), p.arg("label"), count, s.Rows, s.C, s.Smoothing})
}
