package kernels

type packArgs struct {
	Y, X      Operand
	N, Chunks int
	C         int
}

type unfoldArgs struct {
	Y, X                            Operand
	N, Chunks, W, C, OW, KW, SW, PW int
}

type transposeArgs struct {
	Y, W                  Operand
	N, Chunks, O, Taps, C int
}

// packed reserves n chunks of 16 bytes.
func (p *Launches) packed(n int) Operand { return p.workspace(n * chunkLen / 2) }

// packRows rounds rows of c values to bfloat16, each padded to whole chunks. It does
// nothing where they are stored like that.
func (p *Launches) packRows(x Operand, rows, c int) Operand {
	if p.isBF16(x) && c%chunkLen == 0 {
		return x
	}
	chunks := ceilDiv(c, chunkLen)
	n := rows * chunks
	y := p.packed(n)
	p.elementwise(p.packKernel("pack_bf16", x), n, packArgs{y, x, n, chunks, c})
	return y
}

// packKernel is the name of the kernel for the type that x is stored in.
func (p *Launches) packKernel(kernel string, x Operand) string {
	if p.isBF16(x) {
		return kernel + "_half"
	}
	return kernel
}

// packInput packs the input and returns the convolution that reads it. Where a pixel is
// less than a chunk, as in a stem, and that gives fewer terms, the taps of a row become
// channels: 24 instead of 7 times 8.
func (p *Launches) packInput(s Conv, samples int, x Operand) (Operand, Conv) {
	chunks := ceilDiv(s.KW*s.C, chunkLen)
	if s.C >= chunkLen || chunks >= s.KW {
		return p.packRows(x, samples*s.N*s.T*s.H*s.W, s.C), s
	}
	_, _, w := s.Out()
	n := samples * s.N * s.T * s.H * w * chunks
	y := p.packed(n)
	p.elementwise(p.packKernel("unfold_bf16", x), n, unfoldArgs{y, x, n, chunks, s.W, s.C, w, s.KW, s.SW, s.PW})
	s.W, s.C, s.KW, s.SW, s.PW = w, s.KW*s.C, 1, 1, 0
	return y, s
}
