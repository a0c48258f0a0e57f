package kerneltest

import "magvit/kernels"

func lossCases() []Case {
	const lossWhy = "errors of one sign: no cancelling"
	var cs []Case
	for _, d := range [][2]int{{1, 1}, {33, 3}, {129, 1}, {5462, 3}, {40, 64}, {5, 5}, {3, 17}, {2, 2100}} {
		for _, kind := range []kernels.LossKind{kernels.MSE, kernels.L1} {
			for _, overshoot := range []float32{1, .25} {
				s := kernels.ReconLoss{Pixels: d[0], C: d[1], Kind: kind, Overshoot: overshoot}
				draw := map[string]Draw{"x": Uniform(-.3, 1.3), "target": Mixed(0, 1, 0, 1), "weight": Mixed(0, 2, 0, 1)}
				cs = append(cs, newCase(s, mathTol, lossWhy, draw),
					newCase(kernels.ReconLossGrad(s), mathTol, roundWhy, draw))
			}
		}
	}
	hit := map[string]Draw{"x": Constant(0, .5, 1, .25), "target": Constant(0, .5, 1)} // differences of 0
	for _, kind := range []kernels.LossKind{kernels.MSE, kernels.L1} {
		s := kernels.ReconLoss{Pixels: 40, C: 3, Kind: kind, Overshoot: 2}
		cs = append(cs, newCase(s, mathTol, roundWhy, hit), newCase(kernels.ReconLossGrad(s), mathTol, roundWhy, hit))
	}
	none := map[string]Draw{"weight": Constant(0)}
	s := kernels.ReconLoss{Pixels: 20, C: 3, Overshoot: 1}
	cs = append(cs, newCase(s, exactTol, "no weight, no loss", none), newCase(kernels.ReconLossGrad(s), exactTol, "no weight, no slope", none))
	for _, kind := range []kernels.LossKind{kernels.MSE, kernels.L1} {
		// No x is near its target, 0 or 1.
		cs = append(cs, smoothCase(kernels.ReconLoss{Pixels: 7, C: 5, Kind: kind, Overshoot: .25}, map[string]Draw{
			"x": Constant(-.5, .25, 1.5, .9, 1.3), "target": Constant(0, .5, 1, 0, .7, 1, .125), "weight": Uniform(0, 2)}))
	}
	recon, large := kernels.ReconLoss{Pixels: 2 * 16 * 64 * 64, C: 3, Overshoot: .02}, kernels.ReconLoss{Pixels: 1 << 22, C: 3, Overshoot: .02}
	video := map[string]Draw{"x": Uniform(-.1, 1.1), "target": Mixed(0, 1, 0, 1), "weight": Uniform(1, 3)}
	repeated := map[string]Draw{"x": Constant(-.1, .5, 1.1, .2, .9), "target": Constant(0, .3, 1, .8), "weight": Constant(1, 2, 3)}
	return append(cs,
		benchCase(recon, mathTol, lossWhy, video),
		benchCase(kernels.ReconLossGrad(recon), mathTol, roundWhy, video),
		largeBenchCase(large, mathTol, lossWhy, repeated),
		largeBenchCase(kernels.ReconLossGrad(large), mathTol, roundWhy, repeated))
}
