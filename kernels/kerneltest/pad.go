package kerneltest

import "magvit/kernels"

func padCases() []Case {
	var cs []Case
	for _, s := range []kernels.Pad{
		{N: 1, T: 1, H: 1, W: 1, C: 1},
		{N: 2, T: 3, H: 4, W: 5, C: 3, PT: 2, PH: 1, PW: 2},
		{N: 1, T: 7, H: 4, W: 9, C: 33, PT: 6, PH: 3, PW: 3},
		{N: 1, T: 2, H: 5, W: 129, C: 64, PT: 1, PH: 1},
	} {
		for s.Mode = kernels.Zeros; s.Mode <= kernels.Circular; s.Mode++ {
			for _, s.After = range []bool{false, true} {
				cs = append(cs, newCase(s, exactTol, exactWhy, nil), newCase(kernels.PadGrad{Pad: s}, roundTol, roundWhy, nil))
			}
		}
	}
	beyond := kernels.Pad{N: 2, T: 1, H: 2, W: 1, C: 3, PT: 4, PH: 3, PW: 2, Mode: kernels.Replicate}
	cs = append(cs, newCase(beyond, exactTol, exactWhy, nil), newCase(kernels.PadGrad{Pad: beyond}, mathTol, sumWhy, nil))
	for m := kernels.Zeros; m <= kernels.Circular; m++ {
		cs = append(cs, smoothCase(kernels.Pad{N: 2, T: 3, H: 4, W: 2, C: 3, PT: 2, PH: 2, PW: 1, Mode: m}, nil))
	}
	cs = append(cs, smoothCase(kernels.Pad{N: 2, T: 3, H: 4, W: 2, C: 3, PH: 1, PW: 1, After: true}, nil))
	border := kernels.Pad{N: 2, T: 8, H: 32, W: 32, C: 64, PT: 2, PH: 1, PW: 1, Mode: kernels.Reflect}
	return append(cs,
		benchCase(border, exactTol, exactWhy, nil),
		benchCase(kernels.PadGrad{Pad: border}, roundTol, roundWhy, nil),
		largeBenchCase(kernels.Pad{N: 2, T: 16, H: 64, W: 64, C: 64, PT: 2, PH: 1, PW: 1, Mode: kernels.Replicate}, exactTol, exactWhy, nil))
}
