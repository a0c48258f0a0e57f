package kernels

type padRowsArgs struct {
	Y, X        Operand
	N, From, To int
}

func (s PadRows) cuda(p *Launches) {
	kernel := "pad_rows"
	if p.isBF16(p.arg("y")) {
		kernel = "pad_rows_half"
	}
	n := s.Rows * s.To
	p.elementwise8(kernel, n, padRowsArgs{p.arg("y"), p.arg("x"), n, s.From, s.To})
}
