package kerneltest

import "magvit/kernels"

func linearAttentionTangentCases() []Case {
	const taylorWhy = "sums in float32 over the features of a few hundred pixels, of quotients that cancel"
	var cs []Case
	each := func(make func(kernels.Spec, float64, string, map[string]Draw) Case, s kernels.LinearAttention, tol float64) {
		for _, kv := range []bool{false, true} {
			t := kernels.LinearAttentionTangent{LinearAttention: s, KV: kv}
			cs = append(cs, make(t, tol, taylorWhy, nil),
				make(kernels.LinearAttentionTangentGradQ{LinearAttentionTangent: t}, tol, taylorWhy, nil),
				make(kernels.LinearAttentionTangentGradKV{LinearAttentionTangent: t}, tol, taylorWhy, nil))
		}
	}
	for _, s := range []kernels.LinearAttention{
		{F: 1, P: 2, Heads: 1, Dim: 1}, {F: 2, P: 63, Heads: 3, Dim: 8}, {F: 1, P: 65, Heads: 2, Dim: 7},
		{F: 2, P: 129, Heads: 1, Dim: 16}, {F: 2, P: 40, Heads: 2, Dim: 17}, {F: 1, P: 5, Heads: 1, Dim: 131},
	} {
		each(newCase, s, 1e-9)
	}
	small := kernels.LinearAttention{F: 2, P: 3, Heads: 2, Dim: 3}
	for _, kv := range []bool{false, true} {
		cs = append(cs, smoothCase(kernels.LinearAttentionTangent{LinearAttention: small, KV: kv}, nil))
	}
	cs = append(cs, smoothCase(kernels.LinearAttentionGradQ{LinearAttention: small}, nil), smoothCase(kernels.LinearAttentionGradKV{LinearAttention: small}, nil))
	each(benchCase, kernels.LinearAttention{F: 4, P: 256, Heads: 4, Dim: 8}, 1e-9)
	return cs
}
