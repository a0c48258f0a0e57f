package kernels

// bsqMeans are the means over tokens of the bits' probabilities, from sums of a task each.
type bsqMeans struct {
	BSQLoss
	per   int         // tokens of a task
	sums  [][]float64 // of a task, [Books·Bits]
	means []float64
}

func (s BSQLoss) newMeans() *bsqMeans {
	m := &bsqMeans{BSQLoss: s, per: rowsPerTask(8 * s.Books * s.Bits), means: make([]float64, s.Books*s.Bits)}
	for range ceilDiv(s.Tokens, m.per) {
		m.sums = append(m.sums, make([]float64, s.Books*s.Bits))
	}
	return m
}

// sum adds up a task's probabilities and calls each for its values.
func (m *bsqMeans) sum(u []float32, task int, each func(v float32)) {
	from, to := span(task, m.Tokens, m.per)
	sums := m.sums[task]
	clear(sums)
	for n := from; n < to; n++ {
		for i, v := range u[n*len(sums):][:len(sums)] {
			sums[i] += sigmoid(m.logitScale() * float64(v))
			each(v)
		}
	}
}

// finish adds up the tasks.
func (m *bsqMeans) finish() {
	clear(m.means)
	for _, sums := range m.sums {
		for i, v := range sums {
			m.means[i] += v / float64(m.Tokens)
		}
	}
}

func (s BSQLoss) cpu(*CPU) []stage {
	m := s.newMeans()
	sample, commitment := make([]float64, len(m.sums)), make([]float64, len(m.sums))
	return []stage{
		{len(m.sums), func(args [][]float32, t, _ int) {
			e, c := 0., 0.
			m.sum(args[1], t, func(v float32) {
				e += binaryEntropy(s.logitScale() * float64(v))
				c += square(s.distance(v))
			})
			sample[t], commitment[t] = e, c
		}},
		{1, func(args [][]float32, _, _ int) {
			m.finish()
			s.write(args[0], sumOf(sample), sumOf(commitment), m.means)
		}},
	}
}

func (s BSQLossGrad) cpu(*CPU) []stage {
	m := BSQLoss(s).newMeans()
	return append([]stage{
		{len(m.sums), func(args [][]float32, t, _ int) { m.sum(args[2], t, func(float32) {}) }},
		{1, func([][]float32, int, int) {
			m.finish()
			for i, p := range m.means {
				m.means[i] = logOdds(p)
			}
		}},
	}, s.rows(m.means)...)
}

// rows are the stages of the gradient, after one that leaves the slopes of the columns' entropies in slopes.
func (s BSQLossGrad) rows(slopes []float64) []stage {
	columns := len(slopes)
	return rowwise(s.Tokens, 8*columns, func(args [][]float32, from, to int) {
		for i := from * columns; i < to*columns; i++ {
			args[0][i] = s.slope(args[2][i], args[1], slopes[i%columns])
		}
	})
}
