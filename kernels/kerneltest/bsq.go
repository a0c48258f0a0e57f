package kerneltest

import "magvit/kernels"

func bsqCases() []Case {
	var cs []Case
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 33, Books: 1, Bits: 18}, {Tokens: 700, Books: 2, Bits: 5}, {Tokens: 5, Books: 3, Bits: 24}} {
		for _, d := range []struct {
			inv  float32
			draw Draw
		}{{1, Normal(.3)}, {30, Mixed(-.5, .5, 0, .01, -.01)}} {
			draw := map[string]Draw{"u": d.draw, "dterms": Constant(.1, -.25, 1)}
			cs = append(cs,
				newCase(kernels.BSQLoss{LFQ: l, InvTemp: d.inv}, sumTol, sumWhy, draw),
				newCase(kernels.BSQLossGrad{LFQ: l, InvTemp: d.inv}, sumTol, sumWhy, draw))
		}
	}
	cs = append(cs, smoothCase(kernels.BSQLoss{LFQ: kernels.LFQ{Tokens: 2, Books: 2, Bits: 3}, InvTemp: .8}, map[string]Draw{"u": awayFromZero["z"]}))
	l := kernels.LFQ{Tokens: 5120, Books: 1, Bits: 18}
	draw := map[string]Draw{"u": Normal(.2), "dterms": Constant(1)}
	return append(cs,
		benchCase(kernels.BSQLoss{LFQ: l, InvTemp: 2}, sumTol, sumWhy, draw),
		benchCase(kernels.BSQLossGrad{LFQ: l, InvTemp: 2}, sumTol, sumWhy, draw))
}
