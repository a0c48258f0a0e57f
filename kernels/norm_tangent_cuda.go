package kernels

type rmsNormTangentArgs struct {
	T, V, X, Gamma Operand
	Rows, C        int
}

func (s RMSNormTangent) cuda(p *Launches) {
	p.warpPerRow("rms_norm_tangent", s.Rows, rmsNormTangentArgs{p.arg("t"), p.arg("v"), p.arg("x"), p.arg("gamma"), s.Rows, s.C})
}

type rmsNormTangentGradXArgs struct {
	DX, DT, V, X, Gamma Operand
	Rows, C             int
}

func (s RMSNormTangentGradX) cuda(p *Launches) {
	p.warpPerRow("rms_norm_tangent_grad_x", s.Rows, rmsNormTangentGradXArgs{p.arg("dx"), p.arg("dt"), p.arg("v"), p.arg("x"), p.arg("gamma"), s.Rows, s.C})
}

type rmsNormTangentStatsArgs struct {
	Stats, V, X Operand
	Rows, C     int
}

type rmsNormTangentGradGammaArgs struct {
	Y, DT, V, X, Stats Operand
	Rows, C, Chunk     int
}

func (s RMSNormTangentGradGamma) cuda(p *Launches) {
	stats := p.workspace(2 * s.Rows)
	p.warpPerRow("rms_norm_tangent_stats", s.Rows, rmsNormTangentStatsArgs{stats, p.arg("v"), p.arg("x"), s.Rows, s.C})
	y := p.arg("dgamma")
	columns := ceilDiv(s.C, threads)
	splits, size := splitInto(sumWave, s.Rows, columns, 64)
	partials := p.partials(y, splits, s.C)
	p.add("rms_norm_tangent_grad_gamma", grid2D(splits, columns), grid1D(threads),
		rmsNormTangentGradGammaArgs{partials, p.arg("dt"), p.arg("v"), p.arg("x"), stats, s.Rows, s.C, size})
	p.addPartials(y, partials, splits, splits, s.C)
}
