package kerneltest

import "magvit/kernels"

func framesSliceCases() []Case {
	var cs []Case
	for _, s := range []kernels.ConcatTime{{N: 1, TA: 1, TB: 1, Inner: 1}, {N: 2, TA: 1, TB: 4, Inner: 33}, {N: 2, TA: 1, TB: 3, Inner: 12}, {N: 3, TA: 3, TB: 2, Inner: 9000}} {
		slice := kernels.SliceTime{N: s.N, T: s.TA + s.TB, Inner: s.Inner, From: s.TA - 1, To: s.TA + s.TB - 1}
		cs = append(cs,
			newCase(s, exactTol, exactWhy, nil), newCase(slice, exactTol, exactWhy, nil), newCase(kernels.SliceTimeGrad{SliceTime: slice}, exactTol, exactWhy, nil))
	}
	cs = append(cs,
		smoothCase(kernels.ConcatTime{N: 2, TA: 1, TB: 3, Inner: 4}, nil),
		smoothCase(kernels.SliceTime{N: 2, T: 5, Inner: 3, From: 1, To: 4}, nil))
	slice := kernels.SliceTime{N: 2, T: 17, Inner: 64 * 64 * 3, From: 1, To: 17}
	return append(cs,
		benchCase(kernels.ConcatTime{N: 2, TA: 1, TB: 16, Inner: 64 * 64 * 3}, exactTol, exactWhy, nil),
		benchCase(slice, exactTol, exactWhy, nil),
		benchCase(kernels.SliceTimeGrad{SliceTime: slice}, exactTol, exactWhy, nil))
}
