package kernels

type lecamArgs struct {
	Y, X, A Operand
	N, Fake int
}

func (s LeCam) cuda(p *Launches) {
	p.oneCTA("lecam", lecamArgs{p.arg("y"), p.arg("x"), p.arg("a"), s.Len, flag(s.Fake)})
}

type lecamGradArgs struct {
	DX, DY, X, A Operand
	N, Fake      int
}

func (s LeCamGrad) cuda(p *Launches) {
	p.elementwise("lecam_grad", s.Len, lecamGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("a"), s.Len, flag(s.Fake)})
}
