package kernels

import "math"

// Embedding adds up Ids rows of a table for each row of the result.
//
//	y_r = sum_k table[ids_rk]
//
// An id is a whole number in [0,Vocab); a negative one adds nothing, one of Vocab or more
// makes the row NaN. Arguments: y [Rows,C]; ids [Rows,Ids], table [Vocab,C].
type Embedding struct{ Rows, Ids, Vocab, C int }

func (s Embedding) Validate() error {
	if err := positive([]string{"Rows", "Ids"}, s.Rows, s.Ids); err != nil {
		return err
	}
	if err := positive([]string{"Rows", "C"}, s.Rows, s.C); err != nil {
		return err
	}
	return positive([]string{"Vocab", "C"}, s.Vocab, s.C)
}

func (s Embedding) FLOPs() int64 { return int64(s.Rows) * int64(s.Ids) * int64(s.C) }

func (s Embedding) Args() []Arg {
	return []Arg{actOut("y", s.Rows, s.C), in("ids", s.Rows, s.Ids), in("table", s.Vocab, s.C)}
}

func (s Embedding) Grads() []Grad { return []Grad{grad("table", EmbeddingGrad(s), "dy", "ids")} }

func (s Embedding) Define(args ...[]float32) {
	y, ids, table := args[0], args[1], args[2]
	for r := range s.Rows {
		for c := range s.C {
			sum := 0.
			for _, id := range ids[r*s.Ids:][:s.Ids] {
				switch {
				case id < 0:
				case id < float32(s.Vocab):
					sum += float64(table[int(id)*s.C+c])
				default:
					sum = math.NaN()
				}
			}
			y[r*s.C+c] = float32(sum)
		}
	}
}

// EmbeddingGrad is the gradient of Embedding with respect to the table.
//
//	dtable_v = sum of dy_r over all r, k with ids_rk = v
//
// Arguments: dtable [Vocab,C]; dy [Rows,C], ids [Rows,Ids].
type EmbeddingGrad struct{ Rows, Ids, Vocab, C int }

func (s EmbeddingGrad) Validate() error { return Embedding(s).Validate() }
func (s EmbeddingGrad) FLOPs() int64    { return Embedding(s).FLOPs() }

func (s EmbeddingGrad) Args() []Arg {
	return []Arg{out("dtable", s.Vocab, s.C), actIn("dy", s.Rows, s.C), in("ids", s.Rows, s.Ids)}
}

func (s EmbeddingGrad) Grads() []Grad { return nil }

func (s EmbeddingGrad) Define(args ...[]float32) {
	dtable, dy, ids := args[0], args[1], args[2]
	sums := make([]float64, len(dtable))
	for i, id := range ids {
		if id >= 0 && id < float32(s.Vocab) {
			for c, v := range dy[i/s.Ids*s.C:][:s.C] {
				sums[int(id)*s.C+c] += float64(v)
			}
		}
	}
	for i, v := range sums {
		dtable[i] = float32(v)
	}
}

func (s Embedding) cpu(c *CPU) []stage {
	axpy := c.vec().axpy
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		for r := from; r < to; r++ {
			y := args[0][r*s.C:][:s.C]
			clear(y)
			for _, id := range args[1][r*s.Ids:][:s.Ids] {
				switch {
				case id < 0:
				case id < float32(s.Vocab):
					axpy(y, args[2][int(id)*s.C:][:s.C], 1)
				default:
					for i := range y {
						y[i] = float32(math.NaN())
					}
				}
			}
		}
	})
}

// embeddingColumns is the number of a table's columns that a task of EmbeddingGrad sums: a
// cache line of the CPU.
const embeddingColumns = 16

func (s EmbeddingGrad) cpu(c *CPU) []stage {
	axpy := c.vec().axpy
	return []stage{{ceilDiv(s.C, embeddingColumns), func(args [][]float32, task, _ int) {
		from, to := span(task, s.C, embeddingColumns)
		for v := range s.Vocab {
			clear(args[0][v*s.C+from : v*s.C+to])
		}
		for i, id := range args[2] {
			if id >= 0 && id < float32(s.Vocab) {
				axpy(args[0][int(id)*s.C+from:int(id)*s.C+to], args[1][i/s.Ids*s.C+from:][:to-from], 1)
			}
		}
	}}}
}
