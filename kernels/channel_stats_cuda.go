package kernels

type channelStatsArgs struct {
	Y, X       Operand
	N, Rows, C int
	Eps        float32
}

func (s ChannelStats) cuda(p *Launches) {
	p.add("channel_stats", grid1D(s.N*s.C), grid1D(threads), channelStatsArgs{p.arg("y"), p.arg("x"), s.N, s.Rows, s.C, s.Eps})
}

type channelStatsGradArgs struct {
	DX, DY, X  Operand
	N, Rows, C int
	Eps        float32
}

func (s ChannelStatsGrad) cuda(p *Launches) {
	p.add("channel_stats_grad", grid1D(s.N*s.C), grid1D(threads), channelStatsGradArgs{p.arg("dx"), p.arg("dy"), p.arg("x"), s.N, s.Rows, s.C, s.Eps})
}
