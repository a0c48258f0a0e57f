package kernels

// stepSize is StepSize of attention_step.cu.
type stepSize struct {
	N, Max, Heads, Dim, Memory int
	Scale                      float32
}

type attentionStepScoresArgs struct {
	Scores, QKV, Cache, Mem, Past Operand
	S                             stepSize
}

type attentionStepArgs struct {
	Y, Scores, QKV, Cache, Mem, Past Operand
	S                                stepSize
}

func (s AttentionStep) cuda(p *Launches) {
	n := s.N * s.Heads * (s.Memory + s.Max + 1)
	scores, size := p.workspace(n), stepSize{s.N, s.Max, s.Heads, s.Dim, s.Memory, attentionScale(s.Dim)}
	qkv, cache, mem, past := p.arg("qkv"), p.arg("cache"), p.arg("mem"), p.arg("past")
	p.elementwise("attention_step_scores", n, attentionStepScoresArgs{scores, qkv, cache, mem, past, size})
	p.add("attention_step", grid1D(s.N*s.Heads), grid1D(threads), attentionStepArgs{p.arg("y"), scores, qkv, cache, mem, past, size})
}
