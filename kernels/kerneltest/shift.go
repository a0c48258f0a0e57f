package kerneltest

import "magvit/kernels"

func shiftCases() []Case {
	var cs []Case
	for _, s := range []kernels.TokenShift{{N: 1, T: 1, P: 1, C: 1}, {N: 2, T: 5, P: 3, C: 7}, {N: 2, T: 17, P: 33, C: 32}, {N: 1, T: 3, P: 2, C: 15}, {N: 1, T: 2, P: 3, C: 17}, {N: 2, T: 3, P: 2, C: 24}} {
		back := s
		back.Back = true
		cs = append(cs, newCase(s, exactTol, exactWhy, nil), newCase(back, exactTol, exactWhy, nil))
	}
	for _, back := range []bool{false, true} {
		cs = append(cs, smoothCase(kernels.TokenShift{N: 2, T: 3, P: 2, C: 5, Back: back}, nil))
	}
	return append(cs,
		benchCase(kernels.TokenShift{N: 2, T: 8, P: 256, C: 128}, exactTol, exactWhy, nil),
		largeBenchCase(kernels.TokenShift{N: 2, T: 8, P: 4096, C: 128}, exactTol, exactWhy, nil))
}
