package kerneltest

import "magvit/kernels"

// benchRow is a row of Bench: tolerances are those of Cases, for the same reasons.
func benchRow(s kernels.Spec, tol float64, draw map[string]Draw) Case {
	return Case{s, tol, "as in Cases", draw}
}

// Draws of arguments that must suit a kernel.
var (
	benchCodes = map[string]Draw{"z": Normal(.05), "dterms": Constant(1)}
	benchVideo = map[string]Draw{"x": Uniform(-.1, 1.1), "target": Mixed(0, 1, 0, 1), "weight": Uniform(1, 3)}
	benchState = map[string]Draw{"p": Normal(.1), "m": Normal(.01), "v": Uniform(0, 1e-3), "ema": Normal(.1), "norm2": Constant(1),
		"hyper": Constant(1e-3, .1, .01, 1e-8, 1e-2, .271, .0297, 1, .01, 1)}
)

// benchRows are the kernels that are not convolutions.
func benchRows() []Case {
	const pixels, values = 2 * 16 * 16 * 16, 2 * 16 * 16 * 16 * 64
	frames := kernels.FramePool{F: 32, P: 256, C: 64}
	shuffle := kernels.Shuffle{N: 2, T: 16, H: 8, W: 8, C: 64, FT: 1, FH: 2, FW: 2}
	patch := kernels.Shuffle{N: 2, T: 16, H: 16, W: 16, C: 3, FT: 1, FH: 4, FW: 4, Down: true}
	lfq := kernels.LFQ{Tokens: 512, Books: 1, Bits: 10}
	large := kernels.LFQ{Tokens: 512, Books: 1, Bits: 18}
	fsq := kernels.FSQ{Tokens: 512, Books: 1, Dims: 4, Levels: [8]int{8, 5, 5, 5}}
	recon := kernels.ReconLoss{Pixels: 2 * 16 * 64 * 64, C: 3, Overshoot: .02}
	terms := [4]float32{1, .1, -.1, .25}
	index := map[string]Draw{"idx": Whole(1000)}
	labels := map[string]Draw{"label": Whole(400)}
	z := benchCodes
	return []Case{
		benchRow(kernels.Act{Kind: kernels.ELU, Len: values}, mathTol, nil),
		benchRow(kernels.Act{Kind: kernels.SiLU, Len: values}, mathTol, nil),
		benchRow(kernels.Act{Kind: kernels.GELU, Len: values}, mathTol, nil),
		benchRow(kernels.ActGrad{Kind: kernels.ELU, Len: values}, mathTol, nil),
		benchRow(kernels.ActGrad{Kind: kernels.SiLU, Len: values}, mathTol, nil),
		benchRow(kernels.Add{Len: values}, exactTol, nil),
		benchRow(kernels.Affine{Len: values, Mul: .5, Add: 1}, roundTol, nil),
		benchRow(kernels.SumRows{Rows: pixels, C: 64}, sumTol, nil),
		benchRow(kernels.SumRows{Rows: 2048, C: 96}, sumTol, nil),
		benchRow(kernels.SumSquares{Len: 1_700_000}, roundTol, nil),
		benchRow(kernels.WeightedSum{Len: 4, W: terms}, mathTol, nil),
		benchRow(kernels.Spread{Len: 4, W: terms}, roundTol, nil),
		benchRow(shuffle, exactTol, nil),
		benchRow(patch, exactTol, nil),
		benchRow(kernels.PadFront{N: 2, T: 16, Inner: 256 * 64, P: 3}, exactTol, nil),
		benchRow(kernels.CropFront{N: 2, T: 16, Inner: 256 * 64, P: 3}, exactTol, nil),
		benchRow(frames, sumTol, nil),
		benchRow(kernels.FramePoolGradX(frames), sumTol, nil),
		benchRow(kernels.FramePoolGradK(frames), sumTol, nil),
		benchRow(kernels.SqueezeExciteGradX{F: 32, P: 256, C: 64, Act: kernels.ELU}, sumTol, nil),
		benchRow(kernels.FrameGate{F: 32, P: 256, C: 64, Residual: true}, roundTol, nil),
		benchRow(kernels.FrameGateGradG(frames), sumTol, nil),
		benchRow(kernels.LayerNorm{Rows: 512, C: 96, Eps: 1e-5}, sumTol, nil),
		benchRow(kernels.LayerNormGradX{Rows: 512, C: 96, Eps: 1e-5}, sumTol, nil),
		benchRow(kernels.LayerNormGradGamma{Rows: 512, C: 96, Eps: 1e-5}, sumTol, nil),
		benchRow(kernels.RMSNorm{Rows: pixels, C: 64}, sumTol, nil),
		benchRow(kernels.RMSNormGradX{Rows: pixels, C: 64}, sumTol, nil),
		benchRow(kernels.RMSNormGradGamma{Rows: pixels, C: 64}, sumTol, nil),
		benchRow(kernels.LFQSign{LFQ: lfq}, exactTol, nil),
		benchRow(kernels.LFQIndex{LFQ: lfq}, exactTol, nil),
		benchRow(kernels.LFQValues{LFQ: lfq}, exactTol, index),
		benchRow(kernels.LFQLoss{LFQ: lfq, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLossGrad{LFQ: lfq, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLossFloored{LFQ: lfq, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLossFlooredGrad{LFQ: lfq, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLoss{LFQ: large, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLossGrad{LFQ: large, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLossFloored{LFQ: large, InvTemp: 100}, sumTol, z),
		benchRow(kernels.LFQLossFlooredGrad{LFQ: large, InvTemp: 100}, sumTol, z),
		benchRow(kernels.FSQQuantize{FSQ: fsq}, exactTol, nil),
		benchRow(kernels.FSQGrad{FSQ: fsq}, sumTol, nil),
		benchRow(kernels.FSQIndex{FSQ: fsq}, exactTol, nil),
		benchRow(kernels.FSQValues{FSQ: fsq}, exactTol, index),
		benchRow(recon, mathTol, benchVideo),
		benchRow(kernels.ReconLossGrad(recon), mathTol, benchVideo),
		benchRow(kernels.CrossEntropy{Rows: 512, C: 400}, sumTol, labels),
		benchRow(kernels.CrossEntropyGrad{Rows: 512, C: 400}, sumTol, labels),
		benchRow(kernels.AdamW{Len: 1_700_000}, mathTol, benchState),
	}
}

// benchLayers are the kernels of attention, recurrence, modulation and padding.
func benchLayers() []Case {
	space := kernels.Attention{N: 2, T: 4, P: 256, Heads: 8, Dim: 32, Memory: 4}
	time := kernels.Attention{N: 2, T: 8, P: 256, Heads: 8, Dim: 32, Memory: 4, Over: kernels.Time, Causal: true}
	linear := kernels.LinearAttention{F: 8, P: 256, Heads: 16, Dim: 8}
	gate := kernels.GateLoop{N: 2, T: 8, P: 256, C: 128}
	norm := kernels.AdaptiveRMSNorm{N: 2, Rows: 4096, C: 64}
	unit := kernels.Normalize{Rows: 5120, C: 18}
	modulate := kernels.Modulate{N: 2, O: 64, Taps: 27, C: 64, Demod: true}
	modulated := kernels.Conv{N: 2, T: 4, H: 8, W: 8, C: 64, O: 64, KT: 3, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, DT: 1, PT: 2, PH: 1, PW: 1}
	pad := kernels.Pad{N: 2, T: 8, H: 32, W: 32, C: 64, PT: 2, PH: 1, PW: 1, Mode: kernels.Reflect}
	slice := kernels.SliceTime{N: 2, T: 17, Inner: 64 * 64 * 3, From: 1, To: 17}
	var cs []Case
	for _, s := range []kernels.Attention{space, time} {
		cs = append(cs, benchRow(s, sumTol, nil), benchRow(kernels.AttentionGrad{Attention: s}, sumTol, nil), benchRow(kernels.AttentionGradMem{Attention: s}, sumTol, nil))
	}
	return append(cs,
		benchRow(linear, sumTol, nil),
		benchRow(kernels.LinearAttentionGradQ{LinearAttention: linear}, sumTol, nil),
		benchRow(kernels.LinearAttentionGradKV{LinearAttention: linear}, sumTol, nil),
		benchRow(gate, mathTol, nil),
		benchRow(kernels.GateLoopGrad(gate), sumTol, nil),
		benchRow(kernels.GEGLU{Rows: 4096, C: 170}, mathTol, nil),
		benchRow(kernels.GEGLUGrad{Rows: 4096, C: 170}, mathTol, nil),
		benchRow(kernels.TokenShift{N: 2, T: 8, P: 256, C: 128}, exactTol, nil),
		benchRow(norm, mathTol, nil),
		benchRow(kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: norm}, sumTol, nil),
		benchRow(kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: norm}, sumTol, nil),
		benchRow(unit, roundTol, nil),
		benchRow(kernels.NormalizeGrad(unit), mathTol, nil),
		benchRow(modulate, roundTol, nil),
		benchRow(kernels.ModulateGradW{Modulate: modulate}, mathTol, nil),
		benchRow(kernels.ModulateGradS{Modulate: modulate}, mathTol, nil),
		convCase(kernels.ModConv{Conv: modulated}), convCase(kernels.ModConvGradX{Conv: modulated}), convCase(kernels.ModConvGradW{Conv: modulated}),
		benchRow(pad, exactTol, nil),
		benchRow(kernels.PadGrad{Pad: pad}, roundTol, nil),
		benchRow(kernels.Blur{N: 2, T: 8, H: 32, W: 32, C: 64, Space: true}, mathTol, nil),
		benchRow(kernels.ConcatTime{N: 2, TA: 1, TB: 16, Inner: 64 * 64 * 3}, exactTol, nil),
		benchRow(slice, exactTol, nil),
		benchRow(kernels.SliceTimeGrad{SliceTime: slice}, exactTol, nil))
}

// largeRow is benchRow with a few values again and again, as drawing all of them takes long.
func largeRow(s kernels.Spec, tol float64, draw map[string]Draw) Case {
	all := map[string]Draw{}
	for _, a := range s.Args() {
		if !a.Out {
			all[a.Name] = Constant(.3, -1.2, .7, 2.1, -.4, -.9, .05, 1.6, -2.3, .5, -.1)
		}
	}
	for name, d := range draw {
		all[name] = d
	}
	return benchRow(s, tol, all)
}

// benchLarge are kernels that memory bounds, on arguments that no cache holds.
func benchLarge() []Case {
	const values, pixels = 1 << 23, 1 << 17
	video := map[string]Draw{"x": Constant(-.1, .5, 1.1, .2, .9), "target": Constant(0, .3, 1, .8), "weight": Constant(1, 2, 3)}
	state := map[string]Draw{"p": Constant(.1, -.2, .3), "m": Constant(.01, -.02), "v": Constant(1e-3, 2e-4), "ema": Constant(.1, -.2),
		"norm2": Constant(1), "hyper": benchState["hyper"]}
	frames := kernels.FramePool{F: 64, P: 4096, C: 64}
	upsampling := kernels.Shuffle{N: 2, T: 16, H: 32, W: 32, C: 64, FT: 1, FH: 2, FW: 2, Act: kernels.SiLU}
	recon := kernels.ReconLoss{Pixels: 1 << 22, C: 3, Overshoot: .02}
	norm := kernels.LayerNorm{Rows: pixels, C: 64, Eps: 1e-5}
	return []Case{
		largeRow(kernels.Act{Kind: kernels.ELU, Len: values}, mathTol, nil),
		largeRow(kernels.ActGrad{Kind: kernels.ELU, Len: values}, mathTol, nil),
		largeRow(kernels.Add{Len: values}, exactTol, nil),
		largeRow(kernels.SumRows{Rows: 2 * pixels, C: 64}, sumTol, nil),
		largeRow(kernels.SumSquares{Len: 2 * values}, roundTol, nil),
		largeRow(kernels.Shuffle{N: 2, T: 16, H: 32, W: 32, C: 64, FT: 1, FH: 2, FW: 2}, exactTol, nil),
		largeRow(kernels.Shuffle{N: 2, T: 16, H: 128, W: 128, C: 3, FT: 1, FH: 4, FW: 4, Down: true}, exactTol, nil),
		largeRow(upsampling, mathTol, nil),
		largeRow(kernels.ShuffleGrad{Shuffle: upsampling}, mathTol, nil),
		largeRow(frames, sumTol, nil),
		largeRow(kernels.FramePoolGradX(frames), sumTol, nil),
		largeRow(kernels.FramePoolGradK(frames), sumTol, nil),
		largeRow(kernels.SqueezeExciteGradX{F: 64, P: 4096, C: 64, Act: kernels.ELU}, sumTol, nil),
		largeRow(kernels.FrameGate{F: 64, P: 4096, C: 64, Residual: true}, roundTol, nil),
		largeRow(kernels.FrameGateGradG(frames), sumTol, nil),
		largeRow(norm, sumTol, nil),
		largeRow(kernels.LayerNormGradX(norm), sumTol, nil),
		largeRow(kernels.LayerNormGradGamma(norm), sumTol, nil),
		largeRow(kernels.RMSNorm{Rows: pixels, C: 64}, sumTol, nil),
		largeRow(kernels.RMSNormGradX{Rows: pixels, C: 64}, sumTol, nil),
		largeRow(kernels.GEGLU{Rows: 1 << 15, C: 256}, mathTol, nil),
		largeRow(kernels.GateLoop{N: 2, T: 8, P: 4096, C: 128}, mathTol, nil),
		largeRow(kernels.TokenShift{N: 2, T: 8, P: 4096, C: 128}, exactTol, nil),
		largeRow(kernels.Pad{N: 2, T: 16, H: 64, W: 64, C: 64, PT: 2, PH: 1, PW: 1, Mode: kernels.Replicate}, exactTol, nil),
		largeRow(kernels.Blur{N: 2, T: 16, H: 64, W: 64, C: 64, Space: true}, mathTol, nil),
		largeRow(recon, mathTol, video),
		largeRow(kernels.ReconLossGrad(recon), mathTol, video),
		largeRow(kernels.AdamW{Len: values}, mathTol, state),
	}
}
