package kerneltest

import "magvit/kernels"

func resampleCases() []Case {
	var cs []Case
	for _, s := range []kernels.Resample{
		{N: 1, T: 2, Inner: 1}, {N: 2, T: 5, Inner: 7}, {N: 3, T: 8, Inner: 129},
		{N: 1, T: 1, Inner: 3, Kind: kernels.Linear}, {N: 2, T: 5, Inner: 33, Kind: kernels.Linear},
		{N: 2, T: 5, Inner: 3, Kind: kernels.Linear, Head: 1}, {N: 1, T: 6, Inner: 8, Kind: kernels.Linear, Head: 4}, {N: 1, T: 2, Inner: 8, Kind: kernels.Linear, Head: 2},
		{N: 2, T: 2, Inner: 3, Kind: kernels.MeanOfThree}, {N: 1, T: 7, Inner: 33, Kind: kernels.MeanOfThree},
		{N: 2, T: 2, Inner: 3, Kind: kernels.MeanOfThreeCut}, {N: 1, T: 8, Inner: 33, Kind: kernels.MeanOfThreeCut},
		{N: 2, T: 2, Inner: 3, Kind: kernels.MeanOfTwo}, {N: 3, T: 9, Inner: 33, Kind: kernels.MeanOfTwo},
	} {
		cs = append(cs, newCase(s, roundTol, roundWhy, nil), newCase(kernels.ResampleGrad{Resample: s}, mathTol, sumWhy, nil))
	}
	for k := kernels.Nearest; k <= kernels.MeanOfTwo; k++ {
		cs = append(cs, smoothCase(kernels.Resample{N: 2, T: 5, Inner: 2, Kind: k}, nil))
	}
	rows := kernels.Resample{N: 17, T: 32, Inner: 32 * 64}
	frames := kernels.Resample{N: 1, T: 5, Inner: 32 * 32 * 64, Kind: kernels.Linear, Head: 1}
	return append(cs,
		benchCase(rows, roundTol, roundWhy, nil),
		benchCase(frames, roundTol, roundWhy, nil),
		benchCase(kernels.ResampleGrad{Resample: frames}, mathTol, sumWhy, nil))
}
