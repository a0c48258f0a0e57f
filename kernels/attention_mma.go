package kernels

// Tiles of attention_mma.cu, which computes attention of narrow heads on tensor cores,
// activations being bfloat16.
const (
	mmaHead  = 32 // channels of a head, at most
	mmaSpan  = 64 // queries or keys of a CTA, at most
	mmaQuery = 16 // queries or keys of a warp
)

// mmaWarps is the number of warps of a CTA for n queries or keys.
func mmaWarps(n int) int { return min(mmaSpan, ceilDiv(n, mmaQuery)*mmaQuery) / mmaQuery }

// attentionWarps adds a kernel with a CTA for each tile of a sequence and head.
func (p *Launches) attentionWarps(kernel string, a attentionLaunch, args any) {
	warps := mmaWarps(a.Length)
	p.add(kernel, grid1D(a.sequences*a.Heads*ceilDiv(a.Length, warps*mmaQuery)), grid1D(warps*32), args)
}

func (s AttentionGrad) mma(p *Launches) {
	a := s.launch()
	dqkv, qkv := p.arg("dqkv"), p.arg("qkv")
	rows := p.attentionRowsMMA(a, dqkv)
	p.attentionWarps("attention_grad_kv_mma", a, attentionGradKVArgs{dqkv, p.arg("dy"), qkv, qkv, rows, a.attentionSize, a.tokens()})
}

func (s AttentionGradMem) mma(p *Launches) {
	a := s.launch()
	p.attentionGradMemoryMMA(a, p.attentionRowsMMA(a, Operand{}))
}

func (p *Launches) attentionGradMemoryMMA(a attentionLaunch, rows Operand) {
	dmem := p.arg("dmem")
	warps := mmaWarps(a.Memory)
	n := 2 * a.Heads * a.Memory * a.Dim
	tiles := a.Heads * ceilDiv(a.Memory, warps*mmaQuery)
	splits, size := splitInto(sumWave, a.tokens(), tiles, 2*mmaSpan)
	partials := p.partials(dmem, splits, n)
	p.add("attention_grad_memory_mma", grid3D(tiles, 1, splits), grid1D(warps*32),
		attentionGradMemoryArgs{partials, p.arg("dy"), p.arg("qkv"), p.arg("mem"), rows, a.attentionSize, a.tokens(), size})
	p.addPartials(dmem, partials, splits, splits, n)
}

type attentionGradQMMAArgs struct {
	DQ, Rows, DY, Q, KV, Memory Operand
	S                           attentionSize
	Tokens, Known               int
}

// attentionRowsMMA is attentionRows, and the gradient of the queries unless dq is null.
func (p *Launches) attentionRowsMMA(a attentionLaunch, dq Operand) Operand {
	rows := p.workspace(3 * a.Heads * a.tokens())
	p.attentionGradQMMA(a, dq, rows, false)
	return rows
}

// attentionGradQMMA is the gradient of the queries unless dq is null, and their statistics to rows unless these are known.
func (p *Launches) attentionGradQMMA(a attentionLaunch, dq, rows Operand, known bool) {
	qkv := p.arg("qkv")
	p.attentionWarps("attention_grad_q_mma", a, attentionGradQMMAArgs{dq, rows, p.arg("dy"), qkv, qkv, p.optional("mem"), a.attentionSize, a.tokens(), flag(known)})
}
