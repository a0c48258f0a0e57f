package kerneltest

import "magvit/kernels"

func poolCases() []Case {
	halves := kernels.Pool{N: 2, T: 3, H: 6, W: 9, C: 3, KT: 1, KH: 2, KW: 2, ST: 1, SH: 2, SW: 2, OT: 3, OH: 3, OW: 4}
	overlap := kernels.Pool{N: 2, T: 2, H: 7, W: 5, C: 16, KT: 1, KH: 3, KW: 3, ST: 1, SH: 2, SW: 2, PH: 1, PW: 1, OT: 2, OH: 4, OW: 3}
	near := kernels.Pool{N: 1, T: 5, H: 4, W: 3, C: 8, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, PT: 1, PH: 1, PW: 1, OT: 5, OH: 4, OW: 3}
	strided := kernels.Pool{N: 2, T: 5, H: 5, W: 4, C: 7, KT: 2, KH: 2, KW: 2, ST: 2, SH: 2, SW: 2, OT: 3, OH: 3, OW: 2}
	gaps := kernels.Pool{N: 1, T: 1, H: 9, W: 9, C: 1, KT: 1, KH: 2, KW: 1, ST: 1, SH: 3, SW: 2, PH: 1, OT: 1, OH: 3, OW: 5}
	var cs []Case
	for _, s := range []kernels.Pool{halves, overlap, near, strided, gaps} {
		cs = append(cs, newCase(s, mathTol, roundWhy, nil), newCase(kernels.PoolGrad{Pool: s}, mathTol, sumWhy, nil))
		s.Kind = kernels.MaxPool
		few := map[string]Draw{"x": Constant(0, 1, 1, -2, 0, 3, 1), "y": Constant(1, 0, 3)} // equal values, and windows without their maximum
		cs = append(cs,
			newCase(s, exactTol, exactWhy, nil), newCase(s, exactTol, exactWhy, few),
			newCase(s, exactTol, "NaN is the maximum", map[string]Draw{"x": Constant(1, nan32, -1, 2, 5)}),
			newCase(kernels.PoolGrad{Pool: s}, mathTol, sumWhy, few))
	}
	for _, s := range []kernels.Pool{halves, overlap, strided} {
		s.C = 2
		cs = append(cs, smoothCase(s, nil), smoothCase(kernels.PoolGrad{Pool: s}, nil))
		s.Kind = kernels.MaxPool
		cs = append(cs, smoothCase(s, map[string]Draw{"x": spaced}))
	}
	features := kernels.Pool{N: 8, T: 1, H: 64, W: 64, C: 64, KT: 1, KH: 2, KW: 2, ST: 1, SH: 2, SW: 2, OT: 1, OH: 32, OW: 32, Kind: kernels.MaxPool}
	frames := kernels.Pool{N: 2, T: 16, H: 64, W: 64, C: 3, KT: 1, KH: 2, KW: 2, ST: 1, SH: 2, SW: 2, OT: 16, OH: 32, OW: 32}
	for _, s := range []kernels.Pool{features, frames} {
		cs = append(cs, benchCase(s, mathTol, roundWhy, nil), benchCase(kernels.PoolGrad{Pool: s}, mathTol, roundWhy, nil))
		s.N *= 8
		cs = append(cs, largeBenchCase(s, mathTol, roundWhy, nil), largeBenchCase(kernels.PoolGrad{Pool: s}, mathTol, roundWhy, nil))
	}
	return cs
}
