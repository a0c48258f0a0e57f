package kernels

import "math"

// groupSums are the sums over the rows of each sample that the statistics of its groups
// follow from, in float64: the cancellation of Σx² - (Σx)²/n costs none of a float32's
// digits unless the mean is 10^4 times the deviation.
type groupSums struct {
	GroupNorm
	*vectors
	per, tasks, ld int         // rows of a task, tasks of a sample, row length of a sum
	part           [][]float64 // of each quantity: [N·tasks,ld]
	mean, scale    []float64   // [N,Groups]
	sums           [][]float64 // of each quantity: [N,ld]
}

// newGroupSums makes room for sums of some quantities; the first two are those of x and x².
func newGroupSums(c *CPU, s GroupNorm, quantities int) *groupSums {
	g := &groupSums{GroupNorm: s, vectors: c.vec(), per: min(rowsPerTask(s.C), s.Rows), ld: padded(s.C)}
	g.tasks = ceilDiv(s.Rows, g.per)
	for range quantities {
		g.part = append(g.part, make([]float64, s.N*g.tasks*g.ld))
		g.sums = append(g.sums, make([]float64, s.N*g.ld))
	}
	g.mean, g.scale = make([]float64, s.N*s.Groups), make([]float64, s.N*s.Groups)
	return g
}

// rows is the range of rows of task t, of all samples' rows, and its sample.
func (g *groupSums) rows(t int) (from, to, n int) {
	n = t / g.tasks
	from, to = span(t%g.tasks, g.Rows, g.per)
	return n*g.Rows + from, n*g.Rows + to, n
}

// stages sums x, argument number x, and x²; with dy also dy and dy·x. then gets each
// sample when its sums, means and scales are there.
func (g *groupSums) stages(x, dy int, then func(args [][]float32, n int)) []stage {
	return []stage{
		{g.N * g.tasks, func(args [][]float32, t, _ int) {
			from, to, _ := g.rows(t)
			rows := to - from
			at := func(i int) []float64 {
				p := g.part[i][t*g.ld:][:g.ld]
				clear(p)
				return p
			}
			values := args[x][from*g.C : to*g.C]
			g.addRows(at(0), values, rows, g.C)
			g.mulRows(at(1), values, values, rows, g.C)
			if len(g.part) > 2 {
				slopes := args[dy][from*g.C : to*g.C]
				g.addRows(at(2), slopes, rows, g.C)
				g.mulRows(at(3), slopes, values, rows, g.C)
			}
		}},
		{g.N, func(args [][]float32, n, _ int) {
			for i, part := range g.part {
				sum := g.sums[i][n*g.ld:][:g.ld]
				clear(sum)
				for t := n * g.tasks; t < (n+1)*g.tasks; t++ {
					for c, v := range part[t*g.ld:][:g.C] {
						sum[c] += v
					}
				}
			}
			count := float64(g.Rows * g.group())
			for k := range g.Groups {
				sum, squares := 0., 0.
				for c := k * g.group(); c < (k+1)*g.group(); c++ {
					sum += g.sums[0][n*g.ld+c]
					squares += g.sums[1][n*g.ld+c]
				}
				mean := sum / count
				g.mean[n*g.Groups+k] = mean
				g.scale[n*g.Groups+k] = 1 / math.Sqrt(max(squares/count-mean*mean, 0)+float64(g.Eps))
			}
			then(args, n)
		}},
	}
}

// of is the mean and scale of channel c of sample n.
func (g *groupSums) of(n, c int) (mean, scale float64) {
	i := n*g.Groups + c/g.group()
	return g.mean[i], g.scale[i]
}

func (s GroupNorm) cpu(c *CPU) []stage {
	g := newGroupSums(c, s, 2)
	mean, gain, shift := make([]float32, s.N*s.C), make([]float32, s.N*s.C), make([]float32, s.N*s.C)
	stages := g.stages(1, 0, func(args [][]float32, n int) {
		for k := range s.C {
			m, scale := g.of(n, k)
			i := s.at(n, k)
			mean[n*s.C+k], gain[n*s.C+k], shift[n*s.C+k] = float32(m), float32(scale*float64(args[2][i])), args[3][i]
		}
	})
	return append(stages, stage{s.N * g.tasks, func(args [][]float32, t, _ int) {
		from, to, n := g.rows(t)
		m, u, b := mean[n*s.C:][:s.C], gain[n*s.C:][:s.C], shift[n*s.C:][:s.C]
		for r := from; r < to; r++ {
			y, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C]
			for k, v := range x {
				y[k] = (v-m[k])*u[k] + b[k]
			}
		}
		if y := args[0][from*s.C : to*s.C]; s.Act != None {
			c.applySlice(s.Act, y, y)
		}
	}})
}

func (s GroupNormGradX) cpu(c *CPU) []stage {
	g := newGroupSums(c, s.GroupNorm, 4)
	mean, u, v, w := make([]float32, s.N*s.C), make([]float32, s.N*s.C), make([]float32, s.N*s.C), make([]float32, s.N*s.C)
	stages := g.stages(2, 1, func(args [][]float32, n int) {
		count := float64(s.Rows * s.group())
		for k := range s.Groups {
			m, scale := g.mean[n*s.Groups+k], g.scale[n*s.Groups+k]
			sum, along := 0., 0. // of g = dy·gamma and of g·h
			for j := k * s.group(); j < (k+1)*s.group(); j++ {
				gamma := float64(args[3][s.at(n, j)])
				dy, dyx := g.sums[2][n*g.ld+j], g.sums[3][n*g.ld+j]
				sum += gamma * dy
				along += gamma * (dyx - m*dy) * scale
			}
			for j := k * s.group(); j < (k+1)*s.group(); j++ {
				i := n*s.C + j
				mean[i], u[i] = float32(m), float32(scale*float64(args[3][s.at(n, j)]))
				v[i], w[i] = float32(-scale*scale*along/count), float32(-scale*sum/count)
			}
		}
	})
	return append(stages, stage{s.N * g.tasks, func(args [][]float32, t, _ int) {
		from, to, n := g.rows(t)
		m, u, v, w := mean[n*s.C:][:s.C], u[n*s.C:][:s.C], v[n*s.C:][:s.C], w[n*s.C:][:s.C]
		for r := from; r < to; r++ {
			dx, dy, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C], args[2][r*s.C:][:s.C]
			for k, d := range dy {
				dx[k] = u[k]*d + v[k]*(x[k]-m[k]) + w[k]
			}
		}
	}})
}

func (s GroupNormGradGamma) cpu(c *CPU) []stage {
	g := newGroupSums(c, s.GroupNorm, 4)
	parts := make([]float64, s.N*s.C)
	stages := g.stages(2, 1, func(_ [][]float32, n int) {
		for k := range s.C {
			m, scale := g.of(n, k)
			parts[n*s.C+k] = scale * (g.sums[3][n*g.ld+k] - m*g.sums[2][n*g.ld+k])
		}
	})
	sums := make([]float64, s.N*s.C)
	return append(stages, stage{1, func(args [][]float32, _, _ int) {
		sum := sums[:len(args[0])] // [C], or [N,C] where it is adaptive
		clear(sum)
		for i, v := range parts {
			sum[i%len(sum)] += v
		}
		for i, v := range sum {
			args[0][i] = float32(v)
		}
	}})
}

func (s SumSamples) cpu(c *CPU) []stage {
	addRows := c.vec().addRows
	return wideSums(c, s.N, s.Rows, s.C, func(acc []float64, args [][]float32, at, rows, width int) {
		addRows(acc, args[1][at:at+rows*width], rows, width)
	})
}
