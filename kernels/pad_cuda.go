package kernels

type padSize struct {
	T, H, W, C, PT, PH, PW int
	Mode                   PadMode
}

type padArgs struct {
	Y, X Operand
	N    int
	S    padSize
}

func (s Pad) cuda(p *Launches) {
	kernel, n := vectorKernel("pad", p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, padArgs{p.arg("y"), p.arg("x"), n, padSize{s.T, s.H, s.W, s.C, s.PT, s.PH, s.PW, s.Mode}})
}

type padGradArgs struct {
	DX, DY Operand
	N      int
	S      padSize
}

func (s PadGrad) cuda(p *Launches) {
	kernel, n := vectorKernel("pad_grad", p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, padGradArgs{p.arg("dx"), p.arg("dy"), n, padSize{s.T, s.H, s.W, s.C, s.PT, s.PH, s.PW, s.Mode}})
}

// vectorKernel is the kernel for n values in pixels of c channels, and its number of
// threads: the one with eight channels a thread where c is a multiple of eight.
func vectorKernel(kernel string, n, c int) (string, int) {
	if c%8 == 0 {
		return kernel + "_8", n / 8
	}
	return kernel, n
}
