package kernels

// rowsPerTask is how many rows of C values make one task of about block values.
func rowsPerTask(c int) int { return max(block/c, 1) }

// columnSums is the CPU form of every sum over rows. add adds the terms of the
// rows [from,to) to acc [C]; the blocks' sums are added in their order.
func columnSums(rows, c int, add func(acc []float64, args [][]float32, from, to, worker int)) []stage {
	per := rowsPerTask(c)
	n := blocks(rows, per)
	part := make([]float64, n*c)
	return []stage{
		{n, func(args [][]float32, t, worker int) {
			acc := part[t*c : (t+1)*c]
			clear(acc)
			from, to := span(t, rows, per)
			add(acc, args, from, to, worker)
		}},
		{blocks(c, 256), func(args [][]float32, t, _ int) {
			from, to := span(t, c, 256)
			for j := from; j < to; j++ {
				sum := 0.
				for i := j; i < len(part); i += c {
					sum += part[i]
				}
				args[0][j] = float32(sum)
			}
		}},
	}
}

// total is the CPU form of a sum to a scalar: term sums the values [from,to).
func total(n int, term func(args [][]float32, from, to int) float64) []stage {
	part := make([]float64, blocks(n, block))
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

func (s SumRows) cpu(*CPU) []stage {
	c := s.C
	return columnSums(s.Rows, c, func(acc []float64, args [][]float32, from, to, _ int) {
		x := args[1]
		r := from
		for ; r+8 <= to; r += 8 {
			addRows8(acc, x[r*c:(r+8)*c])
		}
		for ; r < to; r++ {
			for j, v := range x[r*c : (r+1)*c] {
				acc[j] += float64(v)
			}
		}
	})
}

// addRows8 adds eight rows of len(acc) values: the conversion to float64 is paid
// once for eight.
func addRows8(acc []float64, x []float32) {
	c := len(acc)
	a0, a1, a2, a3 := x[:c], x[c:][:c], x[2*c:][:c], x[3*c:][:c]
	a4, a5, a6, a7 := x[4*c:][:c], x[5*c:][:c], x[6*c:][:c], x[7*c:][:c]
	for j := range acc {
		acc[j] += float64(((a0[j] + a1[j]) + (a2[j] + a3[j])) + ((a4[j] + a5[j]) + (a6[j] + a7[j])))
	}
}

func (s SumSquares) cpu(*CPU) []stage {
	return total(s.Len, func(args [][]float32, from, to int) float64 {
		return squares(args[1][from:to], 0)
	})
}

// squares is the sum of (x - mean)². Four sums hide the additions' latency.
func squares(x []float32, mean float64) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		a, b, c, d := float64(x[0])-mean, float64(x[1])-mean, float64(x[2])-mean, float64(x[3])-mean
		s0, s1, s2, s3 = s0+a*a, s1+b*b, s2+c*c, s3+d*d
		x = x[4:]
	}
	for _, v := range x {
		s0 += (float64(v) - mean) * (float64(v) - mean)
	}
	return (s0 + s1) + (s2 + s3)
}

// plainSum is the sum of x, likewise.
func plainSum(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 {
		s0, s1, s2, s3 = s0+float64(x[0]), s1+float64(x[1]), s2+float64(x[2]), s3+float64(x[3])
		x = x[4:]
	}
	for _, v := range x {
		s0 += float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}

// defined runs the definition as it stands: for kernels of a few values.
func defined(s Spec) []stage {
	return []stage{{1, func(args [][]float32, _, _ int) { s.Define(args...) }}}
}

func (s WeightedSum) cpu(*CPU) []stage { return defined(s) }
func (s Spread) cpu(*CPU) []stage      { return defined(s) }
