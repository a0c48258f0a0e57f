package kernels

type blendArgs struct {
	Y, A, B, M Operand
	N          int
}

func (s Blend) cuda(p *Launches) {
	p.elementwise8(p.typed("blend"), s.Len, blendArgs{p.arg("y"), p.arg("a"), p.arg("b"), p.arg("m"), s.Len})
}

type blendGradArgs struct {
	DX, DY, M Operand
	N, Second int
}

func (s BlendGrad) cuda(p *Launches) {
	p.elementwise8(p.typed("blend_grad"), s.Len, blendGradArgs{p.arg("dx"), p.arg("dy"), p.arg("m"), s.Len, flag(s.Second)})
}

type blendGradMixArgs struct {
	Parts, DY, A, B, M Operand
	N, Chunk           int
}

func (s BlendGradMix) cuda(p *Launches) {
	ctas, size := chunks(s.Len)
	parts := p.partials(p.arg("dm"), ctas, 1)
	p.add(p.typed("blend_grad_mix"), grid1D(ctas), grid1D(threads), blendGradMixArgs{parts, p.arg("dy"), p.arg("a"), p.arg("b"), p.arg("m"), s.Len, size})
	if ctas > 1 {
		p.oneCTA("sum_values", sumChunksArgs{p.arg("dm"), parts, ctas, ceilDiv(ctas, 8) * 8})
	}
}

type learnedScaleArgs struct {
	Y, X, V Operand
	K       float32
}

func (s LearnedScale) cuda(p *Launches) {
	p.add("learned_scale", grid1D(1), grid1D(1), learnedScaleArgs{p.arg("y"), p.arg("x"), p.arg("v"), s.K})
}

type learnedScaleGradArgs struct {
	D, DY, X, V Operand
	K           float32
	OfScale     int
}

func (s LearnedScaleGrad) cuda(p *Launches) {
	p.add("learned_scale_grad", grid1D(1), grid1D(1), learnedScaleGradArgs{p.arg("d"), p.arg("dy"), p.arg("x"), p.arg("v"), s.K, flag(s.OfScale)})
}
