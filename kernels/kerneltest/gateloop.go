package kerneltest

import "magvit/kernels"

func gateloopCases() []Case {
	var cs []Case
	for _, s := range []kernels.GateLoop{{N: 1, T: 1, P: 1, C: 1}, {N: 2, T: 5, P: 3, C: 7}, {N: 2, T: 17, P: 33, C: 32}, {N: 1, T: 3, P: 2, C: 15}, {N: 1, T: 2, P: 3, C: 17}, {N: 2, T: 3, P: 2, C: 24}} {
		cs = append(cs,
			newCase(s, mathTol, mathWhy, nil),
			newCase(kernels.GateLoopGrad(s), sumTol, sumWhy, nil))
	}
	cs = append(cs, smoothCase(kernels.GateLoop{N: 2, T: 4, P: 2, C: 3}, nil))
	clips := kernels.GateLoop{N: 2, T: 8, P: 256, C: 128}
	return append(cs,
		benchCase(clips, mathTol, mathWhy, nil),
		benchCase(kernels.GateLoopGrad(clips), sumTol, sumWhy, nil),
		largeBenchCase(kernels.GateLoop{N: 2, T: 8, P: 4096, C: 128}, mathTol, mathWhy, nil))
}
