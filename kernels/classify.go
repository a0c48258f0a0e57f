package kernels

import "math"

// CrossEntropy is the mean cross-entropy of a softmax over C classes.
//
//	loss = mean of log Σ_c exp(logits_rc) - logits_r,label(r)
//
// over the rows r that have a label, and 0 if none has. A label is a whole number in
// [0,C); a negative one is none, one of C or more makes the loss NaN.
// Arguments: loss scalar; logits [Rows,C], label [Rows].
type CrossEntropy struct{ Rows, C int }

func (s CrossEntropy) Validate() error { return positive([]string{"Rows", "C"}, s.Rows, s.C) }
func (s CrossEntropy) FLOPs() int64    { return 12 * int64(s.Rows) * int64(s.C) }

func (s CrossEntropy) Args() []Arg {
	return []Arg{out("loss"), in("logits", s.Rows, s.C), in("label", s.Rows)}
}

func (s CrossEntropy) Grads() []Grad {
	return []Grad{grad("logits", CrossEntropyGrad(s), "dloss", "logits", "label")}
}

func (s CrossEntropy) Define(args ...[]float32) {
	logits, label := args[1], args[2]
	sum, n := 0., 0.
	for r, l := range label {
		if l < 0 {
			continue
		}
		n++
		if !(l < float32(s.C)) {
			sum = math.NaN()
			continue
		}
		row := logits[r*s.C:][:s.C]
		sum += logSumExp(row) - float64(row[int(l)])
	}
	args[0][0] = 0
	if n > 0 {
		args[0][0] = float32(sum / n)
	}
}

// CrossEntropyGrad is the gradient of CrossEntropy with respect to the logits.
//
//	dlogits_rc = dloss/n · (softmax(logits_r)_c - [c = label(r)])
//
// with n the number of rows that have a label; rows without one get 0.
// Arguments: dlogits [Rows,C]; dloss scalar, logits [Rows,C], label [Rows].
type CrossEntropyGrad struct{ Rows, C int }

func (s CrossEntropyGrad) Validate() error { return CrossEntropy(s).Validate() }
func (s CrossEntropyGrad) FLOPs() int64    { return 24 * int64(s.Rows) * int64(s.C) }

func (s CrossEntropyGrad) Args() []Arg {
	return []Arg{out("dlogits", s.Rows, s.C), in("dloss"), in("logits", s.Rows, s.C), in("label", s.Rows)}
}

func (s CrossEntropyGrad) Grads() []Grad { return nil }

func (s CrossEntropyGrad) Define(args ...[]float32) {
	dlogits, dloss, logits, label := args[0], float64(args[1][0]), args[2], args[3]
	n := 0.
	for _, l := range label {
		if l >= 0 {
			n++
		}
	}
	for r, l := range label {
		row, d := logits[r*s.C:][:s.C], dlogits[r*s.C:][:s.C]
		clear(d)
		if l < 0 {
			continue
		}
		all := logSumExp(row)
		for c, v := range row {
			p := math.Exp(float64(v) - all)
			if c == int(l) {
				p--
			}
			d[c] = float32(dloss / n * p)
		}
	}
}

// logSumExp is log Σ exp(x), whatever the size of x.
func logSumExp(x []float32) float64 {
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

// The CPU runs the definitions: a batch has a few hundred logits.
func (s CrossEntropy) cpu(*CPU) []stage     { return defined(s) }
func (s CrossEntropyGrad) cpu(*CPU) []stage { return defined(s) }
