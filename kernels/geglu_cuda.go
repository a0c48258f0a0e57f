package kernels

type gegluArgs struct {
	Y, X    Operand
	Rows, C int
}

func (s GEGLU) cuda(p *Launches) {
	p.warpPerRow(p.typed("geglu"), s.Rows, gegluArgs{p.arg("y"), p.arg("x"), s.Rows, s.C})
}

type gegluGradArgs struct {
	DX, DY, X Operand
	Rows, C   int
}

func (s GEGLUGrad) cuda(p *Launches) {
	p.warpPerRow(p.typed("geglu_grad"), s.Rows, gegluGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), s.Rows, s.C})
}

// warpPerRow adds a kernel with a warp for each row.
func (p *Launches) warpPerRow(kernel string, rows int, args any) {
	p.add(kernel, grid1D(ceilDiv(rows, threads/32)), grid1D(threads), args)
}
