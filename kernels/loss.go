package kernels

import (
	"fmt"
	"math"
)

// LossKind is how ReconLoss measures the error of a value.
type LossKind int

const (
	MSE LossKind = iota // (x - target)²
	L1                  // |x - target|
)

func (k LossKind) String() string {
	switch k {
	case MSE:
		return "MSE"
	case L1:
		return "L1"
	}
	return fmt.Sprintf("LossKind(%d)", int(k))
}

// ReconLoss is the weighted mean error of a reconstruction.
//
//	loss = sum_p weight_p mean_c e_pc / sum_p weight_p, and 0 if all weights are
//
// e is Kind's error. Where the target is saturated (<= 0 or >= 1) and x is
// beyond it, e counts times Overshoot: 1 makes no difference, 0 says that the
// decoder's output will be clamped.
// Arguments: loss scalar; x [Pixels,C], target [Pixels,C], weight [Pixels].
type ReconLoss struct {
	Pixels, C int
	Kind      LossKind
	Overshoot float32
}

func (s ReconLoss) Validate() error { return lossOf(s) }
func (s ReconLoss) FLOPs() int64    { return 4 * int64(s.Pixels) * int64(s.C) }

func (s ReconLoss) Args() []Arg {
	return []Arg{out("loss"), in("x", s.Pixels, s.C), in("target", s.Pixels, s.C), in("weight", s.Pixels)}
}

func (s ReconLoss) Grads() []Grad {
	return []Grad{grad("x", ReconLossGrad(s), "dloss", "x", "target", "weight")}
}

func (s ReconLoss) Define(args ...[]float32) {
	x, target, weight := args[1], args[2], args[3]
	sum, total := 0., 0.
	for p, w := range weight {
		for c := range s.C {
			i := p*s.C + c
			e, _ := s.measure(float64(x[i]), float64(target[i]))
			sum += float64(w) * e / float64(s.C)
		}
		total += float64(w)
	}
	args[0][0] = 0
	if total != 0 {
		args[0][0] = float32(sum / total)
	}
}

// measure gives a value's error and its derivative with respect to x.
func (s ReconLoss) measure(x, target float64) (e, slope float64) {
	d := x - target
	switch {
	case s.Kind == MSE:
		e, slope = d*d, 2*d
	case d > 0:
		e, slope = d, 1
	case d < 0:
		e, slope = -d, -1
	default: // 0, or NaN
		e, slope = d, d
	}
	if target <= 0 && d < 0 || target >= 1 && d > 0 {
		e *= float64(s.Overshoot)
		slope *= float64(s.Overshoot)
	}
	return e, slope
}

// ReconLossGrad is dx = dloss·dloss/dx of ReconLoss; the slope of |d| at 0 is 0.
// Arguments: dx [Pixels,C]; dloss scalar, x [Pixels,C], target [Pixels,C], weight [Pixels].
type ReconLossGrad struct {
	Pixels, C int
	Kind      LossKind
	Overshoot float32
}

func (s ReconLossGrad) Validate() error { return lossOf(ReconLoss(s)) }
func (s ReconLossGrad) FLOPs() int64    { return 4 * int64(s.Pixels) * int64(s.C) }

func (s ReconLossGrad) Args() []Arg {
	return []Arg{out("dx", s.Pixels, s.C), in("dloss"), in("x", s.Pixels, s.C), in("target", s.Pixels, s.C), in("weight", s.Pixels)}
}

func (s ReconLossGrad) Grads() []Grad { return nil }

func (s ReconLossGrad) Define(args ...[]float32) {
	dx, dloss, x, target, weight := args[0], float64(args[1][0]), args[2], args[3], args[4]
	total := 0.
	for _, w := range weight {
		total += float64(w)
	}
	for i := range dx {
		dx[i] = 0
		if total != 0 {
			_, slope := ReconLoss(s).measure(float64(x[i]), float64(target[i]))
			dx[i] = float32(dloss * float64(weight[i/s.C]) * slope / (float64(s.C) * total))
		}
	}
}

func lossOf(s ReconLoss) error {
	if s.Kind != MSE && s.Kind != L1 {
		return fmt.Errorf("Kind is %d, want 0 (MSE) or 1 (L1)", int(s.Kind))
	}
	if o := float64(s.Overshoot); !(o >= 0) || math.IsInf(o, 0) {
		return fmt.Errorf("Overshoot is %g, want a number from 0 on (1: no difference)", s.Overshoot)
	}
	return positive([]string{"Pixels", "C"}, s.Pixels, s.C)
}
