package kerneltest

import "magvit/kernels"

func modconvCases() []Case {
	var cs []Case
	for i, s := range convShapes() {
		if i%3 != 0 {
			continue
		}
		s.N++
		act := s
		act.Act = kernels.ELU
		cs = append(cs, convCase(kernels.ModConv{Conv: act}), convCase(kernels.ModConvGradX{Conv: s}), convCase(kernels.ModConvGradW{Conv: s}))
	}
	small := kernels.Conv{N: 3, T: 3, H: 4, W: 5, C: 3, O: 2, KT: 2, KH: 3, KW: 3, ST: 1, SH: 2, SW: 1, DT: 1, PT: 1, PH: 1, PW: 1}
	cs = append(cs, smoothCase(kernels.ModConv{Conv: small}, nil), smoothCase(kernels.ModConvGradX{Conv: small}, nil))
	s := kernels.Conv{N: 2, T: 4, H: 8, W: 8, C: 64, O: 64, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	return append(cs, convBenchCase(kernels.ModConv{Conv: s}), convBenchCase(kernels.ModConvGradX{Conv: s}), convBenchCase(kernels.ModConvGradW{Conv: s}))
}
