package kernels_test

import (
	"math"
	"strings"
	"testing"

	"magvit/kernels"
)

// Sizes that cannot be: the error names the field and what would be legal.
func TestValidate(t *testing.T) {
	lfq, fsq := kernels.LFQ{Tokens: 1, Books: 1, Bits: 21}, kernels.FSQ{Tokens: 1, Books: 1, Dims: 2, Levels: [8]int{3, 2}}
	for _, c := range []struct {
		spec kernels.Spec
		want string
	}{
		{kernels.Act{Kind: 99, Len: 1}, "unknown activation 99"},
		{kernels.Act{Kind: kernels.ELU}, "Len is 0, want at least 1"},
		{kernels.ActGrad{Kind: -1, Len: 1}, "unknown activation -1"},
		{kernels.Add{Len: -3}, "Len is -3, want at least 1"},
		{kernels.Affine{}, "Len is 0"},
		{kernels.SumRows{Rows: 1 << 30, C: 1 << 30}, "more than"},
		{kernels.SumSquares{}, "Len is 0"},
		{kernels.WeightedSum{Len: 5}, "Len is 5, want 1 to 4"},
		{kernels.Spread{Len: 1, W: [4]float32{1, 2}}, "W[1] is 2, want 0"},
		{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 0, FW: 1}, "FH is 0"},
		{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 1, FW: 1, Act: 99}, "unknown activation 99"},
		{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 1, FT: 1, FH: 1, FW: 1, Act: kernels.ELU}, "Act is ELU, want None, SiLU or GELU"},
		{kernels.ShuffleGrad{Shuffle: kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, FT: 1, FH: 1, FW: 1}}, "C is 0"},
		{kernels.PadFront{N: 1, T: 1, Inner: 1, P: -1}, "P is -1, want at least 0"},
		{kernels.CropFront{N: 1, T: 0, Inner: 1, P: 2}, "T is 0"},
		{kernels.FramePool{F: 1, P: 0, C: 1}, "P is 0"},
		{kernels.FramePoolGradX{F: 1, P: 0, C: 1}, "P is 0"},
		{kernels.FramePoolGradK{F: 1, P: 0, C: 1}, "P is 0"},
		{kernels.SqueezeExciteGradX{F: 1, P: 1, C: 1, Act: kernels.SiLU}, "no function of its output"},
		{kernels.SqueezeExciteGradX{F: 1, P: 0, C: 1}, "P is 0"},
		{kernels.FrameGate{F: 0, P: 1, C: 1}, "F is 0"},
		{kernels.FrameGateGradG{F: 0, P: 1, C: 1}, "F is 0"},
		{kernels.LayerNorm{Rows: 1, C: 1}, "Eps is 0, want a positive number"},
		{kernels.LayerNormGradX{Rows: 1, C: 1, Eps: -1}, "Eps is -1"},
		{kernels.LayerNormGradGamma{Rows: 0, C: 1, Eps: 1}, "Rows is 0"},
		{kernels.RMSNorm{Rows: 1}, "C is 0"},
		{kernels.RMSNormGradX{Rows: 1}, "C is 0"},
		{kernels.RMSNormGradGamma{Rows: 1}, "C is 0"},
		{kernels.LFQSign{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 25}}, "Bits is 25, want at most 24"},
		{kernels.LFQIndex{LFQ: kernels.LFQ{Books: 1, Bits: 2}}, "Tokens is 0"},
		{kernels.LFQValues{LFQ: kernels.LFQ{Tokens: 1, Bits: 2}}, "Books is 0"},
		{kernels.LFQLoss{LFQ: lfq, InvTemp: 1}, "Bits is 21, want at most 20"},
		{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 1, Books: 1, Bits: 2}, InvTemp: float32(math.NaN())}, "InvTemp is NaN"},
		{kernels.FSQQuantize{FSQ: fsq}, "Levels[1] is 2, want at least 3"},
		{kernels.FSQGrad{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 9}}, "Dims is 9, want at most 8"},
		{kernels.FSQIndex{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3, 3}}}, "Levels[1] is 3, want 0"},
		{kernels.FSQValues{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 2, Levels: [8]int{8192, 8192}}}, "more than 16777216 codes"},
		{kernels.ReconLoss{Pixels: 1, C: 1, Kind: 2}, "Kind is 2, want 0 (MSE) or 1 (L1)"},
		{kernels.ReconLossGrad{Pixels: 1, C: 1, Overshoot: -1}, "Overshoot is -1"},
		{kernels.CrossEntropy{C: 2}, "Rows is 0"},
		{kernels.CrossEntropyGrad{Rows: 1}, "C is 0"},
		{kernels.AdamW{}, "Len is 0"},
	} {
		if err := c.spec.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", kernels.Name(c.spec), err, c.want)
		}
	}
}
