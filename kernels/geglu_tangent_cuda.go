package kernels

type gegluTangentArgs struct {
	T, V, X Operand
	N, C    int
}

func (s GEGLUTangent) cuda(p *Launches) {
	n := s.Rows * s.C
	p.elementwise("geglu_tangent", n, gegluTangentArgs{p.arg("t"), p.arg("v"), p.arg("x"), n, s.C})
}

type gegluTangentGradArgs struct {
	DX, DT, V, X Operand
	N, C         int
}

func (s GEGLUTangentGrad) cuda(p *Launches) {
	n := s.Rows * s.C
	p.elementwise("geglu_tangent_grad", n, gegluTangentGradArgs{p.arg("dx"), p.arg("dt"), p.arg("v"), p.arg("x"), n, s.C})
}
