package kernels

type poolSize struct {
	T, H, W, C, KT, KH, KW, ST, SH, SW, PT, PH, PW, OT, OH, OW int
}

func (s Pool) size() poolSize {
	return poolSize{s.T, s.H, s.W, s.C, s.KT, s.KH, s.KW, s.ST, s.SH, s.SW, s.PT, s.PH, s.PW, s.OT, s.OH, s.OW}
}

type poolArgs struct {
	Y, X Operand
	N    int
	S    poolSize
}

func (s Pool) cuda(p *Launches) {
	kernel := "pool_mean"
	if s.Kind == MaxPool {
		kernel = "pool_max"
	}
	kernel, n := vectorKernel(kernel, p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, poolArgs{p.arg("y"), p.arg("x"), n, s.size()})
}

type poolMeanGradArgs struct {
	DX, DY Operand
	N      int
	S      poolSize
}

type poolMaxGradArgs struct {
	DX, DY, X, Y Operand
	N            int
	S            poolSize
}

func (s PoolGrad) cuda(p *Launches) {
	if s.Kind == MaxPool {
		kernel, n := vectorKernel("pool_max_grad", p.args[0].Len(), s.C)
		p.elementwise(p.typed(kernel), n, poolMaxGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), p.arg("y"), n, s.size()})
		return
	}
	kernel, n := vectorKernel("pool_mean_grad", p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, poolMeanGradArgs{p.arg("dx"), p.arg("dy"), n, s.size()})
}
