package kerneltest

import "magvit/kernels"

func lfqFlooredCases() []Case {
	var cs []Case
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 7, Books: 1, Bits: 2}, {Tokens: 65, Books: 2, Bits: 5}, {Tokens: 66, Books: 1, Bits: 9}, {Tokens: 300, Books: 2, Bits: 3}, {Tokens: 3, Books: 1, Bits: 11}} {
		for _, t := range []struct {
			inv  float32
			draw Draw
		}{{.25, Normal(1)}, {100, Normal(.01)}, {100, Mixed(-10, 10, 0, .001, -.001)}} {
			for _, spherical := range []bool{false, true} {
				draw := map[string]Draw{"z": t.draw, "dterms": Constant(.1, -.25, 1)}
				cs = append(cs,
					newCase(kernels.LFQLossFloored{LFQ: l, InvTemp: t.inv, Spherical: spherical}, sumTol, sumWhy, draw),
					newCase(kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: t.inv, Spherical: spherical}, sumTol, sumWhy, draw))
			}
		}
	}
	for _, spherical := range []bool{false, true} {
		s := kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 2, Books: 2, Bits: 3}, InvTemp: .4, Spherical: spherical}
		cs = append(cs, smoothCase(s, awayFromZero)) // no probability is near the floor
	}
	z := map[string]Draw{"z": Normal(.05), "dterms": Constant(1)}
	for _, bits := range []int{10, 18} {
		l := kernels.LFQ{Tokens: 512, Books: 1, Bits: bits}
		cs = append(cs,
			benchCase(kernels.LFQLossFloored{LFQ: l, InvTemp: 100}, sumTol, sumWhy, z),
			benchCase(kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: 100}, sumTol, sumWhy, z))
	}
	return cs
}
