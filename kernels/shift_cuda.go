package kernels

type tokenShiftArgs struct {
	Y, X                          Operand
	N, Frames, Frame, C, Stay, By int
}

func (s TokenShift) cuda(p *Launches) {
	by, kernel, v := -1, "token_shift", 1
	if s.Back {
		by = 1
	}
	if s.C%16 == 0 {
		kernel, v = "token_shift_8", 8
	}
	n := s.N * s.T * s.P * s.C / v
	p.elementwise(p.typed(kernel), n, tokenShiftArgs{p.arg("y"), p.arg("x"), n, s.T, s.P * s.C / v, s.C / v, (s.C + 1) / 2 / v, by})
}
