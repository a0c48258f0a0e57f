package model

import (
	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// ssimWindow is the side of SSIM's window in pixels, that of Wang et al. (2004) and of package metrics.
const ssimWindow = 11

// structureTerms are the terms of the loss on pixels that compare more than a value with
// its target and need no weights: of image gradients and of structural similarity. recon
// and video are [N,T,H,W,C], weight is [N,T,H,W].
func (b *builder) structureTerms(recon, video, weight *G.Node) (terms []Term) {
	l := b.t.Config.Loss
	if l.GradientWeight > 0 {
		terms = append(terms, Term{Name: "gradient", Node: b.gradientLoss(recon, video, weight, l.GradientScales), Weight: l.GradientWeight})
	}
	if l.SSIMWeight > 0 {
		n, t, h, w, c := b.dims(recon)
		window := min(ssimWindow, h, w)
		s := kernels.SSIMLoss{N: n * t, H: h, W: w, C: c, Window: window - (1 - window%2)}
		terms = append(terms, Term{Name: "ssim", Node: b.apply(s, []int{}, recon, video, weight), Weight: l.SSIMWeight})
	}
	return terms
}

// gradientLoss is the mean of ImageGradientLoss over scales: frames as they are, then with half as
// many rows and columns each time, as long as a frame has two of both.
func (b *builder) gradientLoss(recon, video, weight *G.Node, scales int) *G.Node {
	var sum *G.Node
	used := 0
	for ; used < scales && b.err == nil; used++ {
		n, t, h, w, c := b.dims(recon)
		if used > 0 {
			if h < 4 || w < 4 {
				break
			}
			recon, video = b.halve(recon), b.halve(video)
			h, w = h/2, w/2
			weight = b.halveWeight(weight, n*t, h, w)
		}
		loss := b.apply(kernels.ImageGradientLoss{N: n * t, H: h, W: w, C: c}, []int{}, recon, video, weight)
		if sum == nil {
			sum = loss
		} else {
			sum = b.add(sum, loss)
		}
	}
	return b.scale(sum, 1/float64(max(used, 1)))
}

// halve is the mean of 2×2 pixels; a last odd row or column is left out.
func (b *builder) halve(x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	return b.apply(halved(n, t, h/2, w/2, h, w, c), []int{n, t, h / 2, w / 2, c}, x)
}

// halveWeight is halve of weights, to frames of h×w.
func (b *builder) halveWeight(weight *G.Node, frames, h, w int) *G.Node {
	if b.err != nil {
		return nil
	}
	s := weight.Shape()
	return b.apply(halved(frames, 1, h, w, s[2], s[3], 1), []int{s[0], s[1], h, w}, weight)
}

func halved(n, t, oh, ow, h, w, c int) kernels.Pool {
	return kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: 1, KH: 2, KW: 2, ST: 1, SH: 2, SW: 2, OT: t, OH: oh, OW: ow}
}
