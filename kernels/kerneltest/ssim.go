package kerneltest

import "magvit/kernels"

func ssimCases() []Case {
	const (
		ssimTol, ssimWhy = 1e-9, "variances are differences of float32 means"
		flatTol, flatWhy = 1e-5, "variances next to 0 are roundings of means of squares, some 1e-7 next to C2 = 9e-4"
	)
	var cs []Case
	both := func(s kernels.SSIMLoss, tol float64, why string, draw map[string]Draw) {
		cs = append(cs, newCase(s, tol, why, draw), newCase(kernels.SSIMLossGrad(s), tol, why, draw))
	}
	pixels := map[string]Draw{"x": Uniform(-.1, 1.1), "target": Mixed(0, 1, 0, 1), "weight": Mixed(0, 2, 0, 1)}
	for _, d := range [][5]int{{1, 3, 5, 3, 3}, {3, 11, 12, 3, 11}, {2, 13, 11, 1, 11}, {2, 24, 33, 3, 11}, {1, 12, 10, 17, 5}, {1, 32, 33, 1, 31}} {
		s := kernels.SSIMLoss{N: d[0], H: d[1], W: d[2], C: d[3], Window: d[4]}
		both(s, ssimTol, ssimWhy, pixels)
	}
	s := kernels.SSIMLoss{N: 2, H: 14, W: 12, C: 3, Window: 11}
	flat := map[string]Draw{"x": Uniform(.9, .92), "target": Constant(.95, .96, .94), "weight": Uniform(0, 1)}
	both(s, flatTol, flatWhy, flat)
	both(kernels.SSIMLoss{N: 1, H: 1, W: 1, C: 1, Window: 1}, flatTol, flatWhy, pixels)
	both(s, exactTol, "no weight, no loss", map[string]Draw{"x": Uniform(0, 1), "target": Uniform(0, 1), "weight": Constant(0)})
	cs = append(cs, smoothCase(kernels.SSIMLoss{N: 1, H: 6, W: 7, C: 2, Window: 5}, map[string]Draw{"x": Uniform(-1, 3), "target": Uniform(-1, 3), "weight": Uniform(0, 2)}))
	frames, large := kernels.SSIMLoss{N: 2 * 16, H: 64, W: 64, C: 3, Window: 11}, kernels.SSIMLoss{N: 4 * 16, H: 256, W: 256, C: 3, Window: 11}
	video := map[string]Draw{"x": Uniform(-.1, 1.1), "target": Uniform(0, 1), "weight": Uniform(1, 3)}
	repeated := map[string]Draw{"x": Constant(-.1, .5, 1.1, .2, .9), "target": Constant(0, .3, 1, .8), "weight": Constant(1, 2, 3)}
	return append(cs,
		benchCase(frames, ssimTol, ssimWhy, video), benchCase(kernels.SSIMLossGrad(frames), ssimTol, ssimWhy, video),
		largeBenchCase(large, ssimTol, ssimWhy, repeated), largeBenchCase(kernels.SSIMLossGrad(large), ssimTol, ssimWhy, repeated))
}
