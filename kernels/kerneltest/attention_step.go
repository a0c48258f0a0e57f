package kerneltest

import "magvit/kernels"

func attentionStepCases() []Case {
	var cs []Case
	for _, d := range []struct {
		s    kernels.AttentionStep
		past float32
	}{
		{kernels.AttentionStep{N: 1, Max: 1, Heads: 1, Dim: 1, Memory: 1}, 0},
		{kernels.AttentionStep{N: 2, Max: 9, Heads: 3, Dim: 7, Memory: 2}, 0},
		{kernels.AttentionStep{N: 2, Max: 9, Heads: 3, Dim: 7, Memory: 2}, 5},
		{kernels.AttentionStep{N: 3, Max: 40, Heads: 2, Dim: 33, Memory: 1}, 40},
		{kernels.AttentionStep{N: 1, Max: 300, Heads: 1, Dim: 300, Memory: 3}, 299},
	} {
		cs = append(cs, newCase(d.s, sumTol, softmaxWhy, map[string]Draw{"past": Constant(d.past)}))
	}
	steep := map[string]Draw{"qkv": Normal(15), "past": Constant(30)}
	cs = append(cs, newCase(kernels.AttentionStep{N: 1, Max: 33, Heads: 1, Dim: 8, Memory: 2}, 1e-9, "logits of hundreds are rounded to 1e-5", steep))
	return append(cs, benchCase(kernels.AttentionStep{N: 8, Max: 1280, Heads: 8, Dim: 64, Memory: 1}, sumTol, softmaxWhy, map[string]Draw{"past": Constant(1279)}))
}
