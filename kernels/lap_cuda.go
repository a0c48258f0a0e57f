package kernels

type lapArgs struct {
	Y, X, M                                Operand
	N                                      int
	Length, Inner, Size, Reach, Transposed int
}

func (s Lap) cuda(p *Launches) {
	n := p.args[0].Len()
	p.elementwise(p.typed("lap"), n, lapArgs{p.arg("y"), p.arg("x"), p.arg("m"), n, s.T, s.Inner, s.Size, s.Reach, flag(s.Transposed)})
}
