package kerneltest

import "magvit/kernels"

func windowCases() []Case {
	at := map[string]Draw{"at": Whole(9)} // also beyond the clips
	var cs []Case
	for _, s := range []kernels.Windows{
		{N: 1, T: 1, H: 1, W: 1, C: 1, K: 1, SH: 1, SW: 1}, {N: 3, T: 5, H: 7, W: 9, C: 3, K: 1, SH: 7, SW: 9},
		{N: 2, T: 6, H: 9, W: 8, C: 2, K: 3, SH: 4, SW: 5}, {N: 2, T: 2, H: 40, W: 33, C: 3, K: 4, SH: 32, SW: 31},
	} {
		cs = append(cs, newCase(s, exactTol, exactWhy, at), newCase(kernels.WindowsGrad(s), roundTol, roundWhy, at))
	}
	outside := map[string]Draw{"at": Constant(-1, nan32, 1e9)}
	small := kernels.Windows{N: 1, T: 3, H: 4, W: 5, C: 1, K: 2, SH: 2, SW: 2}
	cs = append(cs, newCase(small, exactTol, exactWhy, outside), newCase(kernels.WindowsGrad(small), roundTol, roundWhy, outside),
		smoothCase(small, at), smoothCase(kernels.WindowsGrad(small), at))
	frames := kernels.Windows{N: 16, T: 16, H: 64, W: 64, C: 3, K: 1, SH: 64, SW: 64}
	return append(cs, benchCase(frames, exactTol, exactWhy, at), benchCase(kernels.WindowsGrad(frames), roundTol, roundWhy, at))
}
