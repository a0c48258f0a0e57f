package kerneltest

import "magvit/kernels"

func linearAttentionCases() []Case {
	const taylorWhy = "sums in float32 over the features of a few hundred pixels"
	var cs []Case
	// Of a single pixel the result is its value, whatever the weights.
	cs = append(cs, newCase(kernels.LinearAttention{F: 1, P: 1, Heads: 1, Dim: 1}, roundTol, roundWhy, nil))
	for _, s := range []kernels.LinearAttention{
		{F: 1, P: 2, Heads: 1, Dim: 1}, {F: 2, P: 63, Heads: 3, Dim: 8}, {F: 1, P: 65, Heads: 2, Dim: 7}, {F: 2, P: 129, Heads: 1, Dim: 16},
		{F: 2, P: 40, Heads: 2, Dim: 17}, {F: 1, P: 600, Heads: 1, Dim: 3},
	} {
		cs = append(cs,
			newCase(s, sumTol, taylorWhy, nil),
			newCase(kernels.LinearAttentionGradQ{LinearAttention: s}, sumTol, taylorWhy, nil),
			newCase(kernels.LinearAttentionGradKV{LinearAttention: s}, sumTol, taylorWhy, nil))
	}
	cs = append(cs, smoothCase(kernels.LinearAttention{F: 2, P: 3, Heads: 2, Dim: 3}, nil))
	frames := kernels.LinearAttention{F: 8, P: 256, Heads: 16, Dim: 8}
	return append(cs,
		benchCase(frames, sumTol, taylorWhy, nil),
		benchCase(kernels.LinearAttentionGradQ{LinearAttention: frames}, sumTol, taylorWhy, nil),
		benchCase(kernels.LinearAttentionGradKV{LinearAttention: frames}, sumTol, taylorWhy, nil))
}
