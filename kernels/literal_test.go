package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

const ln3 = 1.0986123

// The smallest case of each kernel, worked by hand. in are the arguments after
// the results, want the results.
var literals = []struct {
	spec kernels.Spec
	in   [][]float32
	want []float32
}{
	{kernels.Act{Kind: kernels.None, Len: 2}, [][]float32{{2, -1}}, []float32{2, -1}},
	{kernels.Act{Kind: kernels.ELU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{2, 0, -.63212056}},
	{kernels.Act{Kind: kernels.SiLU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{1.7615942, 0, -.26894143}},
	{kernels.Act{Kind: kernels.LeakyReLU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{2, 0, -.1}},
	{kernels.Act{Kind: kernels.Sigmoid, Len: 3}, [][]float32{{2, 0, -1}}, []float32{.88079708, .5, .26894143}},
	{kernels.Act{Kind: kernels.Tanh, Len: 3}, [][]float32{{2, 0, -1}}, []float32{.96402758, 0, -.76159416}},
	{kernels.Act{Kind: kernels.GELU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{1.9544997, 0, -.15865526}},
	{kernels.Act{Kind: kernels.SoftClamp, Len: 3}, [][]float32{{10, 0, -20}}, []float32{7.6159416, 0, -9.6402758}},
	{kernels.ActGrad{Kind: kernels.None, Len: 1}, [][]float32{{2}, {7}}, []float32{2}},
	{kernels.ActGrad{Kind: kernels.ELU, Len: 3}, [][]float32{{2, 2, 2}, {3, 0, -.5}}, []float32{2, 2, 1}},
	{kernels.ActGrad{Kind: kernels.SiLU, Len: 2}, [][]float32{{2, 1}, {0, 2}}, []float32{1, 1.0907842}},
	{kernels.ActGrad{Kind: kernels.LeakyReLU, Len: 3}, [][]float32{{2, 2, 2}, {3, 0, -.5}}, []float32{2, .2, .2}},
	{kernels.ActGrad{Kind: kernels.Sigmoid, Len: 1}, [][]float32{{2}, {.25}}, []float32{.375}},
	{kernels.ActGrad{Kind: kernels.Tanh, Len: 1}, [][]float32{{2}, {.5}}, []float32{1.5}},
	{kernels.ActGrad{Kind: kernels.GELU, Len: 2}, [][]float32{{2, 1}, {0, 1}}, []float32{1, 1.0833155}},
	{kernels.ActGrad{Kind: kernels.SoftClamp, Len: 1}, [][]float32{{2}, {5}}, []float32{1.5}},
	{kernels.Add{Len: 2}, [][]float32{{1, 2}, {3, 5}}, []float32{4, 7}},
	{kernels.Affine{Len: 2, Mul: 2, Add: -1}, [][]float32{{1, 3}}, []float32{1, 5}},

	{kernels.SumRows{Rows: 2, C: 2}, [][]float32{{1, 2, 3, 5}}, []float32{4, 7}},
	{kernels.SumSquares{Len: 2}, [][]float32{{3, 4}}, []float32{25}},
	{kernels.WeightedSum{Len: 2, W: [4]float32{2, -1}}, [][]float32{{3, 5}}, []float32{1}},
	{kernels.Spread{Len: 2, W: [4]float32{2, -1}}, [][]float32{{3}}, []float32{6, -3}},

	{kernels.Shuffle{N: 1, T: 1, H: 1, W: 2, C: 1, FT: 1, FH: 2, FW: 2}, [][]float32{{1, 2, 3, 4, 5, 6, 7, 8}}, []float32{1, 2, 5, 6, 3, 4, 7, 8}},
	{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 1}, [][]float32{{1, 2, 3, 4}}, []float32{1, 3, 2, 4}},
	{kernels.Shuffle{N: 1, T: 1, H: 1, W: 2, C: 1, FT: 1, FH: 2, FW: 2, Down: true}, [][]float32{{1, 2, 5, 6, 3, 4, 7, 8}}, []float32{1, 2, 3, 4, 5, 6, 7, 8}},
	{kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 1, Act: kernels.SiLU}, [][]float32{{1, -2, -3, 4}}, []float32{.7310586, -.14227761, -.23840584, 3.9280552}},
	{kernels.ShuffleGrad{Shuffle: kernels.Shuffle{N: 1, T: 1, H: 1, W: 1, C: 2, FT: 2, FH: 1, FW: 1, Act: kernels.SiLU}},
		[][]float32{{5, 6, 7, 8}, {1, -2, -3, 4}}, []float32{4.6383525, -.63548975, -.52862472, 8.4213168}},
	{kernels.PadFront{N: 2, T: 1, Inner: 2, P: 1}, [][]float32{{7, 8, 9, 1}}, []float32{0, 0, 7, 8, 0, 0, 9, 1}},
	{kernels.CropFront{N: 2, T: 1, Inner: 2, P: 1}, [][]float32{{5, 6, 7, 8, 3, 4, 9, 1}}, []float32{7, 8, 9, 1}},

	// Softmax 1/4 and 3/4, then 1/2 and 1/2; the second row of the second one has no label.
	{kernels.CrossEntropy{Rows: 2, C: 2}, [][]float32{{0, ln3, 5, 5}, {0, 1}}, []float32{1.0397208}},
	{kernels.CrossEntropy{Rows: 2, C: 2}, [][]float32{{0, ln3, 5, 9}, {1, -1}}, []float32{.28768207}},
	{kernels.CrossEntropyGrad{Rows: 2, C: 2}, [][]float32{{8}, {0, ln3, 5, 5}, {0, 1}}, []float32{-3, 3, 2, -2}},
	{kernels.CrossEntropyGrad{Rows: 2, C: 2}, [][]float32{{8}, {0, ln3, 5, 9}, {1, -1}}, []float32{2, -2, 0, 0}},

	// Logits differ by ln 3: attention 1/4 and 3/4.
	{kernels.FramePool{F: 1, P: 2, C: 1}, [][]float32{{1, 3}, {ln3 / 2}}, []float32{2.5}},
	{kernels.FramePoolGradX{F: 1, P: 2, C: 1}, [][]float32{{1}, {1, 3}, {ln3 / 2}}, []float32{.0440102, .9559898}},
	{kernels.FramePoolGradK{F: 1, P: 2, C: 1}, [][]float32{{1}, {1, 3}, {ln3 / 2}}, []float32{.75}},
	// The context's share as above, and 2 and 1 times a gain of 10.
	{kernels.SqueezeExciteGradX{F: 1, P: 2, C: 1}, [][]float32{{2, 1}, {10}, {1}, {1, 3}, {ln3 / 2}}, []float32{20.0440102, 10.9559898}},
	{kernels.FrameGate{F: 1, P: 2, C: 2}, [][]float32{{1, 2, 3, 4}, {10, -1}}, []float32{10, -2, 30, -4}},
	{kernels.FrameGate{F: 1, P: 2, C: 2, Residual: true}, [][]float32{{1, 2, 3, 4}, {10, -1}, {1, 1, 2, 2}}, []float32{11, -1, 32, -2}},
	{kernels.FrameGateGradG{F: 1, P: 2, C: 2}, [][]float32{{1, 1, 2, 2}, {1, 2, 3, 4}}, []float32{7, 10}},

	// Mean 2, variance 1, Eps 3: the row is halved.
	{kernels.LayerNorm{Rows: 1, C: 2, Eps: 3}, [][]float32{{1, 3}, {2, 4}, {1, 0}}, []float32{0, 2}},
	{kernels.LayerNormGradX{Rows: 1, C: 2, Eps: 3}, [][]float32{{1, 1}, {1, 3}, {2, 4}}, []float32{-.375, .375}},
	{kernels.LayerNormGradGamma{Rows: 1, C: 2, Eps: 3}, [][]float32{{1, 2}, {1, 3}}, []float32{-.5, 1}},
	{kernels.RMSNorm{Rows: 1, C: 4}, [][]float32{{3, 4, 0, 0}, {1, 2, 1, 1}}, []float32{1.2, 3.2, 0, 0}},
	{kernels.RMSNorm{Rows: 1, C: 1}, [][]float32{{1e-13}, {1}}, []float32{.1}},
	{kernels.RMSNormGradX{Rows: 1, C: 4}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}, {1, 2, 1, 1}}, []float32{-.128, .096, .4, 0}},
	{kernels.RMSNormGradX{Rows: 1, C: 4, Residual: true}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}, {1, 2, 1, 1}, {1, 0, -1, 2}}, []float32{.872, .096, -.6, 2}},
	{kernels.RMSNormGradGamma{Rows: 1, C: 4}, [][]float32{{1, 1, 1, 0}, {3, 4, 0, 0}}, []float32{1.2, 1.6, 0, 0}},

	{kernels.LFQSign{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 3}}, [][]float32{{.5, -1, 0, -2, 3, 1}}, []float32{1, -1, -1, -1, 1, 1}},
	{kernels.LFQIndex{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 3}}, [][]float32{{.5, -1, 0, -2, 3, 1}}, []float32{4, 3}},
	{kernels.LFQValues{LFQ: kernels.LFQ{Tokens: 1, Books: 2, Bits: 3}}, [][]float32{{4, 3}}, []float32{1, -1, -1, -1, 1, 1}},
	// 4·InvTemp = 1: probabilities 3/4 and 1/2, their mean 5/8.
	{kernels.LFQLoss{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{ln3, 0}}, []float32{.6277412, .6615632, .5048622}},
	{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{1, 0, 0}, {ln3, 0}}, []float32{-.1029949, 0}},
	{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{0, 1, 0}, {ln3, 0}}, []float32{-.0478899, -.0638532}},
	{kernels.LFQLossGrad{LFQ: kernels.LFQ{Tokens: 2, Books: 1, Bits: 1}, InvTemp: .25}, [][]float32{{0, 0, 1}, {ln3, 0}}, []float32{.0986123, 1}},

	{kernels.FSQQuantize{FSQ: fsq3x8}, [][]float32{{-1, 0, 1, 10}}, []float32{-1, 0, 1, .75}},
	{kernels.FSQIndex{FSQ: fsq3x8}, [][]float32{{-1, 0, 1, 10}}, []float32{12, 23}},
	{kernels.FSQValues{FSQ: fsq3x8}, [][]float32{{12, 23}}, []float32{-1, 0, 1, .75}},
	{kernels.FSQGrad{FSQ: fsq3x8}, [][]float32{{1, 2, 0, 0}, {0, 0, 1, 1}}, []float32{1.001, 1.7160714, 0, 0}},

	// The first value overshoots a saturated target and counts half.
	{kernels.ReconLoss{Pixels: 2, C: 1, Overshoot: .5}, [][]float32{{-1, .5}, {0, 1}, {1, 3}}, []float32{.3125}},
	{kernels.ReconLossGrad{Pixels: 2, C: 1, Overshoot: .5}, [][]float32{{2}, {-1, .5}, {0, 1}, {1, 3}}, []float32{-.5, -1.5}},
	{kernels.ReconLoss{Pixels: 1, C: 2, Overshoot: 3}, [][]float32{{1.5, .5}, {1, 1}, {2}}, []float32{.5}},
	{kernels.ReconLoss{Pixels: 2, C: 1, Kind: kernels.L1, Overshoot: .5}, [][]float32{{-1, .5}, {0, 1}, {1, 3}}, []float32{.5}},
	{kernels.ReconLossGrad{Pixels: 2, C: 1, Kind: kernels.L1, Overshoot: .5}, [][]float32{{2}, {-1, .5}, {0, 1}, {1, 3}}, []float32{-.25, -1.5}},
}

var fsq3x8 = kernels.FSQ{Tokens: 2, Books: 1, Dims: 2, Levels: [8]int{3, 8}}

func TestLiterals(t *testing.T) {
	be := kernels.NewCPU(2)
	defer be.Close()
	for _, c := range literals {
		if err := c.spec.Validate(); err != nil {
			t.Fatalf("%s: %v", kernels.Name(c.spec), err)
		}
		near(t, kernels.Name(c.spec)+" definition", define(c.spec, c.in...), c.want)
		near(t, kernels.Name(c.spec)+" on the cpu", runOn(t, be, c.spec, c.in...), c.want)
	}
}

// define gives the definition's result for these inputs.
func define(s kernels.Spec, in ...[]float32) []float32 {
	y := make([]float32, s.Args()[0].Len())
	s.Define(append([][]float32{y}, in...)...)
	return y
}

func runOn(t *testing.T, be kernels.Backend, s kernels.Spec, in ...[]float32) []float32 {
	t.Helper()
	k, err := be.Prepare(s)
	if err != nil {
		t.Fatal(err)
	}
	y := make([]float32, s.Args()[0].Len())
	args := []kernels.Buffer{kernels.Host(y)}
	for _, x := range in {
		args = append(args, kernels.Host(x))
	}
	k.Run(args...)
	return y
}

// near compares with numbers written to seven or eight digits.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= 3e-7*max(1, math.Abs(float64(want[i])))) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestAddInPlace(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	k, err := be.Prepare(kernels.Add{Len: 9})
	if err != nil {
		t.Fatal(err)
	}
	y := kernels.Host{1, 2, 3, 4, 5, 6, 7, 8, 9}
	k.Run(y, y, kernels.Host{10, 10, 10, 10, 10, 10, 10, 10, 10})
	near(t, "a+b in a", y, []float32{11, 12, 13, 14, 15, 16, 17, 18, 19})
}
