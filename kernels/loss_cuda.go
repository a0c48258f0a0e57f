package kernels

type reconLossArgs struct {
	Partials, X, Target, Weight Operand
	Pixels, C                   int
	Kind                        LossKind
	Overshoot                   float32
	Chunk, Weights              int
}

type reconLossEndArgs struct {
	Loss, Partials Operand
	N              int
}

func (s ReconLoss) cuda(p *Launches) {
	n, size := chunks(s.Pixels * s.C)
	partials := p.workspace(2 * n)
	p.add("recon_loss", grid1D(n), grid1D(threads), reconLossArgs{partials, p.arg("x"), p.arg("target"), p.arg("weight"), s.Pixels, s.C, s.Kind, s.Overshoot, size, ceilDiv(s.Pixels, n)})
	p.oneCTA("recon_loss_end", reconLossEndArgs{p.arg("loss"), partials, n})
}

type reconLossGradArgs struct {
	DX, DLoss, X, Target, Weight, Sums Operand
	N, C                               int
	Kind                               LossKind
	Overshoot                          float32
	Count                              int
}

func (s ReconLossGrad) cuda(p *Launches) {
	n, size := chunks(s.Pixels)
	sums := p.workspace(n)
	p.add("sum_values", grid1D(n), grid1D(threads), sumChunksArgs{sums, p.arg("weight"), s.Pixels, size})
	values := s.Pixels * s.C
	p.elementwise8("recon_loss_grad", values, reconLossGradArgs{p.arg("dx"), p.arg("dloss"), p.arg("x"), p.arg("target"), p.arg("weight"), sums, values, s.C, s.Kind, s.Overshoot, n})
}
