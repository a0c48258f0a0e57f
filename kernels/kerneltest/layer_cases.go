package kerneltest

import "magvit/kernels"

const (
	softmaxWhy = "a softmax of float32 logits: their roundings become relative errors"
	taylorWhy  = "sums in float32 over the features of a few hundred pixels"
)

// layerCases are the kernels of attention, recurrence, modulation and padding.
func layerCases() []Case {
	cs := attentionCases()
	cs = append(cs, recurrenceCases()...)
	cs = append(cs, sampleCases()...)
	cs = append(cs, axesCases()...)
	return append(cs, flooredCases()...)
}

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
		{N: 2, T: 4, P: 130, Heads: 2, Dim: 8, Memory: 4, Over: kernels.Time, Causal: true},
	} {
		cs = append(cs,
			Case{s, sumTol, softmaxWhy, nil},
			Case{kernels.AttentionGrad{Attention: s}, sumTol, softmaxWhy, nil},
			Case{kernels.AttentionGradMem{Attention: s}, sumTol, softmaxWhy, nil})
	}
	// Logits of some hundreds: the softmax must subtract its greatest.
	steep := map[string]Draw{"qkv": Normal(15)}
	cs = append(cs, Case{kernels.Attention{N: 1, T: 1, P: 40, Heads: 1, Dim: 8, Memory: 2}, 1e-9, "logits of hundreds are rounded to 1e-5", steep})
	// Parts of a sum end between queries, whose logits may overflow an exponential.
	steep["mem"] = Normal(15)
	cs = append(cs, Case{kernels.AttentionGradMem{Attention: kernels.Attention{N: 2, T: 4, P: 34, Heads: 1, Dim: 8, Memory: 4}}, 1e-7, "logits of hundreds are rounded to 1e-5", steep})
	// Of a single pixel the result is its value, whatever the weights.
	cs = append(cs, Case{kernels.LinearAttention{F: 1, P: 1, Heads: 1, Dim: 1}, roundTol, roundWhy, nil})
	for _, s := range []kernels.LinearAttention{
		{F: 1, P: 2, Heads: 1, Dim: 1}, {F: 2, P: 63, Heads: 3, Dim: 8}, {F: 1, P: 65, Heads: 2, Dim: 7}, {F: 2, P: 129, Heads: 1, Dim: 16},
		{F: 2, P: 40, Heads: 2, Dim: 17}, {F: 1, P: 600, Heads: 1, Dim: 3},
	} {
		cs = append(cs,
			Case{s, sumTol, taylorWhy, nil},
			Case{kernels.LinearAttentionGradQ{LinearAttention: s}, sumTol, taylorWhy, nil},
			Case{kernels.LinearAttentionGradKV{LinearAttention: s}, sumTol, taylorWhy, nil})
	}
	return cs
}

func recurrenceCases() []Case {
	var cs []Case
	for _, s := range []kernels.GateLoop{{N: 1, T: 1, P: 1, C: 1}, {N: 2, T: 5, P: 3, C: 7}, {N: 2, T: 17, P: 33, C: 32}, {N: 1, T: 3, P: 2, C: 15}, {N: 1, T: 2, P: 3, C: 17}, {N: 2, T: 3, P: 2, C: 24}} {
		cs = append(cs,
			Case{s, mathTol, mathWhy, nil},
			Case{kernels.GateLoopGrad(s), sumTol, sumWhy, nil},
			Case{kernels.TokenShift{N: s.N, T: s.T, P: s.P, C: s.C}, exactTol, exactWhy, nil},
			Case{kernels.TokenShift{N: s.N, T: s.T, P: s.P, C: s.C, Back: true}, exactTol, exactWhy, nil})
	}
	for _, d := range [][2]int{{1, 3}, {33, 31}, {3, 129}, {700, 33}, {2, 15}, {3, 16}, {2, 17}, {2, 264}, {3, 301}} {
		x := map[string]Draw{"x": Mixed(-4, 4, 0, -12, 12, -90, 90)}
		cs = append(cs,
			Case{kernels.GEGLU{Rows: d[0], C: d[1]}, mathTol, mathWhy, x},
			Case{kernels.GEGLUGrad{Rows: d[0], C: d[1]}, mathTol, mathWhy, x})
	}
	for _, s := range []kernels.ConcatTime{{N: 1, TA: 1, TB: 1, Inner: 1}, {N: 2, TA: 1, TB: 4, Inner: 33}, {N: 2, TA: 1, TB: 3, Inner: 12}, {N: 3, TA: 3, TB: 2, Inner: 9000}} {
		slice := kernels.SliceTime{N: s.N, T: s.TA + s.TB, Inner: s.Inner, From: s.TA - 1, To: s.TA + s.TB - 1}
		cs = append(cs,
			Case{s, exactTol, exactWhy, nil}, Case{slice, exactTol, exactWhy, nil}, Case{kernels.SliceTimeGrad{SliceTime: slice}, exactTol, exactWhy, nil})
	}
	return cs
}

func sampleCases() []Case {
	var cs []Case
	for _, s := range []kernels.AdaptiveRMSNorm{{N: 1, Rows: 1, C: 2}, {N: 3, Rows: 5, C: 7}, {N: 2, Rows: 129, C: 33}, {N: 2, Rows: 33, C: 513}, {N: 2, Rows: 1024, C: 3}} {
		n := kernels.Normalize{Rows: s.N * s.Rows, C: s.C}
		cs = append(cs,
			Case{s, mathTol, roundWhy, nil},
			Case{kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: s}, sumTol, sumWhy, nil},
			Case{kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: s}, sumTol, sumWhy, nil},
			Case{n, roundTol, roundWhy, nil},
			Case{kernels.NormalizeGrad(n), mathTol, roundWhy, nil})
	}
	floor := map[string]Draw{"x": Constant(1e-14, -2e-14, 0)}
	cs = append(cs,
		Case{kernels.Normalize{Rows: 2, C: 6}, roundTol, roundWhy, floor},
		Case{kernels.NormalizeGrad{Rows: 2, C: 6}, mathTol, roundWhy, floor},
		Case{kernels.NormalizeGrad{Rows: 2, C: 5}, mathTol, roundWhy, map[string]Draw{"x": Constant(0)}})
	small := map[string]Draw{"w": Normal(1e-6)} // below the floor of demodulation
	for _, s := range []kernels.Modulate{{N: 1, O: 1, Taps: 1, C: 2}, {N: 3, O: 5, Taps: 27, C: 7}, {N: 2, O: 33, Taps: 3, C: 32}} {
		for _, demod := range []bool{false, true} {
			for _, draw := range []map[string]Draw{nil, small} {
				s.Demod = demod
				cs = append(cs,
					Case{s, roundTol, roundWhy, draw},
					Case{kernels.ModulateGradW{Modulate: s}, mathTol, roundWhy, draw},
					Case{kernels.ModulateGradS{Modulate: s}, mathTol, roundWhy, draw})
			}
		}
	}
	for i, s := range convShapes() {
		if i%3 != 0 {
			continue
		}
		s.N++
		act := s
		act.Act = kernels.ELU
		cs = append(cs, convCase(kernels.ModConv{Conv: act}), convCase(kernels.ModConvGradX{Conv: s}), convCase(kernels.ModConvGradW{Conv: s}))
	}
	return cs
}

func axesCases() []Case {
	var cs []Case
	for _, s := range []kernels.Pad{
		{N: 1, T: 1, H: 1, W: 1, C: 1},
		{N: 2, T: 3, H: 4, W: 5, C: 3, PT: 2, PH: 1, PW: 2},
		{N: 1, T: 7, H: 4, W: 9, C: 33, PT: 6, PH: 3, PW: 3},
		{N: 1, T: 2, H: 5, W: 129, C: 64, PT: 1, PH: 1},
	} {
		for s.Mode = kernels.Zeros; s.Mode <= kernels.Circular; s.Mode++ {
			cs = append(cs, Case{s, exactTol, exactWhy, nil}, Case{kernels.PadGrad{Pad: s}, roundTol, roundWhy, nil})
		}
	}
	beyond := kernels.Pad{N: 2, T: 1, H: 2, W: 1, C: 3, PT: 4, PH: 3, PW: 2, Mode: kernels.Replicate}
	cs = append(cs, Case{beyond, exactTol, exactWhy, nil}, Case{kernels.PadGrad{Pad: beyond}, mathTol, sumWhy, nil})
	for _, s := range []kernels.Blur{
		{N: 1, T: 1, H: 1, W: 1, C: 1, Space: true}, {N: 2, T: 3, H: 5, W: 2, C: 3, Space: true},
		{N: 2, T: 5, H: 3, W: 4, C: 3, Time: true}, {N: 1, T: 4, H: 7, W: 33, C: 32, Time: true, Space: true},
	} {
		cs = append(cs, Case{s, mathTol, roundWhy, nil})
	}
	return cs
}

func flooredCases() []Case {
	var cs []Case
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 7, Books: 1, Bits: 2}, {Tokens: 65, Books: 2, Bits: 5}, {Tokens: 66, Books: 1, Bits: 9}, {Tokens: 300, Books: 2, Bits: 3}, {Tokens: 3, Books: 1, Bits: 11}} {
		for _, t := range []struct {
			inv  float32
			draw Draw
		}{{.25, Normal(1)}, {100, Normal(.01)}, {100, Mixed(-10, 10, 0, .001, -.001)}} {
			for _, spherical := range []bool{false, true} {
				draw := map[string]Draw{"z": t.draw, "dterms": Constant(.1, -.25, 1)}
				cs = append(cs,
					Case{kernels.LFQLossFloored{LFQ: l, InvTemp: t.inv, Spherical: spherical}, sumTol, sumWhy, draw},
					Case{kernels.LFQLossFlooredGrad{LFQ: l, InvTemp: t.inv, Spherical: spherical}, sumTol, sumWhy, draw})
			}
		}
	}
	return cs
}
