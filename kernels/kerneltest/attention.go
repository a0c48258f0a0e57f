package kerneltest

import "magvit/kernels"

func attentionCases() []Case {
	var cs []Case
	for _, s := range []kernels.Attention{
		{N: 1, T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1},
		{N: 1, T: 2, P: 31, Heads: 2, Dim: 8, Memory: 4},
		{N: 2, T: 1, P: 33, Heads: 1, Dim: 33, Memory: 3},
		{N: 1, T: 1, P: 9, Heads: 2, Dim: 5, Memory: 40},
		{N: 1, T: 1, P: 129, Heads: 2, Dim: 32, Memory: 4},
		{N: 2, T: 5, P: 3, Heads: 3, Dim: 7, Memory: 4, Over: kernels.Time},
		{N: 2, T: 5, P: 3, Heads: 3, Dim: 7, Memory: 4, Over: kernels.Time, Causal: true},
		{N: 1, T: 1, P: 33, Heads: 2, Dim: 8, Memory: 2, Over: kernels.Time, Causal: true},
		{N: 1, T: 33, P: 2, Heads: 1, Dim: 16, Memory: 1, Over: kernels.Time, Causal: true},
		{N: 2, T: 4, P: 130, Heads: 1, Dim: 8, Memory: 4, Over: kernels.Time, Causal: true},
	} {
		cs = append(cs,
			newCase(s, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionGrad{Attention: s}, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionGradMem{Attention: s}, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionStats{Attention: s}, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionBackward{Attention: s}, sumTol, softmaxWhy, nil))
	}
	for _, s := range []kernels.Attention{{N: 1, T: 1, P: 1, Heads: 1, Dim: 3}, {N: 1, T: 2, P: 33, Heads: 1, Dim: 65}, {N: 2, T: 5, P: 2, Heads: 2, Dim: 8, Over: kernels.Time, Causal: true}} {
		cs = append(cs,
			newCase(s, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionGrad{Attention: s}, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionStats{Attention: s}, sumTol, softmaxWhy, nil),
			newCase(kernels.AttentionBackward{Attention: s}, sumTol, softmaxWhy, nil))
	}
	// Logits of some hundreds: the softmax must subtract its greatest.
	steep := map[string]Draw{"qkv": Normal(15)}
	cs = append(cs,
		newCase(kernels.Attention{N: 1, T: 1, P: 40, Heads: 1, Dim: 8, Memory: 2}, 1e-9, "logits of hundreds are rounded to 1e-5", steep),
		newCase(kernels.AttentionStats{Attention: kernels.Attention{N: 1, T: 1, P: 140, Heads: 1, Dim: 8, Memory: 2}}, 1e-9, "logits of hundreds are rounded to 1e-5", steep))
	// Parts of a sum end between queries, whose logits may overflow an exponential.
	steep["mem"] = Normal(15)
	cs = append(cs, newCase(kernels.AttentionGradMem{Attention: kernels.Attention{N: 2, T: 4, P: 34, Heads: 1, Dim: 8, Memory: 4}}, 1e-7, "logits of hundreds are rounded to 1e-5", steep))
	cs = append(cs,
		smoothCase(kernels.Attention{N: 1, T: 2, P: 3, Heads: 2, Dim: 2, Memory: 2}, nil),
		smoothCase(kernels.Attention{N: 1, T: 2, P: 3, Heads: 1, Dim: 3}, nil),
		smoothCase(kernels.Attention{N: 2, T: 3, P: 2, Heads: 2, Dim: 2, Memory: 1, Over: kernels.Time, Causal: true}, nil))
	for _, s := range []kernels.Attention{
		{N: 2, T: 1, P: 512, Heads: 4, Dim: 16, Memory: 1}, // two clips of the preset prior-demo
		{N: 2, T: 4, P: 256, Heads: 8, Dim: 32, Memory: 4},
		{N: 2, T: 8, P: 256, Heads: 8, Dim: 32, Memory: 4, Over: kernels.Time, Causal: true},
	} {
		cs = append(cs,
			benchCase(s, sumTol, softmaxWhy, nil),
			benchCase(kernels.AttentionGrad{Attention: s}, sumTol, softmaxWhy, nil),
			benchCase(kernels.AttentionGradMem{Attention: s}, sumTol, softmaxWhy, nil),
			benchCase(kernels.AttentionStats{Attention: s}, sumTol, softmaxWhy, nil),
			benchCase(kernels.AttentionBackward{Attention: s}, sumTol, softmaxWhy, nil))
	}
	return cs
}
