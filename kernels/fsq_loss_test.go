package kernels_test

import (
	"testing"

	"magvit/kernels"
)

// Three levels of the values -1, 0, 1 at z = 0: all codes are equally likely, and the code
// is 0. With z = ln3/2 and InvTemp 1 their probabilities are 1:3:9.
func TestFSQLossLiterals(t *testing.T) {
	f := kernels.FSQ{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3}}
	two := f
	two.Tokens = 2
	checkLiterals(t,
		literal{kernels.FSQLoss{FSQ: f, InvTemp: 1}, [][]float32{{0}}, []float32{ln3, ln3, 0}},
		literal{kernels.FSQLoss{FSQ: f, InvTemp: 1}, [][]float32{{ln3 / 2}}, []float32{0.7902680, 0.7902680, 0.2031250}},
		literal{kernels.FSQLoss{FSQ: two, InvTemp: 1}, [][]float32{{ln3 / 2, -ln3 / 2}}, []float32{0.7902680, 1.0733943, 0.2031250}},
	)
}

func TestFSQLossValidate(t *testing.T) {
	f := kernels.FSQ{Tokens: 1, Books: 1, Dims: 1, Levels: [8]int{3}}
	checkRefusals(t,
		refusal{kernels.FSQLoss{FSQ: f}, "InvTemp is 0"},
		refusal{kernels.FSQLoss{FSQ: kernels.FSQ{Tokens: 1, Books: 1, Dims: 7, Levels: [8]int{8, 8, 8, 8, 8, 8, 8}}, InvTemp: 1}, "2097152 codes, want at most 1048576"},
	)
}
