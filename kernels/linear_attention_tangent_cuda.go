package kernels

// tangentSize is TangentSize of linear_attention_tangent.cu.
type tangentSize struct {
	Pixels, Heads, Dim, KV int
	Scale                  float32
}

type tangentStatsArgs struct {
	Stats, DT, V, Q, KV Operand
	S                   tangentSize
}

type tangentArgs struct {
	T, V, Q, KV, Stats Operand
	S                  tangentSize
}

type tangentGradArgs struct {
	D, DT, V, Q, KV, Stats Operand
	S                      tangentSize
}

func (s LinearAttentionTangent) size() tangentSize {
	return tangentSize{s.P, s.Heads, s.Dim, flag(s.KV), attentionScale(s.Dim)}
}

// tangentStats are four sums over the keys of each query. dt may be null.
func (p *Launches) tangentStats(s LinearAttentionTangent, dt Operand) Operand {
	stats := p.workspace(4 * s.F * s.P * s.Heads)
	p.perPixelAndHead("linear_attention_tangent_stats", s, tangentStatsArgs{stats, dt, p.arg("v"), p.arg("q"), p.arg("kv"), s.size()})
	return stats
}

// perPixelAndHead adds a kernel with a CTA for each pixel and head.
func (p *Launches) perPixelAndHead(kernel string, s LinearAttentionTangent, args any) {
	p.add(kernel, grid2D(s.F*s.P, s.Heads), grid1D(128), args)
}

func (s LinearAttentionTangent) cuda(p *Launches) {
	p.perPixelAndHead("linear_attention_tangent", s, tangentArgs{p.arg("t"), p.arg("v"), p.arg("q"), p.arg("kv"), p.tangentStats(s, Operand{}), s.size()})
}

func (s LinearAttentionTangentGradQ) cuda(p *Launches) {
	dt := p.arg("dt")
	p.perPixelAndHead("linear_attention_tangent_grad_q", s.LinearAttentionTangent,
		tangentGradArgs{p.arg("dq"), dt, p.arg("v"), p.arg("q"), p.arg("kv"), p.tangentStats(s.LinearAttentionTangent, dt), s.size()})
}

func (s LinearAttentionTangentGradKV) cuda(p *Launches) {
	dt := p.arg("dt")
	p.perPixelAndHead("linear_attention_tangent_grad_kv", s.LinearAttentionTangent,
		tangentGradArgs{p.arg("dkv"), dt, p.arg("v"), p.arg("q"), p.arg("kv"), p.tangentStats(s.LinearAttentionTangent, dt), s.size()})
}
