package kerneltest

import (
	"fmt"
	"math"
	"slices"

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

	softmaxWhy = "a softmax of float32 logits: their roundings become relative errors"
)

var (
	nan32 = float32(math.NaN())
	inf32 = float32(math.Inf(1))
)

// all are the cases of all kernels. Those of kernels/x.go are in x.go here.
func all() []Case {
	return slices.Concat(
		convCases(),
		convGEGLUCases(),
		convShuffleCases(),
		pointwiseCases(),
		reduceCases(),
		shuffleCases(),
		framesCases(),
		framesSliceCases(),
		gateCases(),
		normCases(),
		normSampleCases(),
		normGroupCases(),
		batchNormCases(),
		channelStatsCases(),
		resampleCases(),
		blendCases(),
		lfqCases(),
		lfqStepCases(),
		lfqFlooredCases(),
		fsqCases(),
		fsqLossCases(),
		vqCases(),
		bsqCases(),
		bsqStepCases(),
		lossCases(),
		classifyCases(),
		embeddingCases(),
		attentionCases(),
		attentionStepCases(),
		linearAttentionCases(),
		gateloopCases(),
		shiftCases(),
		gegluCases(),
		modulateCases(),
		modconvCases(),
		padCases(),
		padRowsCases(),
		blurCases(),
		lapCases(),
		poolCases(),
		imageGradientCases(),
		ssimCases(),
		windowCases(),
		logitsCases(),
		lecamCases(),
		runningCases(),
		normTangentCases(),
		gegluTangentCases(),
		linearAttentionTangentCases(),
		featureDistanceCases(),
		optimizerCases(),
	)
}

// Cases are what every backend must pass: all kernels, at the sizes where tiles,
// blocks and tails begin and end.
func Cases() []Case {
	return slices.DeleteFunc(all(), func(c Case) bool { return c.Bench || c.Smooth })
}

// Smooth are small cases without a kink near their values. Gradients are compared with
// differences at them.
func Smooth() []Case {
	return slices.DeleteFunc(all(), func(c Case) bool { return !c.Smooth })
}

// Bench are the kernels of a training step at realistic sizes: two clips of 16
// frames of 64x64 pixels, stem of 4x4 patches, widths 64 and 96, 1.7 M
// parameters; convolutions of the published widths, its 7x7x7 stem and a strided one;
// layers of attention; the batch entropy of a large codebook; and kernels bound by
// memory once more with arguments of 32 MiB and more, which no cache holds.
func Bench() []Case {
	return slices.DeleteFunc(all(), func(c Case) bool { return !c.Bench })
}

func newCase(s kernels.Spec, tol float64, why string, draw map[string]Draw) Case {
	return Case{Spec: s, Tol: tol, Why: why, Draw: draw}
}

// benchCase is a row of the benchmark.
func benchCase(s kernels.Spec, tol float64, why string, draw map[string]Draw) Case {
	return Case{Spec: s, Tol: tol, Why: why, Draw: draw, Bench: true}
}

// smoothCase is a case for the gradients of a Spec. Differences of five points err by
// 1e-5 of a slope.
func smoothCase(s kernels.Spec, draw map[string]Draw) Case {
	return Case{Spec: s, Tol: 1e-8, Why: "central differences of float32 results", Draw: draw, Smooth: true}
}

// largeBenchCase is a row of the benchmark that repeats a few values, as drawing
// millions of them takes long.
func largeBenchCase(s kernels.Spec, tol float64, why string, draw map[string]Draw) Case {
	repeated := map[string]Draw{}
	for _, a := range s.Args() {
		if !a.Out {
			repeated[a.Name] = Constant(.3, -1.2, .7, 2.1, -.4, -.9, .05, 1.6, -2.3, .5, -.1)
		}
	}
	for name, d := range draw {
		repeated[name] = d
	}
	return benchCase(s, tol, why, repeated)
}

var allActivations = []kernels.Activation{kernels.None, kernels.ELU, kernels.SiLU, kernels.LeakyReLU,
	kernels.Sigmoid, kernels.Tanh, kernels.GELU, kernels.SoftClamp, kernels.ReLU, kernels.LeakyReLU5}

// edges are lengths around the sizes of vectors, warps, tiles and tasks.
var edges = []int{1, 7, 8, 15, 16, 17, 31, 32, 33, 127, 128, 129, 16384, 16385}

// String names the case.
func (c Case) String() string { return fmt.Sprint(kernels.Name(c.Spec)) }
