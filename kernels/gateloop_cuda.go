package kernels

type gateLoopArgs struct {
	Y, QKVA    Operand
	N, T, P, C int
}

func (s GateLoop) cuda(p *Launches) {
	n := s.N * s.P * s.C
	p.elementwise(p.typed("gateloop"), vectorThreads(n, s.C), gateLoopArgs{p.arg("y"), p.arg("qkva"), n, s.T, s.P, s.C})
}

type gateLoopGradArgs struct {
	DQKVA, DY, QKVA, H Operand
	N, T, P, C         int
}

func (s GateLoopGrad) cuda(p *Launches) {
	n := s.N * s.P * s.C
	p.elementwise(p.typed("gateloop_grad"), vectorThreads(n, s.C), gateLoopGradArgs{p.arg("dqkva"), p.arg("dy"), p.arg("qkva"), p.workspace(n * s.T), n, s.T, s.P, s.C})
}
