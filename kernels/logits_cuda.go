package kernels

type logitMeanArgs struct {
	Y, X Operand
	N    int
	Of   LogitFunc
}

func (s LogitMean) cuda(p *Launches) {
	p.oneCTA("logit_mean", logitMeanArgs{p.arg("y"), p.arg("x"), s.Len, s.Of})
}

type logitMeanGradArgs struct {
	DX, DY, X Operand
	N         int
	Of        LogitFunc
}

func (s LogitMeanGrad) cuda(p *Launches) {
	p.elementwise("logit_mean_grad", s.Len, logitMeanGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), s.Len, s.Of})
}

type gradientRatioArgs struct {
	Y, A, B          Operand
	N                int
	Eps, Floor, Most float32
}

func (s GradientRatio) cuda(p *Launches) {
	p.oneCTA("gradient_ratio", gradientRatioArgs{p.arg("y"), p.arg("a"), p.arg("b"), s.Len, s.Eps, s.Floor, s.Max})
}
