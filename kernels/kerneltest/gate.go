package kerneltest

import "magvit/kernels"

func gateCases() []Case {
	var cs []Case
	for _, s := range []kernels.FramePool{{F: 1, P: 1, C: 1}, {F: 3, P: 5, C: 7}, {F: 2, P: 129, C: 32}, {F: 5, P: 64, C: 33}, {F: 2, P: 600, C: 65},
		{F: 2, P: 17, C: 15}, {F: 1, P: 33, C: 16}, {F: 3, P: 31, C: 17}, {F: 1, P: 700, C: 31},
		{F: 2, P: 1030, C: 24}, {F: 1, P: 19, C: 2056}} { // several chunks of a frame, several columns of a thread
		k := map[string]Draw{"k": Normal(.3)}
		if s.C > 1000 { // logits of about 1 here too
			k["k"] = Normal(.02)
		}
		cs = append(cs,
			newCase(s, sumTol, softmaxWhy, k),
			newCase(kernels.FramePoolGradX(s), sumTol, softmaxWhy, k),
			newCase(kernels.FramePoolGradK(s), sumTol, softmaxWhy, k),
			newCase(kernels.SqueezeExciteGradX{F: s.F, P: s.P, C: s.C}, sumTol, softmaxWhy, k),
			newCase(kernels.SqueezeExciteGradX{F: s.F, P: s.P, C: s.C, Act: kernels.ELU}, sumTol, softmaxWhy, k),
			newCase(kernels.FramePoolStats(s), sumTol, softmaxWhy, k),
			newCase(kernels.SqueezeExciteGrad{F: s.F, P: s.P, C: s.C}, sumTol, softmaxWhy, k),
			newCase(kernels.SqueezeExciteGrad{F: s.F, P: s.P, C: s.C, Act: kernels.ELU}, sumTol, softmaxWhy, k),
			newCase(kernels.FrameGate{F: s.F, P: s.P, C: s.C}, exactTol, "one IEEE multiplication", nil),
			newCase(kernels.FrameGate{F: s.F, P: s.P, C: s.C, Residual: true}, roundTol, roundWhy, nil),
			newCase(kernels.FrameGateGradG(s), sumTol, sumWhy, nil))
	}
	// Logits of some hundreds: the softmax must subtract its greatest.
	steep := map[string]Draw{"k": Normal(40)}
	cs = append(cs, newCase(kernels.FramePool{F: 2, P: 31, C: 16}, 1e-9, "logits of hundreds are rounded to 1e-5", steep))
	cs = append(cs, smoothCase(kernels.FramePool{F: 2, P: 5, C: 3}, nil), smoothCase(kernels.FrameGate{F: 2, P: 5, C: 3}, nil))
	frames, large := kernels.FramePool{F: 32, P: 256, C: 64}, kernels.FramePool{F: 64, P: 4096, C: 64}
	return append(cs,
		benchCase(frames, sumTol, softmaxWhy, nil),
		benchCase(kernels.FramePoolGradX(frames), sumTol, softmaxWhy, nil),
		benchCase(kernels.FramePoolGradK(frames), sumTol, softmaxWhy, nil),
		benchCase(kernels.SqueezeExciteGradX{F: 32, P: 256, C: 64, Act: kernels.ELU}, sumTol, softmaxWhy, nil),
		benchCase(kernels.FramePoolStats(frames), sumTol, softmaxWhy, nil),
		benchCase(kernels.SqueezeExciteGrad{F: 32, P: 256, C: 64, Act: kernels.ELU}, sumTol, softmaxWhy, nil),
		benchCase(kernels.FrameGate{F: 32, P: 256, C: 64, Residual: true}, roundTol, roundWhy, nil),
		benchCase(kernels.FrameGateGradG(frames), sumTol, sumWhy, nil),
		largeBenchCase(large, sumTol, softmaxWhy, nil),
		largeBenchCase(kernels.FramePoolGradX(large), sumTol, softmaxWhy, nil),
		largeBenchCase(kernels.FramePoolGradK(large), sumTol, softmaxWhy, nil),
		largeBenchCase(kernels.SqueezeExciteGradX{F: 64, P: 4096, C: 64, Act: kernels.ELU}, sumTol, softmaxWhy, nil),
		largeBenchCase(kernels.SqueezeExciteGrad{F: 64, P: 4096, C: 64, Act: kernels.ELU}, sumTol, softmaxWhy, nil),
		largeBenchCase(kernels.FrameGate{F: 64, P: 4096, C: 64, Residual: true}, roundTol, roundWhy, nil),
		largeBenchCase(kernels.FrameGateGradG(large), sumTol, sumWhy, nil))
}
