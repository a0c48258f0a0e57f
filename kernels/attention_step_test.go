package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: scores 0 (memory), ln 3 (cached) and 0 (newest).
func TestAttentionStepLiterals(t *testing.T) {
	s := kernels.AttentionStep{N: 1, Max: 2, Heads: 1, Dim: 1, Memory: 1}
	cache := []float32{9, ln3, 2, 9, 9, 9}
	checkLiterals(t,
		literal{s, [][]float32{{1, 0, 10}, cache, {0, 5}, {1}}, []float32{4.2}}, // (5+3·2+10)/5
		literal{s, [][]float32{{1, 0, 10}, cache, {0, 5}, {0}}, []float32{7.5}}, // (5+10)/2
	)
	for _, past := range []float32{-1, 3, float32(math.NaN())} {
		y := make([]float32, 1)
		if s.Define(y, []float32{1, 0, 10}, cache, []float32{0, 5}, []float32{past}); !math.IsNaN(float64(y[0])) {
			t.Errorf("past %v: %v, want NaN", past, y)
		}
	}
}

// One step after the other is causal attention over the whole sequence.
func TestAttentionStepsAreCausalAttention(t *testing.T) {
	const n, length, heads, dim, memory = 2, 5, 2, 3, 2
	const width = heads * dim
	qkv, mem := make([]float32, n*length*3*width), make([]float32, 2*heads*memory*dim)
	for i := range qkv {
		qkv[i] = float32(math.Sin(float64(3 * i)))
	}
	for i := range mem {
		mem[i] = float32(math.Cos(float64(5 * i)))
	}
	want := make([]float32, n*length*width)
	kernels.Attention{N: n, T: length, P: 1, Heads: heads, Dim: dim, Memory: memory, Over: kernels.Time, Causal: true}.Define(want, qkv, mem)
	s := kernels.AttentionStep{N: n, Max: length, Heads: heads, Dim: dim, Memory: memory}
	cache := make([]float32, length*n*3*width)
	for i := range length {
		y, at := make([]float32, n*width), cache[i*n*3*width:][:n*3*width]
		newest := make([]float32, n*3*width)
		for k := range n {
			copy(newest[k*3*width:], qkv[(k*length+i)*3*width:][:3*width])
		}
		s.Define(y, newest, cache, mem, []float32{float32(i)})
		copy(at, newest)
		for k := range n {
			for c := range width {
				if got, want := y[k*width+c], want[(k*length+i)*width+c]; math.Abs(float64(got-want)) > 1e-6 {
					t.Fatalf("token %d of sequence %d, channel %d: %v, want %v", i, k, c, got, want)
				}
			}
		}
	}
}

func TestAttentionStepValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.AttentionStep{Max: 1, Heads: 1, Dim: 1, Memory: 1}, "N is 0"},
		refusal{kernels.AttentionStep{N: 1, Max: 1, Heads: 1, Dim: 1}, "Memory is 0"},
	)
}
