package kernels

// columnSums is the CPU form of every sum over rows, for each of some frames of rows.
// add adds the terms of the rows [from,to) to acc, which has room for padded(c); the
// blocks' sums are added in their order.
func columnSums(frames, rows, c int, add func(acc []float64, args [][]float32, from, to, worker int)) []stage {
	per, ld := rowsPerTask(c), padded(c)
	n := ceilDiv(rows, per)
	part := make([]float64, frames*n*ld)
	const columns = 256 // of a task of the second stage
	ranges := ceilDiv(c, columns)
	return []stage{
		{frames * n, func(args [][]float32, t, worker int) {
			acc := part[t*ld:][:ld]
			clear(acc)
			first := t / n * rows
			from, to := span(t%n, rows, per)
			add(acc, args, first+from, first+to, worker)
		}},
		{frames * ranges, func(args [][]float32, t, _ int) {
			f := t / ranges
			from, to := span(t%ranges, c, columns)
			part := part[f*n*ld:][:n*ld]
			for j := from; j < to; j++ {
				sum := 0.
				for i := j; i < len(part); i += ld {
					sum += part[i]
				}
				args[0][f*c+j] = float32(sum)
			}
		}},
	}
}

// bundle is how many rows of c values are added side by side, as one wide row: with a
// whole number of vectors, and not too short.
func bundle(c int) int {
	g := 1
	if c > 512 { // what does not fill a vector is little
		return g
	}
	for c*g%16 != 0 || c*g < 64 {
		g *= 2
	}
	return g
}

// wideSums is columnSums of terms that are those of the rows alone: add adds rows of
// some width, its sources from the value at on.
func wideSums(c *CPU, frames, rows, cols int, add func(acc []float64, args [][]float32, at, rows, width int)) []stage {
	g := bundle(cols)
	width := g * cols
	wide := make([]float64, c.workers*width)
	return columnSums(frames, rows, cols, func(acc []float64, args [][]float32, from, to, worker int) {
		if n := (to - from) / g; n > 0 && g > 1 {
			w := wide[worker*width:][:width]
			clear(w)
			add(w, args, from*cols, n, width)
			for i := 0; i < width; i += cols {
				for j, v := range w[i:][:cols] {
					acc[j] += v
				}
			}
			from += n * g
		}
		add(acc, args, from*cols, to-from, cols)
	})
}

// total is the CPU form of a sum to a scalar: term sums the values [from,to).
func total(n int, term func(args [][]float32, from, to int) float64) []stage {
	part := make([]float64, ceilDiv(n, block))
	return []stage{
		{len(part), func(args [][]float32, t, _ int) {
			from, to := span(t, n, block)
			part[t] = term(args, from, to)
		}},
		{1, func(args [][]float32, _, _ int) { args[0][0] = float32(sumOf(part)) }},
	}
}

func sumOf(x []float64) float64 {
	sum := 0.
	for _, v := range x {
		sum += v
	}
	return sum
}

func (s SumRows) cpu(c *CPU) []stage {
	addRows := c.vec().addRows
	return wideSums(c, 1, s.Rows, s.C, func(acc []float64, args [][]float32, at, rows, width int) {
		addRows(acc, args[1][at:at+rows*width], rows, width)
	})
}

func (s SumSquaresGrad) cpu(*CPU) []stage {
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		d := 2 * args[1][0]
		for i, x := range args[2][from:to] {
			args[0][from+i] = d * x
		}
	})
}

func (s SumSquares) cpu(c *CPU) []stage {
	squares := c.vec().squares
	return total(s.Len, func(args [][]float32, from, to int) float64 { return squares(args[1][from:to], 0) })
}

// defined runs the definition itself: for kernels of a few values.
func defined(s Spec) []stage {
	return []stage{{1, func(args [][]float32, _, _ int) { s.Define(args...) }}}
}

func (s WeightedSum) cpu(*CPU) []stage { return defined(s) }
func (s Spread) cpu(*CPU) []stage      { return defined(s) }
