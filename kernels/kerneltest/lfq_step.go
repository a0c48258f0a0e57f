package kerneltest

import "magvit/kernels"

// lfqStepCases are those of kernels.LFQMeans, kernels.LFQStepLoss and kernels.LFQStepLossGrad.
func lfqStepCases() (cs []Case) {
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 65, Books: 2, Bits: 5}, {Tokens: 130, Books: 1, Bits: 9}, {Tokens: 300, Books: 2, Bits: 3}, {Tokens: 3, Books: 1, Bits: 11}} {
		for _, t := range []struct {
			inv  float32
			draw Draw
		}{{.25, Normal(1)}, {100, Mixed(-10, 10, 0, .001, -.001)}} {
			draw := map[string]Draw{"z": t.draw, "dterms": Constant(.1, -.25, 1), "mean": Mixed(0, .1, 0, 1)}
			cs = append(cs, newCase(kernels.LFQMeans{LFQ: l, InvTemp: t.inv}, sumTol, sumWhy, draw))
			for _, offset := range []float32{0, 1e-5} {
				s := kernels.LFQLoss{LFQ: l, InvTemp: t.inv, Offset: offset}
				cs = append(cs,
					newCase(kernels.LFQStepLoss{LFQLoss: s}, sumTol, sumWhy, draw),
					newCase(kernels.LFQStepLossGrad{LFQLossGrad: kernels.LFQLossGrad(s)}, sumTol, sumWhy, draw))
			}
		}
	}
	large := kernels.LFQLoss{LFQ: kernels.LFQ{Tokens: 512, Books: 1, Bits: 18}, InvTemp: 100}
	draw := map[string]Draw{"z": Normal(.05), "dterms": Constant(1), "mean": Mixed(0, 1e-5, 0)}
	return append(cs,
		benchCase(kernels.LFQMeans{LFQ: large.LFQ, InvTemp: 100}, sumTol, sumWhy, draw),
		benchCase(kernels.LFQStepLoss{LFQLoss: large}, sumTol, sumWhy, draw),
		benchCase(kernels.LFQStepLossGrad{LFQLossGrad: kernels.LFQLossGrad(large)}, sumTol, sumWhy, draw))
}
