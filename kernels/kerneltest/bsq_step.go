package kerneltest

import "magvit/kernels"

// bsqStepCases are those of kernels.BSQMeans, kernels.BSQStepLoss and kernels.BSQStepLossGrad.
func bsqStepCases() (cs []Case) {
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 700, Books: 2, Bits: 5}, {Tokens: 5, Books: 3, Bits: 24}} {
		for _, d := range []struct {
			inv  float32
			draw Draw
		}{{1, Normal(.3)}, {30, Mixed(-.5, .5, 0, .01, -.01)}} {
			cs = append(cs, bsqStepCasesOf(newCase, kernels.BSQLoss{LFQ: l, InvTemp: d.inv}, d.draw)...)
		}
	}
	return append(cs, bsqStepCasesOf(benchCase, kernels.BSQLoss{LFQ: kernels.LFQ{Tokens: 5120, Books: 1, Bits: 18}, InvTemp: 2}, Normal(.2))...)
}

func bsqStepCasesOf(of func(kernels.Spec, float64, string, map[string]Draw) Case, s kernels.BSQLoss, u Draw) []Case {
	draw := map[string]Draw{"u": u, "dterms": Constant(.1, -.25, 1), "mean": Mixed(0, .1, .7, 1)}
	return []Case{
		of(kernels.BSQMeans(s), sumTol, sumWhy, draw),
		of(kernels.BSQStepLoss{BSQLoss: s}, sumTol, sumWhy, draw),
		of(kernels.BSQStepLossGrad{BSQLossGrad: kernels.BSQLossGrad(s)}, sumTol, sumWhy, draw)}
}
