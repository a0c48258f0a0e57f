package kerneltest

import "magvit/kernels"

func lfqCases() []Case {
	var cs []Case
	signs := map[string]Draw{"z": Mixed(-2, 2, 0, 1e-30, -1e-30)}
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 33, Books: 1, Bits: 10}, {Tokens: 129, Books: 2, Bits: 7}, {Tokens: 5, Books: 1, Bits: 24}} {
		cs = append(cs,
			newCase(kernels.LFQSign{LFQ: l}, exactTol, exactWhy, signs),
			newCase(kernels.LFQIndex{LFQ: l}, exactTol, exactWhy, signs),
			newCase(kernels.LFQIndex{LFQ: l, LowFirst: true}, exactTol, exactWhy, signs),
			newCase(kernels.LFQValues{LFQ: l}, exactTol, exactWhy, map[string]Draw{"idx": Whole(1 << l.Bits)}),
			newCase(kernels.LFQValues{LFQ: l, LowFirst: true}, exactTol, exactWhy, map[string]Draw{"idx": Whole(1 << l.Bits)}))
	}
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 7, Books: 1, Bits: 2}, {Tokens: 65, Books: 2, Bits: 5}, {Tokens: 130, Books: 1, Bits: 9}, {Tokens: 300, Books: 2, Bits: 3}, {Tokens: 3, Books: 1, Bits: 11}} {
		for _, t := range []struct {
			inv  float32
			draw Draw
		}{{.25, Normal(1)}, {100, Normal(.01)}, {100, Mixed(-10, 10, 0, .001, -.001)}} {
			draw := map[string]Draw{"z": t.draw, "dterms": Constant(.1, -.25, 1)}
			cs = append(cs,
				newCase(kernels.LFQLoss{LFQ: l, InvTemp: t.inv}, sumTol, sumWhy, draw),
				newCase(kernels.LFQLossGrad{LFQ: l, InvTemp: t.inv}, sumTol, sumWhy, draw),
				newCase(kernels.LFQLoss{LFQ: l, InvTemp: t.inv, Offset: 1e-5}, sumTol, sumWhy, draw),
				newCase(kernels.LFQLossGrad{LFQ: l, InvTemp: t.inv, Offset: 1e-5}, sumTol, sumWhy, draw))
		}
	}
	small := kernels.LFQ{Tokens: 2, Books: 2, Bits: 3}
	cs = append(cs,
		smoothCase(kernels.LFQLoss{LFQ: small, InvTemp: .4}, awayFromZero),
		smoothCase(kernels.LFQLoss{LFQ: small, InvTemp: .4, Offset: .1}, awayFromZero))
	index := map[string]Draw{"idx": Whole(1000)}
	z := map[string]Draw{"z": Normal(.05), "dterms": Constant(1)}
	small = kernels.LFQ{Tokens: 512, Books: 1, Bits: 10}
	large := kernels.LFQ{Tokens: 512, Books: 1, Bits: 18}
	return append(cs,
		benchCase(kernels.LFQSign{LFQ: small}, exactTol, exactWhy, nil),
		benchCase(kernels.LFQIndex{LFQ: small}, exactTol, exactWhy, nil),
		benchCase(kernels.LFQValues{LFQ: small}, exactTol, exactWhy, index),
		benchCase(kernels.LFQLoss{LFQ: small, InvTemp: 100}, sumTol, sumWhy, z),
		benchCase(kernels.LFQLossGrad{LFQ: small, InvTemp: 100}, sumTol, sumWhy, z),
		benchCase(kernels.LFQLoss{LFQ: large, InvTemp: 100}, sumTol, sumWhy, z),
		benchCase(kernels.LFQLossGrad{LFQ: large, InvTemp: 100}, sumTol, sumWhy, z))
}

// awayFromZero are values at which the loss of LFQ has no kink near.
var awayFromZero = map[string]Draw{"z": Constant(.3, -.7, 1.1, -.2, .5, -1.3, .9)}
