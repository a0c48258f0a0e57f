package kerneltest

import "magvit/kernels"

func shuffleCases() []Case {
	var cs []Case
	for _, s := range []kernels.Shuffle{
		{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 1, FW: 1},
		{N: 2, T: 3, H: 5, W: 7, C: 3, FT: 1, FH: 2, FW: 2},
		{N: 2, T: 3, H: 5, W: 7, C: 33, FT: 2, FH: 1, FW: 1},
		{N: 1, T: 1, H: 9, W: 3, C: 5, FT: 2, FH: 3, FW: 4},
		{N: 1, T: 2, H: 16, W: 16, C: 64, FT: 1, FH: 2, FW: 2},
		{N: 1, T: 1, H: 3, W: 129, C: 129, FT: 1, FH: 1, FW: 1},
		{N: 2, T: 2, H: 3, W: 5, C: 3, FT: 1, FH: 4, FW: 4},
		{N: 1, T: 1, H: 2, W: 33, C: 17, FT: 2, FH: 2, FW: 2},
		{N: 2, T: 3, H: 5, W: 7, C: 24, FT: 1, FH: 2, FW: 2},
		{N: 2, T: 3, H: 2, W: 3, C: 40, FT: 2, FH: 1, FW: 1},
		{N: 2, T: 2, H: 3, W: 5, C: 8, FT: 2, FH: 1, FW: 2},
	} {
		for _, s.PhaseFirst = range []bool{false, true} {
			cs = append(cs, bothWays(s)...)
		}
	}
	small := kernels.Shuffle{N: 2, T: 2, H: 3, W: 5, C: 3, FT: 2, FH: 2, FW: 3}
	smallDown := small
	smallDown.Down = true
	phases := small
	phases.PhaseFirst = true
	cs = append(cs, smoothCase(small, nil), smoothCase(smallDown, nil), smoothCase(phases, nil))
	doubled := kernels.Shuffle{N: 2, T: 16, H: 32, W: 32, C: 64, FT: 1, FH: 2, FW: 2}
	phases = doubled
	phases.PhaseFirst = true
	activated := doubled
	activated.Act = kernels.SiLU
	return append(cs,
		benchCase(kernels.Shuffle{N: 2, T: 16, H: 8, W: 8, C: 64, FT: 1, FH: 2, FW: 2}, exactTol, exactWhy, nil),
		benchCase(kernels.Shuffle{N: 2, T: 16, H: 16, W: 16, C: 3, FT: 1, FH: 4, FW: 4, Down: true}, exactTol, exactWhy, nil),
		largeBenchCase(doubled, exactTol, exactWhy, nil),
		largeBenchCase(phases, exactTol, exactWhy, nil),
		largeBenchCase(kernels.Shuffle{N: 2, T: 16, H: 128, W: 128, C: 3, FT: 1, FH: 4, FW: 4, Down: true}, exactTol, exactWhy, nil),
		largeBenchCase(activated, mathTol, mathWhy, nil),
		largeBenchCase(kernels.ShuffleGrad{Shuffle: activated}, mathTol, mathWhy, nil))
}

// bothWays are a Shuffle and its inverse, with and without activations.
func bothWays(s kernels.Shuffle) []Case {
	down := s
	down.Down = true
	cs := []Case{newCase(s, exactTol, exactWhy, nil), newCase(down, exactTol, exactWhy, nil)}
	s.Act, down.Act = kernels.SiLU, kernels.GELU
	x := map[string]Draw{"x": Mixed(-6, 6, 0, -90, 90)}
	for _, s := range []kernels.Shuffle{s, down} {
		cs = append(cs, newCase(s, 1e-11, "in the tail of GELU, two values near 1 cancel", x), newCase(kernels.ShuffleGrad{Shuffle: s}, mathTol, mathWhy, x))
	}
	return cs
}
