package kernels

import "math"

// rowStats are what norms know of the rows of a task.
type rowStats struct {
	*vectors
	sum, along, unused []float64
	mean, scale, v, w  []float32
}

// normed splits rows of c values into tasks; do gets a range of rows and room for what
// it finds out about them.
func normed(cpu *CPU, rows, c int, do func(args [][]float32, from, to int, s *rowStats)) []stage {
	per := min(rowsPerTask(c), rows)
	stats := newRowStats(cpu, per)
	return []stage{{ceilDiv(rows, per), func(args [][]float32, t, worker int) {
		from, to := span(t, rows, per)
		do(args, from, to, &stats[worker])
	}}}
}

// newRowStats makes room for rows rows, for each worker.
func newRowStats(c *CPU, rows int) []rowStats {
	stats := make([]rowStats, c.workers)
	for i := range stats {
		f := func() []float32 { return make([]float32, rows) }
		stats[i] = rowStats{c.vec(), make([]float64, rows), make([]float64, rows), make([]float64, rows), f(), f(), f(), f()}
	}
	return stats
}

// moments finds each row's mean and scale = 1/sqrt(variance + eps).
func (s *rowStats) moments(x []float32, rows, c int, eps float32) {
	n := float64(c)
	s.rowSums(s.sum, x, rows, c)
	for r, v := range s.sum[:rows] {
		s.mean[r] = float32(v / n)
	}
	s.rowSquares(s.sum, x, s.mean, rows, c)
	for r, v := range s.sum[:rows] {
		s.scale[r] = float32(1 / math.Sqrt(v/n+float64(eps)))
	}
}

// norms finds each row's squared norm, and scale = sqrt(C)/max(‖x‖, 1e-12).
func (s *rowStats) norms(x []float32, rows, c int) {
	clear(s.mean[:rows])
	s.rowSquares(s.sum, x, s.mean, rows, c)
	for r, v := range s.sum[:rows] {
		scale, _ := scaleOfSquares(v, c)
		s.scale[r] = float32(scale)
	}
}

func (s LayerNorm) cpu(c *CPU) []stage {
	return normed(c, s.Rows, s.C, func(args [][]float32, from, to int, st *rowStats) {
		n, x := to-from, args[1][from*s.C:to*s.C]
		st.moments(x, n, s.C, s.Eps)
		st.rowStandardise(args[0][from*s.C:to*s.C], x, args[2], args[3], st.mean, st.scale, n, s.C)
	})
}

func (s LayerNormGradX) cpu(c *CPU) []stage {
	return normed(c, s.Rows, s.C, func(args [][]float32, from, to int, st *rowStats) {
		n, dy, x := to-from, args[1][from*s.C:to*s.C], args[2][from*s.C:to*s.C]
		st.moments(x, n, s.C, s.Eps)
		st.rowAlong(st.sum, st.along, dy, x, args[3], st.mean, n, s.C)
		for r := range n {
			k := float64(st.scale[r])
			st.v[r], st.w[r] = float32(-k*k*k*st.along[r]/float64(s.C)), float32(-k*st.sum[r]/float64(s.C))
		}
		st.rowSlope(args[0][from*s.C:to*s.C], dy, x, args[3], st.mean, st.scale, st.v, st.w, n, s.C)
	})
}

func (s LayerNormGradGamma) cpu(c *CPU) []stage {
	stats := newRowStats(c, min(rowsPerTask(s.C), s.Rows))
	return columnSums(1, s.Rows, s.C, func(acc []float64, args [][]float32, from, to, worker int) {
		st, n, x := &stats[worker], to-from, args[2][from*s.C:to*s.C]
		st.moments(x, n, s.C, s.Eps)
		st.normRows(acc, args[1][from*s.C:to*s.C], x, st.mean, st.scale, n, s.C)
	})
}

func (s RMSNorm) cpu(c *CPU) []stage {
	return normed(c, s.Rows, s.C, func(args [][]float32, from, to int, st *rowStats) {
		n, x := to-from, args[1][from*s.C:to*s.C]
		st.norms(x, n, s.C)
		st.rowScale(args[0][from*s.C:to*s.C], x, args[2], st.scale, n, s.C)
	})
}

func (s RMSNormGradX) cpu(c *CPU) []stage {
	return normed(c, s.Rows, s.C, func(args [][]float32, from, to int, st *rowStats) {
		n, dy, x := to-from, args[1][from*s.C:to*s.C], args[2][from*s.C:to*s.C]
		st.norms(x, n, s.C)
		st.rowAlong(st.unused, st.along, dy, x, args[3], st.mean, n, s.C)
		for r, v := range st.sum[:n] {
			scale, inv := scaleOfSquares(v, s.C)
			st.v[r], st.w[r] = float32(-scale*inv*st.along[r]), 0
		}
		dx := args[0][from*s.C : to*s.C]
		st.rowSlope(dx, dy, x, args[3], st.mean, st.scale, st.v, st.w, n, s.C)
		if s.Residual {
			st.add(dx, dx, args[4][from*s.C:to*s.C])
		}
	})
}

func (s RMSNormGradGamma) cpu(c *CPU) []stage {
	stats := newRowStats(c, min(rowsPerTask(s.C), s.Rows))
	return columnSums(1, s.Rows, s.C, func(acc []float64, args [][]float32, from, to, worker int) {
		st, n, x := &stats[worker], to-from, args[2][from*s.C:to*s.C]
		st.norms(x, n, s.C)
		st.normRows(acc, args[1][from*s.C:to*s.C], x, st.mean, st.scale, n, s.C)
	})
}

// RMSNormGrad is the gradient of x, then that of gamma.
func (s RMSNormGrad) cpu(c *CPU) (stages []stage) {
	views := make([][5][]float32, c.workers) // dx, dy, x, gamma, r
	for _, x := range RMSNormGradX(s).cpu(c) {
		stages = append(stages, stage{x.tasks, func(args [][]float32, task, worker int) {
			view := views[worker][:len(args)-1]
			view[0] = args[0]
			copy(view[1:], args[2:])
			x.do(view, task, worker)
		}})
	}
	for _, g := range s.gamma().cpu(c) {
		stages = append(stages, stage{g.tasks, func(args [][]float32, task, worker int) { g.do(args[1:4], task, worker) }})
	}
	return stages
}
