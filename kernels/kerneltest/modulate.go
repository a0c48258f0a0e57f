package kerneltest

import "magvit/kernels"

func modulateCases() []Case {
	const gradWhy = "a few float32 roundings of two terms that partly cancel"
	var cs []Case
	small := map[string]Draw{"w": Normal(1e-6)} // below the floor of demodulation
	for _, s := range []kernels.Modulate{{N: 1, O: 1, Taps: 1, C: 2}, {N: 3, O: 5, Taps: 27, C: 7}, {N: 2, O: 33, Taps: 3, C: 32}} {
		for _, demod := range []bool{false, true} {
			for _, draw := range []map[string]Draw{nil, small} {
				s.Demod = demod
				cs = append(cs,
					newCase(s, roundTol, roundWhy, draw),
					newCase(kernels.ModulateGradW{Modulate: s}, 1e-11, gradWhy, draw),
					newCase(kernels.ModulateGradS{Modulate: s}, 1e-11, gradWhy, draw))
			}
		}
	}
	for _, demod := range []bool{false, true} {
		cs = append(cs, smoothCase(kernels.Modulate{N: 2, O: 3, Taps: 2, C: 3, Demod: demod}, nil))
	}
	kernel := kernels.Modulate{N: 2, O: 64, Taps: 27, C: 64, Demod: true}
	return append(cs,
		benchCase(kernel, roundTol, roundWhy, nil),
		benchCase(kernels.ModulateGradW{Modulate: kernel}, mathTol, roundWhy, nil),
		benchCase(kernels.ModulateGradS{Modulate: kernel}, mathTol, roundWhy, nil))
}
