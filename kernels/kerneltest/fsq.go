package kerneltest

import "magvit/kernels"

func fsqCases() []Case {
	const (
		quantizeWhy = "a quotient of small whole numbers; no z is near where rounding is in doubt"
		indexWhy    = "whole numbers; no z is near where rounding is in doubt"
		gradWhy     = "1 - tanh² loses digits where tanh saturates"
		valuesWhy   = "quotients of small whole numbers"
	)
	var cs []Case
	for _, f := range []kernels.FSQ{
		{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3}},
		{Tokens: 33, Books: 1, Dims: 4, Levels: [8]int{8, 5, 5, 5}},
		{Tokens: 129, Books: 2, Dims: 3, Levels: [8]int{7, 4, 16}},
		{Tokens: 40, Books: 1, Dims: 8, Levels: [8]int{8, 8, 8, 8, 8, 8, 8, 8}},
	} {
		z := map[string]Draw{"z": Mixed(-3, 3, 0, -12, 12)}
		cs = append(cs,
			newCase(kernels.FSQQuantize{FSQ: f}, exactTol, quantizeWhy, z),
			newCase(kernels.FSQIndex{FSQ: f}, exactTol, indexWhy, z),
			newCase(kernels.FSQGrad{FSQ: f}, sumTol, gradWhy, map[string]Draw{"z": Uniform(-3, 3)}),
			newCase(kernels.FSQValues{FSQ: f}, exactTol, valuesWhy, map[string]Draw{"idx": Whole(f.Codes())}))
	}
	f := kernels.FSQ{Tokens: 512, Books: 1, Dims: 4, Levels: [8]int{8, 5, 5, 5}}
	return append(cs,
		benchCase(kernels.FSQQuantize{FSQ: f}, exactTol, quantizeWhy, nil),
		benchCase(kernels.FSQGrad{FSQ: f}, sumTol, gradWhy, nil),
		benchCase(kernels.FSQIndex{FSQ: f}, exactTol, indexWhy, nil),
		benchCase(kernels.FSQValues{FSQ: f}, exactTol, valuesWhy, map[string]Draw{"idx": Whole(1000)}))
}
