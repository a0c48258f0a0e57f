package kerneltest

import (
	"fmt"

	"magvit/kernels"
)

// Reasons for tolerances, and the tolerances. A float32 rounding is 6e-8 of a
// value, 4e-15 squared.
const (
	exactTol = 0
	exactWhy = "values are moved or compared, not computed"

	roundTol = 1e-13
	roundWhy = "a few float32 roundings for each value"

	mathTol = 1e-12
	mathWhy = "exp and tanh to 1e-7 and some roundings, where the value may be small"

	sumTol = 1e-11
	sumWhy = "sums in float32 of up to some hundred terms, partly cancelling"
)

// Cases are what every backend must pass: all kernels, at the sizes where tiles,
// blocks and tails begin and end.
func Cases() []Case {
	cs := convCases()
	cs = append(cs, pointwiseCases()...)
	cs = append(cs, reduceCases()...)
	cs = append(cs, moveCases()...)
	cs = append(cs, gateCases()...)
	cs = append(cs, normCases()...)
	cs = append(cs, quantizerCases()...)
	cs = append(cs, vqCases()...)
	cs = append(cs, bsqCases()...)
	cs = append(cs, lossCases()...)
	cs = append(cs, classifyCases()...)
	cs = append(cs, layerCases()...)
	return append(cs, optimizerCases()...)
}

var allActivations = []kernels.Activation{kernels.None, kernels.ELU, kernels.SiLU, kernels.LeakyReLU,
	kernels.Sigmoid, kernels.Tanh, kernels.GELU, kernels.SoftClamp}

// edges are lengths around the sizes of vectors, warps, tiles and tasks.
var edges = []int{1, 7, 8, 15, 16, 17, 31, 32, 33, 127, 128, 129, 16384, 16385}

func pointwiseCases() []Case {
	var cs []Case
	wide := map[string]Draw{"x": Mixed(-12, 12, 0, -1e-6, 1e-6, -90, 90, -30, 30)}
	for _, k := range allActivations {
		// The slope's argument: outputs, or inputs as above.
		slope := Mixed(-1, 1, 0, -1, 1)
		if !k.FromOutput() {
			slope = wide["x"]
		}
		for _, n := range []int{1, 15, 16, 17, 31, 33, 16385} {
			cs = append(cs,
				Case{kernels.Act{Kind: k, Len: n}, mathTol, mathWhy, wide},
				Case{kernels.ActGrad{Kind: k, Len: n}, mathTol, mathWhy, map[string]Draw{"s": slope}})
		}
	}
	for _, n := range edges {
		cs = append(cs,
			Case{kernels.Add{Len: n}, exactTol, "one IEEE addition", nil},
			Case{kernels.Affine{Len: n, Mul: 1.5, Add: -.25}, roundTol, roundWhy, nil})
	}
	return cs
}

func reduceCases() []Case {
	var cs []Case
	for _, rows := range []int{1, 7, 8, 9, 127, 129, 700} {
		for _, c := range []int{1, 3, 15, 16, 17, 31, 32, 65} {
			cs = append(cs, Case{kernels.SumRows{Rows: rows, C: c}, sumTol, sumWhy, nil})
		}
	}
	cs = append(cs, Case{kernels.SumRows{Rows: 3, C: 16385}, sumTol, sumWhy, nil})
	for _, n := range edges {
		cs = append(cs, Case{kernels.SumSquares{Len: n}, roundTol, "squares add up without cancelling", nil})
	}
	nan := map[string]Draw{"x": Constant(1, nan32, 3)}
	inf := map[string]Draw{"x": Constant(1, inf32, 3)}
	cs = append(cs, Case{kernels.SumSquares{Len: 40}, exactTol, "NaN shows", nan}, Case{kernels.SumSquares{Len: 41}, exactTol, "Inf shows", inf})
	for n := 1; n <= 4; n++ {
		w := [4]float32{.5, -2, 3, .125}
		clear(w[n:])
		cs = append(cs,
			Case{kernels.WeightedSum{Len: n, W: w}, mathTol, sumWhy, nil},
			Case{kernels.Spread{Len: n, W: w}, roundTol, roundWhy, nil})
	}
	return cs
}

func moveCases() []Case {
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
		down := s
		down.Down = true
		cs = append(cs, Case{s, exactTol, exactWhy, nil}, Case{down, exactTol, exactWhy, nil})
		s.Act, down.Act = kernels.SiLU, kernels.GELU
		x := map[string]Draw{"x": Mixed(-12, 12, 0, -90, 90)}
		for _, s := range []kernels.Shuffle{s, down} {
			cs = append(cs, Case{s, mathTol, mathWhy, x}, Case{kernels.ShuffleGrad{Shuffle: s}, mathTol, mathWhy, x})
		}
	}
	for _, s := range []kernels.PadFront{
		{N: 1, T: 1, Inner: 1, P: 0}, {N: 1, T: 1, Inner: 1, P: 3}, {N: 2, T: 5, Inner: 33, P: 2}, {N: 2, T: 5, Inner: 12, P: 1}, {N: 3, T: 2, Inner: 9000, P: 3},
	} {
		cs = append(cs, Case{s, exactTol, exactWhy, nil}, Case{kernels.CropFront(s), exactTol, exactWhy, nil})
	}
	return cs
}

func gateCases() []Case {
	var cs []Case
	for _, s := range []kernels.FramePool{{F: 1, P: 1, C: 1}, {F: 3, P: 5, C: 7}, {F: 2, P: 129, C: 32}, {F: 5, P: 64, C: 33}, {F: 2, P: 600, C: 65},
		{F: 2, P: 17, C: 15}, {F: 1, P: 33, C: 16}, {F: 3, P: 31, C: 17}, {F: 1, P: 700, C: 31}} {
		k := map[string]Draw{"k": Normal(.3)}
		why := "a softmax of float32 logits: their roundings become relative errors"
		cs = append(cs,
			Case{s, sumTol, why, k},
			Case{kernels.FramePoolGradX(s), sumTol, why, k},
			Case{kernels.FramePoolGradK(s), sumTol, why, k},
			Case{kernels.SqueezeExciteGradX{F: s.F, P: s.P, C: s.C}, sumTol, why, k},
			Case{kernels.SqueezeExciteGradX{F: s.F, P: s.P, C: s.C, Act: kernels.ELU}, sumTol, why, k},
			Case{kernels.FrameGate{F: s.F, P: s.P, C: s.C}, exactTol, "one IEEE multiplication", nil},
			Case{kernels.FrameGate{F: s.F, P: s.P, C: s.C, Residual: true}, roundTol, roundWhy, nil},
			Case{kernels.FrameGateGradG(s), sumTol, sumWhy, nil})
	}
	// Logits of some hundreds: the softmax must subtract its greatest.
	steep := map[string]Draw{"k": Normal(40)}
	cs = append(cs, Case{kernels.FramePool{F: 2, P: 31, C: 16}, 1e-9, "logits of hundreds are rounded to 1e-5", steep})
	return cs
}

func normCases() []Case {
	var cs []Case
	shifted := map[string]Draw{"x": Uniform(4, 6)}
	for _, d := range [][2]int{{1, 2}, {3, 7}, {129, 32}, {33, 96}, {40, 513}, {5, 15}, {1100, 16}, {3, 17}, {31, 31}, {9, 33}} {
		rows, c := d[0], d[1]
		cs = append(cs,
			Case{kernels.LayerNorm{Rows: rows, C: c, Eps: 1e-5}, sumTol, sumWhy, nil},
			Case{kernels.LayerNorm{Rows: rows, C: c, Eps: 1e-3}, sumTol, "a mean of five times the spread costs three bits", shifted},
			Case{kernels.LayerNormGradX{Rows: rows, C: c, Eps: 1e-3}, sumTol, sumWhy, nil},
			Case{kernels.LayerNormGradGamma{Rows: rows, C: c, Eps: 1e-5}, sumTol, sumWhy, nil},
			Case{kernels.RMSNorm{Rows: rows, C: c}, mathTol, roundWhy, nil},
			Case{kernels.RMSNormGradX{Rows: rows, C: c}, sumTol, sumWhy, nil},
			Case{kernels.RMSNormGradX{Rows: rows, C: c, Residual: true}, sumTol, sumWhy, nil},
			Case{kernels.RMSNormGradGamma{Rows: rows, C: c}, sumTol, sumWhy, nil})
	}
	floor := map[string]Draw{"x": Constant(1e-14, -2e-14, 0)}
	return append(cs,
		Case{kernels.RMSNorm{Rows: 2, C: 6}, mathTol, roundWhy, floor},
		Case{kernels.RMSNormGradX{Rows: 2, C: 6}, mathTol, roundWhy, floor},
		Case{kernels.RMSNormGradX{Rows: 2, C: 5}, mathTol, roundWhy, map[string]Draw{"x": Constant(0)}})
}

func quantizerCases() []Case {
	var cs []Case
	signs := map[string]Draw{"z": Mixed(-2, 2, 0, 1e-30, -1e-30)}
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 33, Books: 1, Bits: 10}, {Tokens: 129, Books: 2, Bits: 7}, {Tokens: 5, Books: 1, Bits: 24}} {
		cs = append(cs,
			Case{kernels.LFQSign{LFQ: l}, exactTol, exactWhy, signs},
			Case{kernels.LFQIndex{LFQ: l}, exactTol, exactWhy, signs},
			Case{kernels.LFQValues{LFQ: l}, exactTol, exactWhy, map[string]Draw{"idx": Whole(1 << l.Bits)}})
	}
	for _, l := range []kernels.LFQ{{Tokens: 1, Books: 1, Bits: 1}, {Tokens: 7, Books: 1, Bits: 2}, {Tokens: 65, Books: 2, Bits: 5}, {Tokens: 130, Books: 1, Bits: 9}, {Tokens: 300, Books: 2, Bits: 3}, {Tokens: 3, Books: 1, Bits: 11}} {
		for _, t := range []struct {
			inv  float32
			draw Draw
		}{{.25, Normal(1)}, {100, Normal(.01)}, {100, Mixed(-10, 10, 0, .001, -.001)}} {
			draw := map[string]Draw{"z": t.draw, "dterms": Constant(.1, -.25, 1)}
			cs = append(cs,
				Case{kernels.LFQLoss{LFQ: l, InvTemp: t.inv}, sumTol, sumWhy, draw},
				Case{kernels.LFQLossGrad{LFQ: l, InvTemp: t.inv}, sumTol, sumWhy, draw})
		}
	}
	for _, f := range []kernels.FSQ{
		{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3}},
		{Tokens: 33, Books: 1, Dims: 4, Levels: [8]int{8, 5, 5, 5}},
		{Tokens: 129, Books: 2, Dims: 3, Levels: [8]int{7, 4, 16}},
		{Tokens: 40, Books: 1, Dims: 8, Levels: [8]int{8, 8, 8, 8, 8, 8, 8, 8}},
	} {
		z := map[string]Draw{"z": Mixed(-3, 3, 0, -12, 12)}
		cs = append(cs,
			Case{kernels.FSQQuantize{FSQ: f}, exactTol, "a quotient of small whole numbers; no z is near where rounding is in doubt", z},
			Case{kernels.FSQIndex{FSQ: f}, exactTol, "whole numbers; no z is near where rounding is in doubt", z},
			Case{kernels.FSQGrad{FSQ: f}, sumTol, "1 - tanh² loses digits where tanh saturates", map[string]Draw{"z": Uniform(-3, 3)}},
			Case{kernels.FSQValues{FSQ: f}, exactTol, "quotients of small whole numbers", map[string]Draw{"idx": Whole(f.Codes())}})
	}
	return cs
}

func lossCases() []Case {
	var cs []Case
	for _, d := range [][2]int{{1, 1}, {33, 3}, {129, 1}, {5462, 3}, {40, 64}, {5, 5}, {3, 17}, {2, 2100}} {
		for _, kind := range []kernels.LossKind{kernels.MSE, kernels.L1} {
			for _, overshoot := range []float32{1, .25} {
				s := kernels.ReconLoss{Pixels: d[0], C: d[1], Kind: kind, Overshoot: overshoot}
				draw := map[string]Draw{"x": Uniform(-.3, 1.3), "target": Mixed(0, 1, 0, 1), "weight": Mixed(0, 2, 0, 1)}
				cs = append(cs, Case{s, mathTol, "errors of one sign: no cancelling", draw},
					Case{kernels.ReconLossGrad(s), mathTol, roundWhy, draw})
			}
		}
	}
	hit := map[string]Draw{"x": Constant(0, .5, 1, .25), "target": Constant(0, .5, 1)} // differences of 0
	for _, kind := range []kernels.LossKind{kernels.MSE, kernels.L1} {
		s := kernels.ReconLoss{Pixels: 40, C: 3, Kind: kind, Overshoot: 2}
		cs = append(cs, Case{s, mathTol, roundWhy, hit}, Case{kernels.ReconLossGrad(s), mathTol, roundWhy, hit})
	}
	none := map[string]Draw{"weight": Constant(0)}
	s := kernels.ReconLoss{Pixels: 20, C: 3, Overshoot: 1}
	return append(cs, Case{s, exactTol, "no weight, no loss", none}, Case{kernels.ReconLossGrad(s), exactTol, "no weight, no slope", none})
}

func classifyCases() []Case {
	const why = "exp and log to 1e-7 of logits that may cancel"
	var cs []Case
	for _, d := range [][2]int{{1, 2}, {7, 4}, {33, 3}, {129, 31}, {300, 5}} {
		draw := map[string]Draw{"logits": Normal(3), "label": Mixed(0, 1, float32(d[1]-1), -1)}
		steep := map[string]Draw{"logits": Mixed(-9, 9, -300, 300), "label": Whole(d[1])}
		for _, m := range []map[string]Draw{draw, steep} {
			m["label"] = rounded(m["label"])
			cs = append(cs, Case{kernels.CrossEntropy{Rows: d[0], C: d[1]}, sumTol, why, m}, Case{kernels.CrossEntropyGrad{Rows: d[0], C: d[1]}, sumTol, why, m})
		}
	}
	none := map[string]Draw{"label": Constant(-1)}
	s := kernels.CrossEntropy{Rows: 40, C: 3}
	return append(cs, Case{s, exactTol, "no label, no loss", none}, Case{kernels.CrossEntropyGrad(s), exactTol, "no label, no slope", none})
}

func optimizerCases() []Case {
	var cs []Case
	for i, norm2 := range []float32{4, 1e-8, nan32, inf32} {
		for _, maxNorm := range []float32{0, .5} {
			for _, n := range []int{1 + i, 15 + i, 31 + i, 129 + i, 16385 + i} { // lengths differ so that values do
				tol, why := mathTol, "a dozen float32 roundings, and none of them on a difference"
				if i >= 2 {
					tol, why = exactTol, "a gradient that is not finite changes nothing"
				}
				draw := map[string]Draw{
					"p": Normal(.1), "m": Normal(.01), "v": Uniform(0, 1e-3), "ema": Normal(.1), "g": Normal(.1),
					"norm2": Constant(norm2), "hyper": Constant(1e-3, .1, .01, 1e-8, 1e-2, .271, .0297, maxNorm, .01, .5),
				}
				cs = append(cs, Case{kernels.AdamW{Len: n}, tol, why, draw})
			}
		}
	}
	return cs
}

// String names the case.
func (c Case) String() string { return fmt.Sprint(kernels.Name(c.Spec)) }
