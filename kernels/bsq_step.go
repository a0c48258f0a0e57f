package kernels

// BSQMeans is the mean probability of each bit, see BSQLoss, over a batch. Of a step of several
// batches it is averaged over them; BSQStepLoss then has the entropies of the whole step.
// Arguments: mean [Books,Bits]; u [Tokens,Books·Bits].
type BSQMeans struct {
	LFQ
	InvTemp float32
}

func (s BSQMeans) Validate() error { return BSQLoss(s).Validate() }
func (s BSQMeans) Args() []Arg     { return []Arg{out("mean", s.Books, s.Bits), s.wide(in, "u")} }
func (s BSQMeans) Grads() []Grad   { return nil }
func (s BSQMeans) FLOPs() int64    { return 10 * s.values() }

func (s BSQMeans) Define(args ...[]float32) { rounded(args[0], BSQLoss(s).mean(args[1])) }

func (s BSQMeans) cpu(*CPU) []stage {
	m := BSQLoss(s).newMeans()
	return []stage{
		{len(m.sums), func(args [][]float32, t, _ int) { m.sum(args[1], t, func(float32) {}) }},
		{1, func(args [][]float32, _, _ int) {
			m.finish()
			rounded(args[0], m.means)
		}},
	}
}

func rounded(to []float32, from []float64) {
	for i, v := range from {
		to[i] = float32(v)
	}
}

// BSQStepLoss is BSQLoss of one of several batches of a step, with the entropies of the mean
// probabilities that are given: those of all batches. The mean of the losses of all batches, and of
// their gradients, is then that of one batch with all tokens.
// Arguments: terms [3]; u [Tokens,Books·Bits], mean [Books,Bits].
type BSQStepLoss struct{ BSQLoss }

func (s BSQStepLoss) Args() []Arg { return append(s.BSQLoss.Args(), in("mean", s.Books, s.Bits)) }
func (s BSQStepLoss) Grads() []Grad {
	return []Grad{grad("u", BSQStepLossGrad{BSQLossGrad(s.BSQLoss)}, "dterms", "u", "mean")}
}

func (s BSQStepLoss) Define(args ...[]float32) { s.define(args[0], args[1], exactly(args[2])) }

// exactly are values in float64.
func exactly(values []float32) (wide []float64) {
	for _, v := range values {
		wide = append(wide, float64(v))
	}
	return wide
}

func (s BSQStepLoss) cpu(*CPU) []stage {
	columns := s.Books * s.Bits
	per := rowsPerTask(8 * columns)
	sample, commitment := make([]float64, ceilDiv(s.Tokens, per)), make([]float64, ceilDiv(s.Tokens, per))
	means := make([]float64, columns)
	return []stage{
		{len(sample), func(args [][]float32, t, _ int) {
			from, to := span(t, s.Tokens, per)
			e, c := 0., 0.
			for _, v := range args[1][from*columns : to*columns] {
				e += binaryEntropy(s.logitScale() * float64(v))
				c += square(s.distance(v))
			}
			sample[t], commitment[t] = e, c
		}},
		{1, func(args [][]float32, _, _ int) {
			for i, v := range args[2] {
				means[i] = float64(v)
			}
			s.write(args[0], sumOf(sample), sumOf(commitment), means)
		}},
	}
}

func (s BSQStepLoss) cuda(p *Launches) { s.launch(p, p.arg("mean"), 1) }

// BSQStepLossGrad is the gradient of BSQStepLoss: that of BSQLoss with the slopes of the mean
// probabilities that are given, which count as functions of u.
// Arguments: du [Tokens,Books·Bits]; dterms [3], u [Tokens,Books·Bits], mean [Books,Bits].
type BSQStepLossGrad struct{ BSQLossGrad }

func (s BSQStepLossGrad) Args() []Arg {
	return append(s.BSQLossGrad.Args(), in("mean", s.Books, s.Bits))
}

func (s BSQStepLossGrad) Define(args ...[]float32) {
	s.define(args[0], args[1], args[2], exactly(args[3]))
}

func (s BSQStepLossGrad) cpu(*CPU) []stage {
	slopes := make([]float64, s.Books*s.Bits)
	return append([]stage{{1, func(args [][]float32, _, _ int) {
		for i, v := range args[3] {
			slopes[i] = logOdds(float64(v))
		}
	}}}, s.rows(slopes)...)
}

func (s BSQStepLossGrad) cuda(p *Launches) { s.launch(p, p.arg("mean"), 1) }
