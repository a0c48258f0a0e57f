package kernels

import "fmt"

// BatchNorm is batch normalization in training (Ioffe and Szegedy 2015) of N batches of rows,
// each with statistics of its own: a group norm with one channel a group.
func BatchNorm(n, rows, c int, eps float32) GroupNorm {
	return GroupNorm{N: n, Rows: rows, C: c, Groups: c, Eps: eps}
}

// BatchMoments is what the running statistics of a batch norm follow: the mean of each
// channel, or with Variance its unbiased variance, averaged over the batches with weights
// that fall from the last batch to the first.
//
//	y_c = Σ_n w_n·m_nc / Σ_n w_n,  w_n = Decay^(N-1-n)
//
// A running average that follows y with the rate 1 - Decay^N has the value that it would
// have after following each batch in turn with the rate 1 - Decay. y is a constant for
// gradients. Arguments: y [C]; x [N,Rows,C].
type BatchMoments struct {
	N, Rows, C int
	Decay      float32
	Variance   bool
}

func (s BatchMoments) norm() GroupNorm { return BatchNorm(s.N, s.Rows, s.C, 1) }

func (s BatchMoments) Validate() error {
	if !(s.Decay >= 0 && s.Decay < 1) {
		return fmt.Errorf("Decay is %g, want 0 or more, below 1", s.Decay)
	}
	if s.Rows == 1 && s.Variance {
		return fmt.Errorf("Rows is 1, want at least 2: the unbiased variance of one value is 0/0")
	}
	return s.norm().Validate()
}

func (s BatchMoments) Args() []Arg   { return []Arg{out("y", s.C), actIn("x", s.N, s.Rows, s.C)} }
func (s BatchMoments) FLOPs() int64  { return 3 * s.norm().values() }
func (s BatchMoments) Grads() []Grad { return []Grad{} }

func (s BatchMoments) Define(args ...[]float32) {
	for c := range s.C {
		sum, total := 0., 0.
		for n := range s.N {
			mean, squares := 0., 0.
			for r := range s.Rows {
				mean += float64(args[1][(n*s.Rows+r)*s.C+c]) / float64(s.Rows)
			}
			for r := range s.Rows {
				squares += square(float64(args[1][(n*s.Rows+r)*s.C+c]) - mean)
			}
			if s.Variance {
				mean = squares / float64(s.Rows-1)
			}
			sum, total = sum*float64(s.Decay)+mean, total*float64(s.Decay)+1
		}
		args[0][c] = float32(sum / total)
	}
}

func (s BatchMoments) cpu(c *CPU) []stage {
	g := newGroupSums(c, s.norm(), 2)
	rows := float64(s.Rows)
	return append(g.stages(1, 0, func([][]float32, int) {}), stage{1, func(args [][]float32, _, _ int) {
		for k := range args[0] {
			sum, total := 0., 0.
			for n := range s.N {
				m := g.sums[0][n*g.ld+k] / rows
				if s.Variance {
					m = max(g.sums[1][n*g.ld+k]-m*m*rows, 0) / (rows - 1)
				}
				sum, total = sum*float64(s.Decay)+m, total*float64(s.Decay)+1
			}
			args[0][k] = float32(sum / total)
		}
	}})
}
