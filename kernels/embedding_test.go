package kernels_test

import (
	"math"
	"testing"

	"magvit/kernels"
)

// The smallest cases, worked out by hand: rows 2 and 0, a row and nothing, a row twice.
func TestEmbeddingLiterals(t *testing.T) {
	s := kernels.Embedding{Rows: 3, Ids: 2, Vocab: 3, C: 2}
	ids := []float32{2, 0, -1, 1, 1, 1}
	checkLiterals(t,
		literal{s, [][]float32{ids, {1, 2, 10, 20, 100, 200}}, []float32{101, 202, 10, 20, 20, 40}},
		literal{kernels.EmbeddingGrad(s), [][]float32{{1, 2, 3, 4, 5, 6}, ids}, []float32{1, 2, 13, 16, 1, 2}},
	)
}

// An id beyond the table makes its row NaN, and no other one.
func TestEmbeddingOutOfRange(t *testing.T) {
	be := kernels.NewCPU(1)
	defer be.Close()
	s := kernels.Embedding{Rows: 2, Ids: 1, Vocab: 2, C: 1}
	for name, run := range map[string]func(args ...[]float32){"definition": s.Define, "CPU": func(args ...[]float32) {
		k, err := be.Prepare(s)
		if err != nil {
			t.Fatal(err)
		}
		var buffers []kernels.Buffer
		for _, a := range args {
			b, err := be.Alloc(len(a))
			if err != nil {
				t.Fatal(err)
			}
			if err := be.Write(b, a); err != nil {
				t.Fatal(err)
			}
			buffers = append(buffers, b)
		}
		k.Run(buffers...)
		if err := be.Read(args[0], buffers[0]); err != nil {
			t.Fatal(err)
		}
	}} {
		y := make([]float32, 2)
		run(y, []float32{2, 1}, []float32{3, 4})
		if !math.IsNaN(float64(y[0])) || y[1] != 4 {
			t.Errorf("%s: %v, want NaN and 4", name, y)
		}
	}
}

func TestEmbeddingValidate(t *testing.T) {
	checkRefusals(t,
		refusal{kernels.Embedding{Ids: 1, Vocab: 1, C: 1}, "Rows is 0"},
		refusal{kernels.Embedding{Rows: 1, Vocab: 1, C: 1}, "Ids is 0"},
		refusal{kernels.EmbeddingGrad{Rows: 1, Ids: 1, C: 1}, "Vocab is 0"},
		refusal{kernels.EmbeddingGrad{Rows: 1, Ids: 1, Vocab: 1}, "C is 0"},
	)
}
