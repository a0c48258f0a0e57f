package kerneltest

import (
	"magvit/kernels"
	"magvit/kernels/philox"
)

// repeated draws n values and repeats them.
func repeated(n int) Draw {
	return func(s *philox.Stream, dst []float32) {
		Normal(1)(s, dst[:min(n, len(dst))])
		for i := n; i < len(dst); i++ {
			dst[i] = dst[i-n]
		}
	}
}

func vqCases() []Case {
	const (
		indexWhy  = "whole numbers; distances in float64, and no two of them are equal"
		sumsWhy   = "sums in float64 in the order of the tokens"
		updateWhy = "some float32 roundings of values that do not cancel"
	)
	var cs []Case
	for _, s := range []kernels.VQ{
		{Tokens: 1, Books: 1, Codes: 1, Dim: 1}, {Tokens: 33, Books: 1, Codes: 7, Dim: 5}, {Tokens: 65, Books: 2, Codes: 257, Dim: 8},
		{Tokens: 300, Books: 1, Codes: 16, Dim: 17}, {Tokens: 9, Books: 3, Codes: 600, Dim: 33},
	} {
		idx := Whole(s.Codes)
		cs = append(cs,
			newCase(kernels.VQIndex{VQ: s}, exactTol, indexWhy, nil),
			newCase(kernels.VQIndex{VQ: s}, exactTol, "of equally near codes the first", map[string]Draw{"codebook": Constant(.5), "z": Normal(1)}),
			newCase(kernels.VQIndex{VQ: s}, exactTol, "of equally near codes the first, also where another thread has it", map[string]Draw{"codebook": repeated(3 * s.Dim)}),
			newCase(kernels.VQValues{VQ: s}, exactTol, exactWhy, map[string]Draw{"idx": idx}),
			newCase(kernels.VQQuantize{VQ: s}, exactTol, exactWhy, map[string]Draw{"idx": idx}),
			newCase(kernels.VQStatistics{VQ: s}, exactTol, sumsWhy, map[string]Draw{"idx": idx}),
			newCase(kernels.VQSamples{VQ: s}, exactTol, exactWhy, map[string]Draw{"picks": rounded(Uniform(-.5*float64(s.Tokens), 1.5*float64(s.Tokens)))}))
		for i, guard := range []float32{1, nan32, inf32} {
			for _, spherical := range []bool{false, true} {
				tol, why := mathTol, updateWhy
				if i > 0 {
					tol, why = exactTol, "a step that is not applied changes nothing"
				}
				cs = append(cs, newCase(kernels.VQUpdate{VQ: s, Rate: .1 + .01*float32(i), Eps: 1e-5, Dead: .5, Spherical: spherical}, tol, why, map[string]Draw{
					"codebook": Normal(1), "average": Uniform(.1, 3), "samples": Mixed(-1, 1, .25, .5), "stats": Uniform(.1, 4), "guard": Constant(guard)}))
			}
		}
	}
	v := kernels.VQ{Tokens: 8, Books: 1, Codes: 3, Dim: 2}
	never := map[string]Draw{"codebook": Normal(1), "average": Constant(0), "samples": Constant(0), "stats": Constant(0, 0, 0, 2, 4, 2, 0, 0, 0), "guard": Constant(0)}
	cs = append(cs, newCase(kernels.VQUpdate{VQ: v, Rate: .5, Eps: 1e-5, Dead: 1}, mathTol, "codes without latents and samples stay", never))
	large := kernels.VQ{Tokens: 512, Books: 1, Codes: 1024, Dim: 8}
	idx := map[string]Draw{"idx": Whole(large.Codes)}
	return append(cs,
		benchCase(kernels.VQIndex{VQ: large}, exactTol, indexWhy, nil),
		benchCase(kernels.VQValues{VQ: large}, exactTol, exactWhy, idx),
		benchCase(kernels.VQQuantize{VQ: large}, exactTol, exactWhy, idx),
		benchCase(kernels.VQStatistics{VQ: large}, exactTol, sumsWhy, idx),
		benchCase(kernels.VQSamples{VQ: large}, exactTol, exactWhy, map[string]Draw{"picks": Whole(large.Tokens)}),
		benchCase(kernels.VQUpdate{VQ: large, Rate: .01, Eps: 1e-5, Dead: .1}, mathTol, updateWhy, map[string]Draw{
			"codebook": Normal(1), "average": Uniform(.1, 3), "stats": Uniform(.1, 4), "guard": Constant(1)}))
}
