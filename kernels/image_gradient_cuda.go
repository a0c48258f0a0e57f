package kernels

type imageGradientLossArgs struct {
	Partials, X, Target, Weight Operand
	Pixels, H, W, C, Chunk      int
}

func (s ImageGradientLoss) cuda(p *Launches) {
	pixels := s.N * s.H * s.W
	n, size := chunks(pixels)
	partials := p.workspace(2 * n)
	p.add("image_gradient_loss", grid1D(n), grid1D(threads), imageGradientLossArgs{partials, p.arg("x"), p.arg("target"), p.arg("weight"), pixels, s.H, s.W, s.C, size})
	p.oneCTA("recon_loss_end", reconLossEndArgs{p.arg("loss"), partials, n})
}

type imageGradientLossGradArgs struct {
	DX, DLoss, X, Target, Weight, Sums Operand
	N, H, W, C, Count                  int
}

func (s ImageGradientLossGrad) cuda(p *Launches) {
	pixels := s.N * s.H * s.W
	n, size := chunks(pixels)
	sums := p.workspace(n)
	p.add("sum_values", grid1D(n), grid1D(threads), sumChunksArgs{sums, p.arg("weight"), pixels, size})
	p.elementwise("image_gradient_loss_grad", pixels*s.C,
		imageGradientLossGradArgs{p.arg("dx"), p.arg("dloss"), p.arg("x"), p.arg("target"), p.arg("weight"), sums, pixels * s.C, s.H, s.W, s.C, n})
}
