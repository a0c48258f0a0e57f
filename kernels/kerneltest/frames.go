package kerneltest

import "magvit/kernels"

func framesCases() []Case {
	var cs []Case
	for _, s := range []kernels.PadFront{
		{N: 1, T: 1, Inner: 1, P: 0}, {N: 1, T: 1, Inner: 1, P: 3}, {N: 2, T: 5, Inner: 33, P: 2}, {N: 2, T: 5, Inner: 12, P: 1}, {N: 3, T: 2, Inner: 9000, P: 3},
	} {
		cs = append(cs, newCase(s, exactTol, exactWhy, nil), newCase(kernels.CropFront(s), exactTol, exactWhy, nil))
	}
	cs = append(cs, smoothCase(kernels.PadFront{N: 2, T: 3, Inner: 5, P: 2}, nil), smoothCase(kernels.CropFront{N: 2, T: 3, Inner: 5, P: 2}, nil))
	return append(cs,
		benchCase(kernels.PadFront{N: 2, T: 16, Inner: 256 * 64, P: 3}, exactTol, exactWhy, nil),
		benchCase(kernels.CropFront{N: 2, T: 16, Inner: 256 * 64, P: 3}, exactTol, exactWhy, nil))
}
