package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand.
func TestCrossEntropyLiterals(t *testing.T) {
	checkLiterals(t,
		// Softmax 1/4 and 3/4, then 1/2 and 1/2; the second row of the second one has no label.
		literal{kernels.CrossEntropy{Rows: 2, C: 2}, [][]float32{{0, ln3, 5, 5}, {0, 1}}, []float32{1.0397208}},
		literal{kernels.CrossEntropy{Rows: 2, C: 2}, [][]float32{{0, ln3, 5, 9}, {1, -1}}, []float32{.28768207}},
		literal{kernels.CrossEntropyGrad{Rows: 2, C: 2}, [][]float32{{8}, {0, ln3, 5, 5}, {0, 1}}, []float32{-3, 3, 2, -2}},
		literal{kernels.CrossEntropyGrad{Rows: 2, C: 2}, [][]float32{{8}, {0, ln3, 5, 9}, {1, -1}}, []float32{2, -2, 0, 0}},
		// Smoothed by a half the target of label 1 is 1/4 and 3/4: that is the softmax.
		literal{kernels.CrossEntropy{Rows: 1, C: 2, Smoothing: .5}, [][]float32{{0, ln3}, {1}}, []float32{.5623351}},
		literal{kernels.CrossEntropyGrad{Rows: 1, C: 2, Smoothing: .5}, [][]float32{{8}, {0, ln3}, {1}}, []float32{0, 0}},
		literal{kernels.CrossEntropyGrad{Rows: 1, C: 2, Smoothing: .5}, [][]float32{{8}, {0, ln3}, {0}}, []float32{-4, 4}},
	)
}

func TestCrossEntropyValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.CrossEntropy{C: 2}, "Rows is 0"},
		refusal{kernels.CrossEntropyGrad{Rows: 1}, "C is 0"},
		refusal{kernels.CrossEntropy{Rows: 1, C: 2, Smoothing: 1}, "Smoothing is 1"},
		refusal{kernels.CrossEntropyGrad{Rows: 1, C: 2, Smoothing: -.5}, "Smoothing is -0.5"},
	)
}
