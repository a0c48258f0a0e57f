package kernels

import (
	"fmt"
	"math"
)

// ChannelStats are the mean and the deviation of each channel over the rows of a sample,
// the variance unbiased:
//
//	y_n0c = mean_r x_nrc,  y_n1c = sqrt(sum_r (x_nrc - mean)²/(Rows-1) + Eps)
//
// Adaptive group norms take their gains and shifts from those of the latents.
// Arguments: y [N,2,C]; x [N,Rows,C].
type ChannelStats struct {
	N, Rows, C int
	Eps        float32
}

func (s ChannelStats) Validate() error {
	if s.Rows == 1 {
		return fmt.Errorf("Rows is 1, want at least 2: the unbiased variance of one value is 0/0")
	}
	return normOf(s.N*s.Rows, s.C, s.Eps)
}

func (s ChannelStats) FLOPs() int64 { return 4 * int64(s.N) * int64(s.Rows) * int64(s.C) }

func (s ChannelStats) Args() []Arg {
	return []Arg{out("y", s.N, 2, s.C), in("x", s.N, s.Rows, s.C)}
}

func (s ChannelStats) Grads() []Grad { return []Grad{grad("x", ChannelStatsGrad(s), "dy", "x")} }

func (s ChannelStats) Define(args ...[]float32) {
	for n := range s.N {
		for c := range s.C {
			mean, deviation := s.of(args[1], n, c)
			args[0][2*n*s.C+c], args[0][(2*n+1)*s.C+c] = float32(mean), float32(deviation)
		}
	}
}

// of is the mean and deviation of a channel of a sample.
func (s ChannelStats) of(x []float32, n, c int) (mean, deviation float64) {
	for r := range s.Rows {
		mean += float64(x[(n*s.Rows+r)*s.C+c]) / float64(s.Rows)
	}
	sum := 0.
	for r := range s.Rows {
		d := float64(x[(n*s.Rows+r)*s.C+c]) - mean
		sum += d * d
	}
	return mean, math.Sqrt(sum/float64(s.Rows-1) + float64(s.Eps))
}

// ChannelStatsGrad is the gradient of ChannelStats:
//
//	dx_nrc = dy_n0c/Rows + dy_n1c·(x_nrc - mean)/((Rows-1)·deviation)
//
// Arguments: dx [N,Rows,C]; dy [N,2,C], x [N,Rows,C].
type ChannelStatsGrad struct {
	N, Rows, C int
	Eps        float32
}

func (s ChannelStatsGrad) Validate() error { return ChannelStats(s).Validate() }
func (s ChannelStatsGrad) FLOPs() int64    { return 8 * int64(s.N) * int64(s.Rows) * int64(s.C) }
func (s ChannelStatsGrad) Grads() []Grad   { return nil }

func (s ChannelStatsGrad) Args() []Arg {
	return []Arg{out("dx", s.N, s.Rows, s.C), in("dy", s.N, 2, s.C), in("x", s.N, s.Rows, s.C)}
}

func (s ChannelStatsGrad) Define(args ...[]float32) {
	dx, dy, x := args[0], args[1], args[2]
	for n := range s.N {
		for c := range s.C {
			mean, deviation := ChannelStats(s).of(x, n, c)
			first, second := float64(dy[2*n*s.C+c])/float64(s.Rows), float64(dy[(2*n+1)*s.C+c])/(float64(s.Rows-1)*deviation)
			for r := range s.Rows {
				i := (n*s.Rows+r)*s.C + c
				dx[i] = float32(first + second*(float64(x[i])-mean))
			}
		}
	}
}

// Latents are few and narrow: the definitions of the samples are fast enough.

func (s ChannelStats) cpu(*CPU) []stage {
	return definedBySample(s.N, ChannelStats{1, s.Rows, s.C, s.Eps})
}

func (s ChannelStatsGrad) cpu(*CPU) []stage {
	return definedBySample(s.N, ChannelStatsGrad{1, s.Rows, s.C, s.Eps})
}

// definedBySample runs the definition of each of n samples, a task each.
func definedBySample(n int, s Spec) []stage {
	parts := make([][][]float32, n)
	for i := range parts {
		parts[i] = make([][]float32, len(s.Args()))
	}
	return []stage{{n, func(args [][]float32, i, _ int) {
		sampleOf(parts[i], args, n, i)
		s.Define(parts[i]...)
	}}}
}
