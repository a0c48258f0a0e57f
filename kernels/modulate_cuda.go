package kernels

type modulateArgs struct {
	M, W, S           Operand
	O, Taps, C, Demod int
}

func (s Modulate) cuda(p *Launches) {
	p.add("modulate", grid1D(s.N*s.O), grid1D(threads), modulateArgs{p.arg("m"), p.arg("w"), p.arg("s"), s.O, s.Taps, s.C, flag(s.Demod)})
}

type modulateGradWArgs struct {
	DW, DM, W, S, R, Along Operand
	N, Samples, O, Taps, C int
}

func (s ModulateGradW) cuda(p *Launches) {
	r, along := s.demodulation(p)
	n := s.O * s.Taps * s.C
	p.elementwise("modulate_grad_w", n, modulateGradWArgs{p.arg("dw"), p.arg("dm"), p.arg("w"), p.arg("s"), r, along, n, s.N, s.O, s.Taps, s.C})
}

type modulateGradSArgs struct {
	Y, DM, W, S, R, Along         Operand
	Rows, Columns, Group, O, Taps int
}

func (s ModulateGradS) cuda(p *Launches) {
	r, along := s.demodulation(p)
	rows := s.N * s.O * s.Taps
	channels := p.workspace(s.N * s.O * s.C) // the gradient of each output channel
	p.columnSums("modulate_grad_s", channels, rows, s.C, s.Taps, func(y Operand, group int) any {
		return modulateGradSArgs{y, p.arg("dm"), p.arg("w"), p.arg("s"), r, along, rows, s.C, group, s.O, s.Taps}
	})
	p.sumRows(p.arg("ds"), channels, s.N*s.O, s.C, s.O)
}

type modulateStatsArgs struct {
	R, Along, DM, W, S Operand
	O, Taps, C, Demod  int
}

// demodulation is what the gradients need of each sample's output channels.
func (s Modulate) demodulation(p *Launches) (r, along Operand) {
	r, along = p.workspace(s.N*s.O), p.workspace(s.N*s.O)
	p.add("modulate_stats", grid1D(s.N*s.O), grid1D(threads), modulateStatsArgs{r, along, p.arg("dm"), p.arg("w"), p.arg("s"), s.O, s.Taps, s.C, flag(s.Demod)})
	return r, along
}
