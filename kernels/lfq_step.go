package kernels

// LFQMeans is the mean probability of each code, see LFQLoss, over a batch. Of a step of
// several batches it is averaged over them; LFQStepLoss then has the entropy of the whole step.
// Arguments: mean [Books,2^Bits]; z [Tokens,Books·Bits].
type LFQMeans struct {
	LFQ
	InvTemp float32
}

func (s LFQMeans) loss() LFQLoss   { return LFQLoss{LFQ: s.LFQ, InvTemp: s.InvTemp} }
func (s LFQMeans) Validate() error { return s.loss().Validate() }
func (s LFQMeans) Args() []Arg     { return []Arg{s.codes(out, "mean"), s.wide(in, "z")} }
func (s LFQMeans) Grads() []Grad   { return nil }

// FLOPs counts the product of the two factor matrices.
func (s LFQMeans) FLOPs() int64 { return 2 * int64(s.Tokens) * int64(s.Books) << s.Bits }

// codes is an argument with a value for each code of each codebook.
func (l LFQ) codes(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, l.Books, 1<<l.Bits)
}

func (s LFQMeans) Define(args ...[]float32) {
	for b := range s.Books {
		for code := range 1 << s.Bits {
			args[0][b<<s.Bits|code] = float32(s.loss().mean(args[1], b, code))
		}
	}
}

func (s LFQMeans) cpu(c *CPU) (stages []stage) {
	f := newLFQBatch(c, s.loss())
	for b := range s.Books {
		stages = append(stages, f.stages(b, 1, func(args [][]float32, h int, mean []float32) {
			copy(args[0][(b*f.high+h)*f.low:], mean)
		})...)
	}
	return stages
}

func (s LFQMeans) cuda(p *Launches) {
	s.means(p, s.factors(p, 4*s.InvTemp), p.arg("mean"))
}

// LFQStepLoss is LFQLoss of one of several batches of a step, with the batch entropy of the
// mean probabilities that are given: those of all batches. The mean of the losses of all batches, and of
// their gradients, is then that of one batch with all tokens.
// Arguments: terms [3]; z [Tokens,Books·Bits], mean [Books,2^Bits].
type LFQStepLoss struct{ LFQLoss }

func (s LFQStepLoss) Args() []Arg { return append(s.LFQLoss.Args(), s.codes(in, "mean")) }
func (s LFQStepLoss) Grads() []Grad {
	return []Grad{grad("z", LFQStepLossGrad{LFQLossGrad(s.LFQLoss)}, "dterms", "z", "mean")}
}

// FLOPs counts 20 operations a value, and 10 a code.
func (s LFQStepLoss) FLOPs() int64 { return 20*s.values() + 10*int64(s.Books)<<s.Bits }

func (s LFQStepLoss) Define(args ...[]float32) {
	s.define(args[0], args[1], s.given(args[2]))
}

// given are mean probabilities by codebook and code.
func (l LFQ) given(mean []float32) func(book, code int) float64 {
	return func(book, code int) float64 { return float64(mean[book<<l.Bits|code]) }
}

func (s LFQStepLoss) cpu(*CPU) []stage {
	n, per := s.Books<<s.Bits, rowsPerTask(16)
	batch := make([]float64, ceilDiv(n, per))
	return s.terms([]stage{{len(batch), func(args [][]float32, t, _ int) {
		from, to := span(t, n, per)
		sum := 0.
		for _, p := range args[2][from:to] {
			sum += entropyTerm(float64(p), float64(s.Offset))
		}
		batch[t] = sum
	}}}, batch)
}

func (s LFQStepLoss) cuda(p *Launches) { s.launch(p, p.arg("mean")) }

// LFQStepLossGrad is the gradient of LFQStepLoss: that of LFQLoss with the slopes of the mean
// probabilities that are given, which count as functions of z.
// Arguments: dz [Tokens,Books·Bits]; dterms [3], z [Tokens,Books·Bits], mean [Books,2^Bits].
type LFQStepLossGrad struct{ LFQLossGrad }

func (s LFQStepLossGrad) Args() []Arg { return append(s.LFQLossGrad.Args(), s.codes(in, "mean")) }

func (s LFQStepLossGrad) Define(args ...[]float32) {
	s.define(args[0], args[1], args[2], s.given(args[3]))
}

func (s LFQStepLossGrad) cpu(c *CPU) []stage { return s.stages(c, 3) }

func (s LFQStepLossGrad) cuda(p *Launches) {
	s.launch(p, s.factors(p, 4*s.InvTemp), p.arg("mean"))
}
