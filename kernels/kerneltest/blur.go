package kerneltest

import "magvit/kernels"

func blurCases() []Case {
	var cs []Case
	for _, s := range []kernels.Blur{
		{N: 1, T: 1, H: 1, W: 1, C: 1, Space: true}, {N: 2, T: 3, H: 5, W: 2, C: 3, Space: true},
		{N: 2, T: 5, H: 3, W: 4, C: 3, Time: true}, {N: 1, T: 4, H: 7, W: 33, C: 32, Time: true, Space: true},
	} {
		cs = append(cs, newCase(s, mathTol, roundWhy, nil))
	}
	cs = append(cs,
		smoothCase(kernels.Blur{N: 2, T: 3, H: 4, W: 5, C: 2, Time: true, Space: true}, nil),
		smoothCase(kernels.Blur{N: 1, T: 1, H: 2, W: 1, C: 3, Space: true}, nil))
	return append(cs,
		benchCase(kernels.Blur{N: 2, T: 8, H: 32, W: 32, C: 64, Space: true}, mathTol, roundWhy, nil),
		largeBenchCase(kernels.Blur{N: 2, T: 16, H: 64, W: 64, C: 64, Space: true}, mathTol, roundWhy, nil))
}
