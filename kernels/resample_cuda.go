package kernels

type resampleArgs struct {
	Y, X                Operand
	N                   int
	Length, Inner, Head int
	Kind                Interpolation
}

func (s Resample) cuda(p *Launches) {
	n := p.args[0].Len()
	p.elementwise(p.typed("resample"), n, resampleArgs{p.arg("y"), p.arg("x"), n, s.T, s.Inner, s.Head, s.Kind})
}

type resampleGradArgs struct {
	DX, DY              Operand
	N                   int
	Length, Inner, Head int
	Kind                Interpolation
}

func (s ResampleGrad) cuda(p *Launches) {
	n := p.args[0].Len()
	p.elementwise(p.typed("resample_grad"), n, resampleGradArgs{p.arg("dx"), p.arg("dy"), n, s.T, s.Inner, s.Head, s.Kind})
}
