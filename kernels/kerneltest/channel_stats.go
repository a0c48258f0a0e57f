package kerneltest

import "magvit/kernels"

func channelStatsCases() []Case {
	var cs []Case
	x := map[string]Draw{"x": shifted}
	for _, s := range []kernels.ChannelStats{{N: 1, Rows: 2, C: 1, Eps: 1e-6}, {N: 2, Rows: 33, C: 18, Eps: 1e-6}, {N: 1, Rows: 300, C: 5, Eps: 1e-3}} {
		cs = append(cs, newCase(s, mathTol, roundWhy, x), newCase(kernels.ChannelStatsGrad(s), mathTol, roundWhy, x))
	}
	signs := map[string]Draw{"x": Constant(1, 1, -1)}
	latents := kernels.ChannelStats{N: 1, Rows: 5 * 16 * 16, C: 18, Eps: 1e-6}
	return append(cs,
		newCase(kernels.ChannelStats{N: 1, Rows: 4, C: 3, Eps: 1e-6}, roundTol, "channels without variance: the square root of Eps", signs),
		smoothCase(kernels.ChannelStats{N: 2, Rows: 3, C: 2, Eps: 1e-2}, nil),
		benchCase(latents, mathTol, roundWhy, nil),
		benchCase(kernels.ChannelStatsGrad(latents), mathTol, roundWhy, nil))
}
