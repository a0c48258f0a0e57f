package kernels

type blurArgs struct {
	Y, X                    Operand
	N                       int
	F, H, W, C, Time, Space int
}

func (s Blur) cuda(p *Launches) {
	kernel, n := vectorKernel("blur", p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, blurArgs{p.arg("y"), p.arg("x"), n, s.T, s.H, s.W, s.C, flag(s.Time), flag(s.Space)})
}
