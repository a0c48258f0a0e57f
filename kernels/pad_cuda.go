package kernels

type padSize struct {
	T, H, W, C, PT, PH, PW int
	Mode                   PadMode
	After                  int
}

type padArgs struct {
	Y, X Operand
	N    int
	S    padSize
}

func (s Pad) size() padSize {
	return padSize{s.T, s.H, s.W, s.C, s.PT, s.PH, s.PW, s.Mode, flag(s.After)}
}

func (s Pad) cuda(p *Launches) {
	kernel, n := vectorKernel("pad", p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, padArgs{p.arg("y"), p.arg("x"), n, s.size()})
}

type padGradArgs struct {
	DX, DY Operand
	N      int
	S      padSize
}

func (s PadGrad) cuda(p *Launches) {
	kernel, n := vectorKernel("pad_grad", p.args[0].Len(), s.C)
	p.elementwise(p.typed(kernel), n, padGradArgs{p.arg("dx"), p.arg("dy"), n, s.size()})
}

// vectorKernel is the kernel for n values in pixels of c channels, and its number of
// threads: the one with eight channels a thread where c is a multiple of eight.
func vectorKernel(kernel string, n, c int) (string, int) {
	if c%8 == 0 {
		return kernel + "_8", n / 8
	}
	return kernel, n
}
