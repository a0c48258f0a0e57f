package kernels

type runningAverageArgs struct {
	Y, Average, X Operand
	N             int
	Rate          float32
}

func (s RunningAverage) cuda(p *Launches) {
	p.elementwise("running_average", s.Len, runningAverageArgs{p.arg("y"), p.arg("average"), p.arg("x"), s.Len, s.Rate})
}

type runningUpdateArgs struct {
	Average, X, Guard Operand
	N                 int
	Rate              float32
}

func (s RunningUpdate) cuda(p *Launches) {
	p.elementwise("running_update", s.Len, runningUpdateArgs{p.arg("average"), p.arg("x"), p.arg("guard"), s.Len, s.Rate})
}
