package kerneltest

import "magvit/kernels"

func blendCases() []Case {
	var cs []Case
	for _, n := range []int{1, 7, 8, 33, 16385} {
		m := map[string]Draw{"m": Constant(-.7)}
		cs = append(cs,
			newCase(kernels.Blend{Len: n}, roundTol, roundWhy, m),
			newCase(kernels.BlendGrad{Len: n}, roundTol, roundWhy, m),
			newCase(kernels.BlendGrad{Len: n, Second: true}, roundTol, roundWhy, m),
			newCase(kernels.BlendGradMix{Len: n}, 1e-9, "one sum in float32 of thousands of terms, which cancel", m))
	}
	scale := map[string]Draw{"x": Constant(1234.5), "v": Constant(.125)}
	cs = append(cs,
		newCase(kernels.LearnedScale{K: 768}, roundTol, roundWhy, scale),
		newCase(kernels.LearnedScaleGrad{LearnedScale: kernels.LearnedScale{K: 768}}, roundTol, roundWhy, scale),
		newCase(kernels.LearnedScaleGrad{LearnedScale: kernels.LearnedScale{K: 768}, OfScale: true}, roundTol, roundWhy, scale),
		smoothCase(kernels.Blend{Len: 5}, nil),
		smoothCase(kernels.LearnedScale{K: 3}, map[string]Draw{"x": Constant(2), "v": Constant(.3)}))
	large := kernels.Blend{Len: 1 << 20}
	learned := kernels.LearnedScale{K: 1 << 20}
	return append(cs,
		benchCase(large, roundTol, roundWhy, nil),
		benchCase(kernels.BlendGrad{Len: large.Len}, roundTol, roundWhy, nil),
		benchCase(learned, roundTol, roundWhy, nil),
		benchCase(kernels.LearnedScaleGrad{LearnedScale: learned}, roundTol, roundWhy, nil),
		benchCase(kernels.BlendGradMix(large), 1e-10, "sums in float32 of a million terms, partly cancelling", nil))
}
