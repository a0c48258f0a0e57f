package kernels_test

import (
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
	"magvit/kernels/kerneltest"
)

// The smallest cases of the layers' kernels, worked by hand as in literals.
var layerLiterals = []struct {
	spec kernels.Spec
	in   [][]float32
	want []float32
}{
	// Token 0 weighs memory, itself and token 1 by 1/5, 3/5, 1/5; token 1 all alike.
	{attend(kernels.Space), [][]float32{tokens, memory}, []float32{5, 5.6666667}},
	// Causal: 1/4 and 3/4.
	{attend(kernels.Time), [][]float32{tokens, memory}, []float32{4.25, 5.6666667}},
	{kernels.AttentionGrad{Attention: attend(kernels.Time)}, [][]float32{{1, 0}, tokens, memory}, []float32{-.2059898, -.1875, .75, 0, 0, 0}},
	{kernels.AttentionGradMem{Attention: attend(kernels.Time)}, [][]float32{{1, 0}, tokens, memory}, []float32{.1875, .25}},
	// The four products of query and key are 0, 1, 0, 0: weights 1, 2.5, 1, 1.
	{linear, [][]float32{{1, 0}, {0, 2, 1, 4}}, []float32{3.4285714, 3}},
	{kernels.LinearAttentionGradQ{LinearAttention: linear}, [][]float32{{1, 0}, {1, 0}, {0, 2, 1, 4}}, []float32{.3265306, 0}},
	{kernels.LinearAttentionGradKV{LinearAttention: linear}, [][]float32{{1, 0}, {1, 0}, {0, 2, 1, 4}}, []float32{-.4081633, .2857143, .3265306, .7142857}},

	{kernels.GateLoop{N: 1, T: 2, P: 1, C: 1}, [][]float32{{2, 3, 0, 4, 5, 0}}, []float32{6, 26}},
	{kernels.GateLoopGrad{N: 1, T: 2, P: 1, C: 1}, [][]float32{{1, 1}, {2, 3, 0, 4, 5, 0}}, []float32{3, 4, 0, 6.5, 4, 3}},
	{kernels.TokenShift{N: 1, T: 2, P: 1, C: 3}, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{1, 2, 0, 4, 5, 3}},
	{kernels.TokenShift{N: 1, T: 2, P: 1, C: 3, Back: true}, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{1, 2, 6, 4, 5, 0}},
	{kernels.GEGLU{Rows: 1, C: 2}, [][]float32{{3, 2, 1, -1}}, []float32{2.5240342, -.3173105}},
	{kernels.GEGLUGrad{Rows: 1, C: 2}, [][]float32{{1, 1}, {3, 2, 1, -1}}, []float32{.8413447, -.1586553, 3.2499464, -.1666309}},

	{adaptive, [][]float32{{3, 4, 0, 0, 3, 4, 0, 0}, {1, 2, 1, 1, 2, 1, 1, 1}}, []float32{1.2, 3.2, 0, 0, 2.4, 1.6, 0, 0}},
	{kernels.AdaptiveRMSNormGradX{AdaptiveRMSNorm: adaptive}, [][]float32{{0, 0, 0, 0, 1, 1, 1, 0}, {3, 4, 0, 0, 3, 4, 0, 0}, {3, 3, 3, 3, 1, 2, 1, 1}}, []float32{0, 0, 0, 0, -.128, .096, .4, 0}},
	{kernels.AdaptiveRMSNormGradGamma{AdaptiveRMSNorm: adaptive}, [][]float32{{1, 1, 1, 0, 2, 0, 0, 0}, {3, 4, 0, 0, 3, 4, 0, 0}}, []float32{1.2, 1.6, 0, 0, 2.4, 0, 0, 0}},
	{kernels.Normalize{Rows: 2, C: 2}, [][]float32{{3, 4, 1e-13, 0}}, []float32{.6, .8, .1, 0}},
	{kernels.NormalizeGrad{Rows: 2, C: 2}, [][]float32{{1, 0, 1e-12, 2e-12}, {3, 4, 1e-13, 0}}, []float32{.128, -.096, 1, 2}},
	{kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2}, [][]float32{{3, 2}, {0, 1}}, []float32{3, 4}},
	{kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2, Demod: true}, [][]float32{{3, 2}, {0, 1}}, []float32{.6, .8}},
	{kernels.Modulate{N: 2, O: 1, Taps: 1, C: 1, Demod: true}, [][]float32{{1e-5}, {0, 2}}, []float32{.1, .3}}, // the floor
	{kernels.ModulateGradW{Modulate: kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2, Demod: true}}, [][]float32{{1, 0}, {3, 2}, {0, 1}}, []float32{.128, -.192}},
	{kernels.ModulateGradS{Modulate: kernels.Modulate{N: 1, O: 1, Taps: 1, C: 2, Demod: true}}, [][]float32{{1, 0}, {3, 2}, {0, 1}}, []float32{.384, -.192}},
	{kernels.ModConv{Conv: point}, [][]float32{{2, 3}, {5, 7}}, []float32{10, 21}},
	{kernels.ModConvGradX{Conv: point}, [][]float32{{1, 2}, {5, 7}}, []float32{5, 14}},
	{kernels.ModConvGradW{Conv: point}, [][]float32{{1, 2}, {2, 3}}, []float32{2, 6}},

	{padding(kernels.Zeros), [][]float32{{1, 2, 3}}, []float32{0, 0, 1, 2, 3, 0, 0}},
	{padding(kernels.Replicate), [][]float32{{1, 2, 3}}, []float32{1, 1, 1, 2, 3, 3, 3}},
	{padding(kernels.Reflect), [][]float32{{1, 2, 3}}, []float32{3, 2, 1, 2, 3, 2, 1}},
	{padding(kernels.Circular), [][]float32{{1, 2, 3}}, []float32{2, 3, 1, 2, 3, 1, 2}},
	{kernels.Pad{N: 1, T: 3, H: 1, W: 1, C: 1, PT: 2, Mode: kernels.Reflect}, [][]float32{{1, 2, 3}}, []float32{3, 2, 1, 2, 3}},
	{kernels.Pad{N: 1, T: 1, H: 2, W: 2, C: 1, PH: 1, Mode: kernels.Circular}, [][]float32{{1, 2, 3, 4}}, []float32{3, 4, 1, 2, 3, 4, 1, 2}},
	{kernels.PadGrad{Pad: padding(kernels.Zeros)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{3, 4, 5}},
	{kernels.PadGrad{Pad: padding(kernels.Replicate)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{6, 4, 18}},
	{kernels.PadGrad{Pad: padding(kernels.Reflect)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{10, 12, 6}},
	{kernels.PadGrad{Pad: padding(kernels.Circular)}, [][]float32{{1, 2, 3, 4, 5, 6, 7}}, []float32{9, 12, 7}},
	{kernels.Blur{N: 1, T: 1, H: 1, W: 3, C: 1, Space: true}, [][]float32{{4, 0, 8}}, []float32{3, 3, 6}},
	{kernels.Blur{N: 1, T: 3, H: 1, W: 1, C: 1, Time: true}, [][]float32{{4, 0, 8}}, []float32{3, 3, 6}},
	{kernels.Blur{N: 1, T: 1, H: 2, W: 2, C: 1, Space: true}, [][]float32{{16, 0, 0, 0}}, []float32{9, 3, 3, 1}},
	{kernels.ConcatTime{N: 2, TA: 1, TB: 2, Inner: 1}, [][]float32{{1, 4}, {2, 3, 5, 6}}, []float32{1, 2, 3, 4, 5, 6}},
	{part, [][]float32{{1, 2, 3, 4, 5, 6}}, []float32{2, 3, 5, 6}},
	{kernels.SliceTimeGrad{SliceTime: part}, [][]float32{{2, 3, 5, 6}}, []float32{0, 2, 3, 0, 5, 6}},

	// As LFQLoss: no probability is below the floor.
	{kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{ln3, 0}}, []float32{.6277412, .6615632, .5048622}},
	{kernels.LFQLossFlooredGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{0, 1, 1}, {ln3, 0}}, []float32{.0507224, .9361468}},
	// Codes are +-1/2: one bit is 1 with probability 3/4, the others with 1/2.
	{kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 4}, InvTemp: ln3 / 2, Spherical: true}, [][]float32{{1, 0, 0, 0}}, []float32{2.6417767, 2.6417767, .25}},
	{kernels.LFQLossFlooredGrad{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 4}, InvTemp: ln3 / 2, Spherical: true}, [][]float32{{0, 0, 1}, {1, 0, 0, 0}}, []float32{.25, .25, .25, .25}},
}

var (
	tokens   = []float32{1, ln3, 4, 0, 0, 8} // q, k, v of two tokens
	memory   = []float32{0, 5}
	linear   = kernels.LinearAttention{F: 1, P: 2, Heads: 1, Dim: 1}
	adaptive = kernels.AdaptiveRMSNorm{N: 2, Rows: 1, C: 4}
	point    = kernels.Conv{N: 2, T: 1, H: 1, W: 1, C: 1, O: 1, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	part     = kernels.SliceTime{N: 2, T: 3, Inner: 1, From: 1, To: 3}
)

// attend is attention over two tokens: pixels, or frames, causal.
func attend(over kernels.Layout) kernels.Attention {
	s := kernels.Attention{N: 1, T: 1, P: 2, Heads: 1, Dim: 1, Memory: 1}
	if over == kernels.Time {
		s.T, s.P, s.Over, s.Causal = 2, 1, over, true
	}
	return s
}

func padding(m kernels.PadMode) kernels.Pad {
	return kernels.Pad{N: 1, T: 1, H: 1, W: 3, C: 1, PW: 2, Mode: m}
}

func TestLayerLiterals(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, c := range layerLiterals {
		if err := c.spec.Validate(); err != nil {
			t.Fatalf("%s: %v", kernels.Name(c.spec), err)
		}
		near(t, kernels.Name(c.spec)+" definition", define(c.spec, c.in...), c.want)
		near(t, kernels.Name(c.spec)+" on the cpu", runOn(t, be, c.spec, c.in...), c.want)
	}
}

// What a frame becomes does not depend on later ones; with attention over space,
// not on any other. Frame 2 of 5 changes.
func TestFramesDependOnlyOnWhatTheySee(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	attention := kernels.Attention{N: 2, T: 5, P: 3, Heads: 2, Dim: 4, Memory: 2}
	over, causal := attention, attention
	over.Over, causal.Over, causal.Causal = kernels.Time, kernels.Time, true
	const all, later, itself, next = "01234", "234", "2", "23"
	for _, c := range []struct {
		spec kernels.Spec
		want string // the frames that change
	}{
		{attention, itself}, {over, all}, {causal, later},
		{kernels.GateLoop{N: 2, T: 5, P: 3, C: 8}, later},
		{kernels.TokenShift{N: 2, T: 5, P: 3, C: 8}, next},
	} {
		args := kerneltest.Arguments(kerneltest.Case{Spec: c.spec})
		before := runOn(t, be, c.spec, args[1:]...)
		x := args[1]
		frame := len(x) / 10 // two clips of five frames
		for i := range frame {
			x[5*frame+2*frame+i] += 1 // of the second clip
		}
		after := runOn(t, be, c.spec, args[1:]...)
		changed, size := "", len(after)/10
		for f := range 10 {
			if slices.Equal(before[f*size:(f+1)*size], after[f*size:(f+1)*size]) {
				continue
			}
			if f < 5 {
				t.Errorf("%s: the first clip changes with the second", kernels.Name(c.spec))
			}
			changed += string(rune('0' + f%5))
		}
		if changed != c.want {
			t.Errorf("%s: frames %q change with frame 2, want %q", kernels.Name(c.spec), changed, c.want)
		}
	}
}

func TestLayerValidate(t *testing.T) {
	pad := kernels.Pad{N: 1, T: 3, H: 3, W: 3, C: 1, PT: 3, Mode: kernels.Circular}
	reflect := pad
	reflect.Mode = kernels.Reflect
	unknown := pad
	unknown.Mode = 7
	active := point
	active.Act = kernels.ELU
	residual := point
	residual.Residual = true
	if err := pad.Validate(); err != nil {
		t.Errorf("%s: %v; a circular pad may be as large as the clip", kernels.Name(pad), err)
	}
	for _, c := range []struct {
		spec kernels.Spec
		want string
	}{
		{kernels.Attention{N: 1, T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1, Over: 2}, "Over is 2, want 0 (Space) or 1 (Time)"},
		{kernels.Attention{N: 1, T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1, Causal: true}, "want Over = Time"},
		{kernels.AttentionGrad{Attention: kernels.Attention{N: 1, T: 1, P: 1, Heads: 1, Dim: 1}}, "Memory is 0"},
		{kernels.AttentionGradMem{Attention: kernels.Attention{T: 1, P: 1, Heads: 1, Dim: 1, Memory: 1}}, "N is 0"},
		{kernels.LinearAttention{F: 1, P: 1, Heads: 1, Dim: 1 << 30}, "more than"},
		{kernels.LinearAttentionGradQ{LinearAttention: kernels.LinearAttention{F: 1, P: 1, Heads: 0, Dim: 1}}, "Heads is 0"},
		{kernels.LinearAttentionGradKV{LinearAttention: kernels.LinearAttention{F: 1, P: 0, Heads: 1, Dim: 1}}, "P is 0"},
		{kernels.GateLoop{N: 1, T: 0, P: 1, C: 1}, "T is 0"},
		{kernels.GateLoopGrad{N: 1, T: 1, P: 1}, "C is 0"},
		{kernels.TokenShift{N: 1, T: 1, P: -1, C: 1}, "P is -1"},
		{kernels.GEGLU{Rows: 1}, "C is 0"},
		{kernels.GEGLUGrad{C: 1}, "Rows is 0"},
		{kernels.AdaptiveRMSNorm{Rows: 1, C: 1}, "N is 0"},
		{kernels.Normalize{Rows: 1}, "C is 0"},
		{kernels.NormalizeGrad{C: 2}, "Rows is 0"},
		{kernels.Modulate{N: 1, O: 1, Taps: 0, C: 1}, "Taps is 0"},
		{kernels.ModConv{Conv: residual}, "Residual is set"},
		{kernels.ModConvGradX{Conv: active}, "Act is ELU, want 0 (None)"},
		{kernels.ModConvGradW{Conv: kernels.Conv{}}, "N is 0"},
		{unknown, "Mode is 7, want 0 (Zeros) to 3 (Circular)"},
		{reflect, "PT is 3 with T = 3, want 0 to 2 for Reflect"},
		{kernels.PadGrad{Pad: reflect}, "PT is 3"},
		{kernels.Blur{N: 1, T: 1, H: 1, W: 1, C: 1}, "neither Time nor Space"},
		{kernels.ConcatTime{N: 1, TA: 1, TB: 0, Inner: 1}, "TB is 0"},
		{kernels.SliceTime{N: 1, T: 3, Inner: 1, From: 2, To: 2}, "want 0 <= From < To <= T = 3"},
		{kernels.SliceTimeGrad{SliceTime: kernels.SliceTime{N: 1, T: 3, Inner: 1, To: 4}}, "To is 4"},
		{kernels.LFQLossFloored{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 21}, InvTemp: 1}, "Bits is 21, want at most 20"},
		{kernels.LFQLossFlooredGrad{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 2}}, "InvTemp is 0"},
	} {
		if err := c.spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", kernels.Name(c.spec), err, c.want)
		}
	}
}
