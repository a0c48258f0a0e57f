package kerneltest

import "magvit/kernels"

func fsqLossCases() []Case {
	const why = "sums in float32 over all codes; where the softmax is steep its logits' roundings become relative errors"
	var cs []Case
	for _, f := range []kernels.FSQ{
		{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3}},
		{Tokens: 33, Books: 1, Dims: 3, Levels: [8]int{8, 5, 4}},
		{Tokens: 70, Books: 2, Dims: 2, Levels: [8]int{7, 16}},
		{Tokens: 3, Books: 1, Dims: 4, Levels: [8]int{8, 8, 5, 5}},
	} {
		for _, t := range []struct {
			inv  float32
			draw Draw
		}{{.25, Normal(1)}, {100, Normal(.02)}, {100, Mixed(-2, 2, 0, .001, -.001)}} {
			draw := map[string]Draw{"z": t.draw, "dterms": Constant(.1, -.25, 1)}
			cs = append(cs,
				newCase(kernels.FSQLoss{FSQ: f, InvTemp: t.inv}, 1e-10, why, draw),
				newCase(kernels.FSQLossGrad{FSQ: f, InvTemp: t.inv}, 1e-9, why, draw))
		}
	}
	smooth := kernels.FSQLoss{FSQ: kernels.FSQ{Tokens: 2, Books: 2, Dims: 2, Levels: [8]int{4, 3}}, InvTemp: .4}
	cs = append(cs, smoothCase(smooth, map[string]Draw{"z": Constant(.3, -.6, 1.1, -.2, .5, -1.3, .9)}))
	large := kernels.FSQLoss{FSQ: kernels.FSQ{Tokens: 80, Books: 1, Dims: 5, Levels: [8]int{8, 8, 8, 8, 8}}, InvTemp: 100}
	z := map[string]Draw{"z": Normal(.1), "dterms": Constant(1)}
	return append(cs,
		benchCase(large, 1e-10, why, z),
		benchCase(kernels.FSQLossGrad(large), 1e-9, why, z))
}
