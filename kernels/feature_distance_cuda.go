package kernels

const featureWarps = threads / 32 // of a CTA: each computes a pixel at a time

type featureDistanceArgs struct {
	Partials, F, G, W Operand
	P, C, Chunk       int
}

type featureDistanceEndArgs struct {
	D, Partials Operand
	N, Count, P int
}

// chunks is how many CTAs share the pixels of an image.
func (s FeatureDistance) chunks() (ctas, size int) {
	ctas = max(1, min(ceilDiv(s.P, 4*featureWarps), ceilDiv(wave, s.N)))
	size = ceilDiv(s.P, ctas)
	return ceilDiv(s.P, size), size
}

func (s FeatureDistance) cuda(p *Launches) {
	n, size := s.chunks()
	partials := p.workspace(s.N * n)
	p.add(p.typed("feature_distance"), grid2D(n, s.N), grid1D(threads), featureDistanceArgs{partials, p.arg("f"), p.arg("g"), p.arg("w"), s.P, s.C, size})
	p.elementwise("feature_distance_end", s.N, featureDistanceEndArgs{p.arg("d"), partials, s.N, n, s.P})
}

type featureDistanceGradArgs struct {
	DF, DD, F, G, W Operand
	Rows, P, C      int
}

func (s FeatureDistanceGrad) cuda(p *Launches) {
	rows := s.N * s.P
	p.add(p.typed("feature_distance_grad"), grid1D(ceilDiv(rows, featureWarps)), grid1D(threads),
		featureDistanceGradArgs{p.arg("df"), p.arg("dd"), p.arg("f"), p.arg("g"), p.arg("w"), rows, s.P, s.C})
}
