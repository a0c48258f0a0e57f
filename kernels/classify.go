package kernels

import (
	"fmt"
	"math"
)

// CrossEntropy is the mean cross-entropy of a softmax over C classes, with labels smoothed
// (Szegedy et al. 2016).
//
//	loss = mean of log Σ_c exp(logits_rc) - Σ_c q_rc logits_rc
//	q_rc = (1-Smoothing)·[c = label(r)] + Smoothing/C
//
// over the rows r that have a label, and 0 if none has. A label is a whole number in
// [0,C); a negative one is none, one of C or more makes the loss NaN.
// Arguments: loss scalar; logits [Rows,C], label [Rows].
type CrossEntropy struct {
	Rows, C   int
	Smoothing float32 // in [0,1)
}

func (s CrossEntropy) Validate() error {
	if !(s.Smoothing >= 0 && s.Smoothing < 1) {
		return fmt.Errorf("Smoothing is %g, want 0 or more, below 1", s.Smoothing)
	}
	return positive([]string{"Rows", "C"}, s.Rows, s.C)
}

func (s CrossEntropy) FLOPs() int64 { return 12 * int64(s.Rows) * int64(s.C) }

func (s CrossEntropy) Args() []Arg {
	return []Arg{out("loss"), in("logits", s.Rows, s.C), in("label", s.Rows)}
}

func (s CrossEntropy) Grads() []Grad {
	return []Grad{grad("logits", CrossEntropyGrad(s), "dloss", "logits", "label")}
}

// row is the loss of a row with a label, given log Σ exp(logits) and the mean of the logits.
func (s CrossEntropy) row(all, mean float64, logits []float32, label float32) float64 {
	if !(label < float32(s.C)) {
		return math.NaN()
	}
	q := float64(s.Smoothing)
	return all - (1-q)*float64(logits[int(label)]) - q*mean
}

func (s CrossEntropy) Define(args ...[]float32) {
	logits, label := args[1], args[2]
	sum, n := 0., 0.
	for r, l := range label {
		if l >= 0 {
			row := logits[r*s.C:][:s.C]
			mean := 0.
			if s.Smoothing > 0 {
				for _, v := range row {
					mean += float64(v) / float64(s.C)
				}
			}
			sum += s.row(logSumExp(row), mean, row, l)
			n++
		}
	}
	args[0][0] = 0
	if n > 0 {
		args[0][0] = float32(sum / n)
	}
}

// CrossEntropyGrad is the gradient of CrossEntropy with respect to the logits.
//
//	dlogits_rc = dloss/n · (softmax(logits_r)_c - q_rc)
//
// with n the number of rows that have a label; rows without one get 0.
// Arguments: dlogits [Rows,C]; dloss scalar, logits [Rows,C], label [Rows].
type CrossEntropyGrad struct {
	Rows, C   int
	Smoothing float32
}

func (s CrossEntropyGrad) Validate() error { return CrossEntropy(s).Validate() }
func (s CrossEntropyGrad) FLOPs() int64    { return 24 * int64(s.Rows) * int64(s.C) }

func (s CrossEntropyGrad) Args() []Arg {
	return []Arg{out("dlogits", s.Rows, s.C), in("dloss"), in("logits", s.Rows, s.C), in("label", s.Rows)}
}

func (s CrossEntropyGrad) Grads() []Grad { return nil }

func (s CrossEntropyGrad) Define(args ...[]float32) {
	dlogits, dloss, logits, label := args[0], float64(args[1][0]), args[2], args[3]
	n, smoothing := labelled(label), float64(s.Smoothing)
	for r, l := range label {
		row, d := logits[r*s.C:][:s.C], dlogits[r*s.C:][:s.C]
		clear(d)
		if l < 0 {
			continue
		}
		all := logSumExp(row)
		for c, v := range row {
			p := math.Exp(float64(v)-all) - smoothing/float64(s.C)
			if c == int(l) {
				p -= 1 - smoothing
			}
			d[c] = float32(dloss / n * p)
		}
	}
}

// labelled is the number of rows that have a label.
func labelled(label []float32) (n float64) {
	for _, l := range label {
		if l >= 0 {
			n++
		}
	}
	return n
}

// logSumExp is log Σ exp(x), whatever the size of x.
func logSumExp[T float32 | float64](x []T) float64 {
	most := float64(x[0])
	for _, v := range x {
		most = max(most, float64(v))
	}
	sum := 0.
	for _, v := range x {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum)
}

func (s CrossEntropy) cpu(c *CPU) []stage {
	vec := c.vec()
	c.reserve(s.C)
	rows := make([]float64, s.Rows)
	per := rowsPerTask(s.C)
	return []stage{
		{ceilDiv(s.Rows, per), func(args [][]float32, task, worker int) {
			from, to := span(task, s.Rows, per)
			for r := from; r < to; r++ {
				rows[r] = 0
				if l := args[2][r]; l >= 0 {
					x := args[1][r*s.C:][:s.C]
					peak, mean := vec.greatest(x), 0.
					if s.Smoothing > 0 {
						mean = vec.sum(x) / float64(s.C)
					}
					rows[r] = s.row(float64(peak)+math.Log(vec.exps(c.scratch[worker][:s.C], x, peak, 1)), mean, x, l)
				}
			}
		}},
		{1, func(args [][]float32, _, _ int) {
			sum := 0.
			for _, v := range rows {
				sum += v
			}
			args[0][0] = float32(sum / max(labelled(args[2]), 1))
		}},
	}
}

// leastExp is above what vectors.exps gives for exponents of -87 and below.
const leastExp = 2e-38

func (s CrossEntropyGrad) cpu(c *CPU) []stage {
	vec := c.vec()
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		scale := float64(args[1][0]) / labelled(args[3])
		for r := from; r < to; r++ {
			d, x, l := args[0][r*s.C:][:s.C], args[2][r*s.C:][:s.C], args[3][r]
			if l < 0 {
				clear(d)
				continue
			}
			sum := vec.exps(d, x, vec.greatest(x), 1)
			if s.Smoothing == 0 { // else Smoothing/C is so much more that nothing changes
				for c, v := range d {
					if v < leastExp {
						d[c] = 0
					}
				}
			}
			vec.affine(d, d, float32(scale/sum), float32(-scale*float64(s.Smoothing)/float64(s.C)))
			if l < float32(s.C) { // a row sums to 0: no digits cancel where softmax is nearly 1
				d[int(l)] = 0
				d[int(l)] = float32(-vec.sum(d))
			}
		}
	})
}
