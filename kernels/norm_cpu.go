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
func (v *vectors) moments(x []float32, eps float32) (mean, scale float32) {
	n := float64(len(x))
	m := v.sum(x) / n
	return float32(m), float32(1 / math.Sqrt(v.squares(x, float32(m))/n+float64(eps)))
}

func (s LayerNorm) cpu(c *CPU) []stage {
	v := c.vec()
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma, beta := args[2], args[3]
		for r := from; r < to; r++ {
			y, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C]
			mean, scale := v.moments(x, s.Eps)
			v.standardise(y, x, gamma, beta, mean, scale)
		}
	})
}

func (s LayerNormGradX) cpu(c *CPU) []stage {
	v := c.vec()
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma, n := args[3], float64(s.C)
		for r := from; r < to; r++ {
			dx, dy, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			mean, scale := v.moments(x, s.Eps)
			sum, along := v.along(dy, gamma, x, mean)
			k := float64(scale)
			v.normSlope(dx, dy, gamma, x, mean, scale, float32(-k*k*k*along/n), float32(-k*sum/n))
		}
	})
}

func (s LayerNormGradGamma) cpu(c *CPU) []stage {
	v := c.vec()
	return columnSums(1, s.Rows, s.C, func(acc []float64, args [][]float32, from, to, _ int) {
		for r := from; r < to; r++ {
			dy, x := args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			mean, scale := v.moments(x, s.Eps)
			v.normRows(acc, dy, x, 1, s.C, mean, scale)
		}
	})
}

// rmsScale is sqrt(C)/max(‖x‖, 1e-12), and 1/‖x‖², or 0 where the floor holds.
func (v *vectors) rmsScale(x []float32) (scale, inv float64) {
	return scaleOfSquares(v.squares(x, 0), len(x))
}

func (s RMSNorm) cpu(c *CPU) []stage {
	v := c.vec()
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma := args[2]
		for r := from; r < to; r++ {
			y, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C]
			scale, _ := v.rmsScale(x)
			v.scaled(y, x, gamma, float32(scale))
		}
	})
}

func (s RMSNormGradX) cpu(c *CPU) []stage {
	v := c.vec()
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		gamma := args[3]
		for r := from; r < to; r++ {
			dx, dy, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			scale, inv := v.rmsScale(x)
			_, along := v.along(dy, gamma, x, 0)
			v.normSlope(dx, dy, gamma, x, 0, float32(scale), float32(-scale*along*inv), 0)
		}
	})
}

func (s RMSNormGradGamma) cpu(c *CPU) []stage {
	v := c.vec()
	return columnSums(1, s.Rows, s.C, func(acc []float64, args [][]float32, from, to, _ int) {
		for r := from; r < to; r++ {
			dy, x := args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			scale, _ := v.rmsScale(x)
			v.normRows(acc, dy, x, 1, s.C, 0, float32(scale))
		}
	})
}
