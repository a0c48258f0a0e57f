package kernels

import "math"

// rowwise splits rows of c values into tasks; do gets a range of rows.
func rowwise(rows, c int, do func(args [][]float32, from, to int)) []stage {
	per := rowsPerTask(c)
	return []stage{{blocks(rows, per), func(args [][]float32, t, _ int) {
		from, to := span(t, rows, per)
		do(args, from, to)
	}}}
}

// moments gives a row's mean and 1/sqrt(variance + eps).
func moments(x []float32, eps float32) (mean, scale float32) {
	n := float64(len(x))
	m := plainSum(x) / n
	return float32(m), float32(1 / math.Sqrt(squares(x, m)/n+float64(eps)))
}

func (s LayerNorm) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma, beta := args[2], args[3]
		for r := from; r < to; r++ {
			y, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C]
			mean, scale := moments(x, s.Eps)
			for c, v := range x {
				y[c] = (v-mean)*scale*gamma[c] + beta[c]
			}
		}
	})
}

func (s LayerNormGradX) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma := args[3]
		for r := from; r < to; r++ {
			dx, dy, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			mean, scale := moments(x, s.Eps)
			sum, along := 0., 0.
			for c, v := range x {
				g := dy[c] * gamma[c]
				sum += float64(g)
				along += float64(g) * float64((v-mean)*scale)
			}
			a, b := float32(sum/float64(s.C)), float32(along/float64(s.C))
			for c, v := range x {
				dx[c] = scale * (dy[c]*gamma[c] - a - (v-mean)*scale*b)
			}
		}
	})
}

func (s LayerNormGradGamma) cpu(*CPU) []stage {
	return columnSums(s.Rows, s.C, func(acc []float64, args [][]float32, from, to, _ int) {
		for r := from; r < to; r++ {
			dy, x := args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			mean, scale := moments(x, s.Eps)
			for c, v := range x {
				acc[c] += float64(dy[c] * (v - mean) * scale)
			}
		}
	})
}

func (s RMSNorm) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma := args[2]
		for r := from; r < to; r++ {
			y, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C]
			scale, _ := rmsScale(x)
			for c, v := range x {
				y[c] = float32(float64(v)*scale) * gamma[c]
			}
		}
	})
}

func (s RMSNormGradX) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma := args[3]
		for r := from; r < to; r++ {
			dx, dy, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			scale, inv := rmsScale(x)
			along := 0.
			for c, v := range x {
				along += float64(dy[c]*gamma[c]) * float64(v)
			}
			along *= inv
			for c, v := range x {
				dx[c] = float32(scale * (float64(dy[c]*gamma[c]) - float64(v)*along))
			}
		}
	})
}

func (s RMSNormGradGamma) cpu(*CPU) []stage {
	return columnSums(s.Rows, s.C, func(acc []float64, args [][]float32, from, to, _ int) {
		for r := from; r < to; r++ {
			dy, x := args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			scale, _ := rmsScale(x)
			for c, v := range x {
				acc[c] += float64(dy[c]) * float64(v) * scale
			}
		}
	})
}
