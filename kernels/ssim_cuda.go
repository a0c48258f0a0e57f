package kernels

type ssimSize struct{ H, W, C, Window int }

type ssimLossArgs struct {
	Partials, X, Target, Weight Operand
	N                           int
	S                           ssimSize
	Chunk                       int
}

// values is the number of windows and channels.
func (s SSIMLoss) values() int {
	h, w := s.windows()
	return s.N * h * w * s.C
}

func (s SSIMLoss) size() ssimSize { return ssimSize{s.H, s.W, s.C, s.Window} }

// ssimChunks is chunks for windows, each of which is as much work as many values.
func ssimChunks(n int) (ctas, size int) {
	size = ceilDiv(ceilDiv(n, max(1, min(8*wave, n/threads))), 8) * 8
	return ceilDiv(n, size), size
}

func (s SSIMLoss) cuda(p *Launches) {
	n, size := ssimChunks(s.values())
	partials := p.workspace(2 * n)
	p.add("ssim_loss", grid1D(n), grid1D(threads), ssimLossArgs{partials, p.arg("x"), p.arg("target"), p.arg("weight"), s.values(), s.size(), size})
	p.oneCTA("recon_loss_end", reconLossEndArgs{p.arg("loss"), partials, n})
}

type ssimSlopesArgs struct {
	Slopes, Sums, X, Target, Weight Operand
	N                               int
	S                               ssimSize
	Chunk                           int
}

type ssimLossGradArgs struct {
	DX, DLoss, X, Target, Slopes, Sums Operand
	N, Windows                         int
	S                                  ssimSize
	Count                              int
}

func (s SSIMLossGrad) cuda(p *Launches) {
	f := SSIMLoss(s)
	n, size := ssimChunks(f.values())
	slopes, sums := p.workspace(3*f.values()), p.workspace(n)
	p.add("ssim_slopes", grid1D(n), grid1D(threads), ssimSlopesArgs{slopes, sums, p.arg("x"), p.arg("target"), p.arg("weight"), f.values(), f.size(), size})
	values := p.args[0].Len()
	p.elementwise("ssim_loss_grad", values, ssimLossGradArgs{p.arg("dx"), p.arg("dloss"), p.arg("x"), p.arg("target"), slopes, sums, values, f.values(), f.size(), n})
}
