package kerneltest

import "magvit/kernels"

func reduceCases() []Case {
	const squaresWhy = "squares add up without cancelling"
	var cs []Case
	for _, rows := range []int{1, 7, 8, 9, 127, 129, 700} {
		for _, c := range []int{1, 3, 15, 16, 17, 31, 32, 65} {
			cs = append(cs, newCase(kernels.SumRows{Rows: rows, C: c}, sumTol, sumWhy, nil))
		}
	}
	cs = append(cs, newCase(kernels.SumRows{Rows: 3, C: 16385}, sumTol, sumWhy, nil))
	for _, n := range edges {
		cs = append(cs, newCase(kernels.SumSquares{Len: n}, roundTol, squaresWhy, nil), newCase(kernels.SumSquaresGrad{Len: n}, roundTol, roundWhy, nil))
	}
	nan := map[string]Draw{"x": Constant(1, nan32, 3)}
	inf := map[string]Draw{"x": Constant(1, inf32, 3)}
	cs = append(cs, newCase(kernels.SumSquares{Len: 40}, exactTol, "NaN shows", nan), newCase(kernels.SumSquares{Len: 41}, exactTol, "Inf shows", inf))
	for n := 1; n <= 4; n++ {
		w := [4]float32{.5, -2, 3, .125}
		clear(w[n:])
		cs = append(cs,
			newCase(kernels.WeightedSum{Len: n, W: w}, mathTol, sumWhy, nil),
			newCase(kernels.Spread{Len: n, W: w}, roundTol, roundWhy, nil))
	}
	cs = append(cs, smoothCase(kernels.WeightedSum{Len: 3, W: [4]float32{1, -2, 3}}, nil))
	terms := [4]float32{1, .1, -.1, .25}
	return append(cs,
		benchCase(kernels.SumRows{Rows: 2 * 16 * 16 * 16, C: 64}, sumTol, sumWhy, nil),
		benchCase(kernels.SumRows{Rows: 2048, C: 96}, sumTol, sumWhy, nil),
		benchCase(kernels.SumSquares{Len: 1_700_000}, roundTol, squaresWhy, nil),
		benchCase(kernels.SumSquaresGrad{Len: 1_700_000}, roundTol, roundWhy, nil),
		smoothCase(kernels.SumSquares{Len: 5}, nil),
		benchCase(kernels.WeightedSum{Len: 4, W: terms}, mathTol, sumWhy, nil),
		benchCase(kernels.Spread{Len: 4, W: terms}, roundTol, roundWhy, nil),
		largeBenchCase(kernels.SumRows{Rows: 1 << 18, C: 64}, sumTol, sumWhy, nil),
		largeBenchCase(kernels.SumSquares{Len: 1 << 24}, roundTol, squaresWhy, nil))
}
