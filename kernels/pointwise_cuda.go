package kernels

type actArgs struct {
	Y, X Operand
	N    int
	Kind Activation
}

func (s Act) cuda(p *Launches) {
	p.elementwise8(p.typed("act"), s.Len, actArgs{p.arg("y"), p.arg("x"), s.Len, s.Kind})
}

type actGradArgs struct {
	DX, DY, S Operand
	N         int
	Kind      Activation
}

func (s ActGrad) cuda(p *Launches) {
	p.elementwise8(p.typed("act_grad"), s.Len, actGradArgs{p.arg("dx"), p.arg("dy"), p.arg("s"), s.Len, s.Kind})
}

type addArgs struct {
	Y, A, B Operand
	N       int
}

func (s Add) cuda(p *Launches) {
	p.elementwise8(p.typed("add"), s.Len, addArgs{p.arg("y"), p.arg("a"), p.arg("b"), s.Len})
}

type affineArgs struct {
	Y, X       Operand
	N          int
	Mul, Shift float32
}

func (s Affine) cuda(p *Launches) {
	p.elementwise8(p.typed("affine"), s.Len, affineArgs{p.arg("y"), p.arg("x"), s.Len, s.Mul, s.Add})
}
