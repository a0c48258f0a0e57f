package kerneltest

import "magvit/kernels"

func imageGradientCases() []Case {
	const lossWhy = "errors of one sign: no cancelling"
	var cs []Case
	both := func(s kernels.ImageGradientLoss, draw map[string]Draw) {
		cs = append(cs, newCase(s, mathTol, lossWhy, draw), newCase(kernels.ImageGradientLossGrad(s), mathTol, sumWhy, draw))
	}
	for _, d := range [][4]int{{1, 1, 1, 1}, {2, 1, 5, 3}, {2, 5, 1, 3}, {3, 7, 9, 3}, {2, 33, 65, 1}, {2, 50, 60, 3}, {1, 3, 4, 17}} {
		s := kernels.ImageGradientLoss{N: d[0], H: d[1], W: d[2], C: d[3]}
		both(s, map[string]Draw{"weight": Mixed(0, 2, 0, 1)})
	}
	s := kernels.ImageGradientLoss{N: 2, H: 6, W: 5, C: 3}
	both(s, map[string]Draw{"x": Constant(0, 1, .5, .5, .25), "target": Constant(0, .5)}) // differences of 0
	both(s, map[string]Draw{"weight": Constant(0)})
	// Errors rise along each axis by 1/2 and more: no difference is near 0.
	cs = append(cs, smoothCase(kernels.ImageGradientLoss{N: 2, H: 3, W: 4, C: 1},
		map[string]Draw{"x": Constant(0, .5, 1.25, 2, 3, 4, 5, 6, 7, 8.5, 9.5, 11), "target": Constant(.25), "weight": Uniform(0, 2)}))
	frames, large := kernels.ImageGradientLoss{N: 2 * 16, H: 64, W: 64, C: 3}, kernels.ImageGradientLoss{N: 4 * 16, H: 256, W: 256, C: 3}
	repeated := map[string]Draw{"weight": Constant(1, 2, 3)}
	return append(cs,
		benchCase(frames, mathTol, lossWhy, map[string]Draw{"weight": Uniform(1, 3)}),
		benchCase(kernels.ImageGradientLossGrad(frames), mathTol, sumWhy, map[string]Draw{"weight": Uniform(1, 3)}),
		largeBenchCase(large, mathTol, lossWhy, repeated),
		largeBenchCase(kernels.ImageGradientLossGrad(large), mathTol, sumWhy, repeated))
}
