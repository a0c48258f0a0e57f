package kernels

type windowsArgs struct {
	Y, X, At                 Operand
	N, T, H, W, C, K, SH, SW int
}

func (s Windows) cuda(p *Launches) {
	n := p.args[0].Len()
	p.elementwise("windows", n, windowsArgs{p.arg("y"), p.arg("x"), p.arg("at"), n, s.T, s.H, s.W, s.C, s.K, s.SH, s.SW})
}

type windowsGradArgs struct {
	DX, DY, At               Operand
	N, T, H, W, C, K, SH, SW int
}

func (s WindowsGrad) cuda(p *Launches) {
	n := p.args[0].Len()
	p.elementwise("windows_grad", n, windowsGradArgs{p.arg("dx"), p.arg("dy"), p.arg("at"), n, s.T, s.H, s.W, s.C, s.K, s.SH, s.SW})
}
