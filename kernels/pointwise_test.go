package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestPointwiseLiterals(t *testing.T) {
	checkLiterals(t,
		literal{kernels.Act{Kind: kernels.None, Len: 2}, [][]float32{{2, -1}}, []float32{2, -1}},
		literal{kernels.Act{Kind: kernels.ELU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{2, 0, -.63212056}},
		literal{kernels.Act{Kind: kernels.SiLU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{1.7615942, 0, -.26894143}},
		literal{kernels.Act{Kind: kernels.ReLU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{2, 0, 0}},
		literal{kernels.ActGrad{Kind: kernels.ReLU, Len: 3}, [][]float32{{2, 2, 3}, {3, 0, .5}}, []float32{2, 0, 3}},
		literal{kernels.Act{Kind: kernels.LeakyReLU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{2, 0, -.1}},
		literal{kernels.Act{Kind: kernels.LeakyReLU5, Len: 3}, [][]float32{{2, 0, -1}}, []float32{2, 0, -.2}},
		literal{kernels.ActGrad{Kind: kernels.LeakyReLU5, Len: 3}, [][]float32{{2, 2, 2}, {3, 0, -.5}}, []float32{2, .4, .4}},
		literal{kernels.Act{Kind: kernels.Sigmoid, Len: 3}, [][]float32{{2, 0, -1}}, []float32{.88079708, .5, .26894143}},
		literal{kernels.Act{Kind: kernels.Tanh, Len: 3}, [][]float32{{2, 0, -1}}, []float32{.96402758, 0, -.76159416}},
		literal{kernels.Act{Kind: kernels.GELU, Len: 3}, [][]float32{{2, 0, -1}}, []float32{1.9544997, 0, -.15865526}},
		literal{kernels.Act{Kind: kernels.SoftClamp, Len: 3}, [][]float32{{10, 0, -20}}, []float32{7.6159416, 0, -9.6402758}},
		literal{kernels.ActGrad{Kind: kernels.None, Len: 1}, [][]float32{{2}, {7}}, []float32{2}},
		literal{kernels.ActGrad{Kind: kernels.ELU, Len: 3}, [][]float32{{2, 2, 2}, {3, 0, -.5}}, []float32{2, 2, 1}},
		literal{kernels.ActGrad{Kind: kernels.SiLU, Len: 2}, [][]float32{{2, 1}, {0, 2}}, []float32{1, 1.0907842}},
		literal{kernels.ActGrad{Kind: kernels.LeakyReLU, Len: 3}, [][]float32{{2, 2, 2}, {3, 0, -.5}}, []float32{2, .2, .2}},
		literal{kernels.ActGrad{Kind: kernels.Sigmoid, Len: 1}, [][]float32{{2}, {.25}}, []float32{.375}},
		literal{kernels.ActGrad{Kind: kernels.Tanh, Len: 1}, [][]float32{{2}, {.5}}, []float32{1.5}},
		literal{kernels.ActGrad{Kind: kernels.GELU, Len: 2}, [][]float32{{2, 1}, {0, 1}}, []float32{1, 1.0833155}},
		literal{kernels.ActGrad{Kind: kernels.SoftClamp, Len: 1}, [][]float32{{2}, {5}}, []float32{1.5}},
		literal{kernels.Add{Len: 2}, [][]float32{{1, 2}, {3, 5}}, []float32{4, 7}},
		literal{kernels.Affine{Len: 2, Mul: 2, Add: -1}, [][]float32{{1, 3}}, []float32{1, 5}},
	)
}

func TestPointwiseValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Act{Kind: 99, Len: 1}, "unknown activation 99"},
		refusal{kernels.Act{Kind: kernels.ELU}, "Len is 0, want at least 1"},
		refusal{kernels.ActGrad{Kind: -1, Len: 1}, "unknown activation -1"},
		refusal{kernels.Add{Len: -3}, "Len is -3, want at least 1"},
		refusal{kernels.Affine{}, "Len is 0"},
	)
}

// Both are float64, so a step of 1e-6 leaves an error of 1e-10.
func TestActivationSlopes(t *testing.T) {
	const h = 1e-6
	for k := kernels.None; k <= kernels.SoftClamp; k++ {
		for x := -6.05; x < 6; x += .1 { // not 0, where ELU and LeakyReLU have a kink
			want := (k.Apply(x+h) - k.Apply(x-h)) / (2 * h)
			s := x
			if k.FromOutput() {
				s = k.Apply(x)
			}
			if got := k.Slope(s); math.Abs(got-want) > 1e-9 {
				t.Errorf("%v at %.2f: slope %v, want %v", k, x, got, want)
			}
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
