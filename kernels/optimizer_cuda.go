package kernels

type adamWArgs struct {
	P, M, V, EMA, G, Norm2, H Operand
	N                         int
}

func (s AdamW) cuda(p *Launches) {
	p.elementwise8("adam_w", s.Len, adamWArgs{p.arg("p"), p.arg("m"), p.arg("v"), p.arg("ema"), p.arg("g"), p.arg("norm2"), p.arg("hyper"), s.Len})
}
