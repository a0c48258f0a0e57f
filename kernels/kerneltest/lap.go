package kerneltest

import "magvit/kernels"

func lapCases() []Case {
	var cs []Case
	for _, s := range []kernels.Lap{
		{N: 1, T: 2, Inner: 1, Size: 2, Reach: 1}, {N: 2, T: 8, Inner: 3, Size: 8, Reach: 4},
		{N: 2, T: 15, Inner: 7, Size: 5, Reach: 2}, {N: 3, T: 24, Inner: 33, Size: 8, Reach: 4}, {N: 1, T: 32, Inner: 129, Size: 16, Reach: 3},
		{N: 45, T: 16, Inner: 24, Size: 8, Reach: 4}, // several tasks of lines
	} {
		back := s
		back.Transposed = true
		cs = append(cs, newCase(s, mathTol, sumWhy, nil), newCase(back, mathTol, sumWhy, nil))
	}
	return append(cs,
		smoothCase(kernels.Lap{N: 2, T: 12, Inner: 2, Size: 4, Reach: 2}, nil),
		smoothCase(kernels.Lap{N: 1, T: 6, Inner: 3, Size: 3, Reach: 1, Transposed: true}, nil),
		benchCase(kernels.Lap{N: 32, T: 64, Inner: 64 * 3, Size: 8, Reach: 4}, mathTol, sumWhy, nil),
		benchCase(kernels.Lap{N: 256, T: 64, Inner: 24, Size: 8, Reach: 4}, mathTol, sumWhy, nil),
		largeBenchCase(kernels.Lap{N: 4, T: 16, Inner: 128 * 128 * 3, Size: 8, Reach: 4, Transposed: true}, mathTol, sumWhy, nil))
}
