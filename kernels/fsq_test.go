package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestFSQLiterals(t *testing.T) {
	f := kernels.FSQ{Tokens: 2, Books: 1, Dims: 2, Levels: [8]int{3, 8}}
	checkLiterals(t,
		literal{kernels.FSQQuantize{FSQ: f}, [][]float32{{-1, 0, 1, 10}}, []float32{-1, 0, 1, .75}},
		literal{kernels.FSQIndex{FSQ: f}, [][]float32{{-1, 0, 1, 10}}, []float32{12, 23}},
		literal{kernels.FSQValues{FSQ: f}, [][]float32{{12, 23}}, []float32{-1, 0, 1, .75}},
		literal{kernels.FSQGrad{FSQ: f}, [][]float32{{1, 2, 0, 0}, {0, 0, 1, 1}}, []float32{1.001, 1.7160714, 0, 0}},
	)
}

func TestFSQValidate(t *testing.T) {
	few := kernels.FSQ{Tokens: 1, Books: 1, Dims: 2, Levels: [8]int{3, 2}}
	checkRefusals(t,
		refusal{kernels.FSQQuantize{FSQ: few}, "Levels[1] is 2, want at least 3"},
		refusal{kernels.FSQGrad{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 9}}, "Dims is 9, want at most 8"},
		refusal{kernels.FSQIndex{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3, 3}}}, "Levels[1] is 3, want 0"},
		refusal{kernels.FSQValues{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 2, Levels: [8]int{8192, 8192}}}, "more than 16777216 codes"},
	)
}

// The straight-through gradient of FSQ is that of the value before rounding.
func TestFSQGradIsThatOfTheBoundedValue(t *testing.T) {
	const h = 1e-6
	for _, l := range []int{3, 4, 5, 8} {
		f := kernels.FSQ{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{l}}
		bounded := func(z float64) float64 {
			r, o := float64(l-1)*1.001/2, float64(1-l%2)/2
			return (math.Tanh(z+math.Atanh(o/r))*r - o) / float64(l/2)
		}
		for _, z := range []float32{-2, -.5, 0, .25, 1.5} {
			want := (bounded(float64(z)+h) - bounded(float64(z)-h)) / (2 * h)
			near(t, kernels.Name(kernels.FSQGrad{FSQ: f}), define(kernels.FSQGrad{FSQ: f}, []float32{1}, []float32{z}), []float32{float32(want)})
		}
	}
}
