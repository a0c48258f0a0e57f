package kernels

import (
	"fmt"
	"math"
)

// LogitFunc is what LogitMean averages of a discriminator's logit x.
type LogitFunc int

const (
	LogitValue   LogitFunc = iota // x
	HingeReal                     // max(0, 1-x)
	HingeFake                     // max(0, 1+x)
	LogisticReal                  // log(1+exp(-x))
	LogisticFake                  // log(1+exp(x))
	IsPositive                    // 1 for x > 0, else 0
	IsNegative                    // 1 for x < 0, else 0
	logitFuncs
)

func (f LogitFunc) String() string {
	if f < 0 || f >= logitFuncs {
		return fmt.Sprintf("LogitFunc(%d)", int(f))
	}
	return [...]string{"LogitValue", "HingeReal", "HingeFake", "LogisticReal", "LogisticFake", "IsPositive", "IsNegative"}[f]
}

// apply is the function and its slope, which at a kink is 0.
func (f LogitFunc) apply(x float64) (y, slope float64) {
	switch f {
	case LogitValue:
		return x, 1
	case HingeReal:
		y, slope = HingeFake.apply(-x)
		return y, -slope
	case HingeFake:
		if x <= -1 {
			return 0, 0
		}
		return 1 + x, 1
	case LogisticReal:
		y, slope = LogisticFake.apply(-x)
		return y, -slope
	case LogisticFake:
		return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))), sigmoid(x)
	case IsPositive:
		x = -x
	}
	if x < 0 {
		return 1, 0
	}
	return x * 0, 0 // 0, or NaN
}

// LogitMean is the mean of a function of logits.
//
//	y = mean of Of(x_i)
//
// Arguments: y scalar; x [Len].
type LogitMean struct {
	Len int
	Of  LogitFunc
}

func (s LogitMean) Validate() error {
	if s.Of < 0 || s.Of >= logitFuncs {
		return fmt.Errorf("Of is %d, want 0 (LogitValue) to %d (%v)", int(s.Of), int(logitFuncs-1), logitFuncs-1)
	}
	return positive([]string{"Len"}, s.Len)
}

func (s LogitMean) Args() []Arg  { return []Arg{out("y"), in("x", s.Len)} }
func (s LogitMean) FLOPs() int64 { return 3 * int64(s.Len) }

// Grads are none of IsPositive and IsNegative, which are flat.
func (s LogitMean) Grads() []Grad {
	if s.Of == IsPositive || s.Of == IsNegative {
		return []Grad{}
	}
	return []Grad{grad("x", LogitMeanGrad(s), "dy", "x")}
}

func (s LogitMean) Define(args ...[]float32) {
	sum := 0.
	for _, x := range args[1] {
		y, _ := s.Of.apply(float64(x))
		sum += y
	}
	args[0][0] = float32(sum / float64(s.Len))
}

// LogitMeanGrad is dx_i = dy·Of'(x_i)/Len, the gradient of LogitMean.
// Arguments: dx [Len]; dy scalar, x [Len].
type LogitMeanGrad struct {
	Len int
	Of  LogitFunc
}

func (s LogitMeanGrad) Validate() error { return LogitMean(s).Validate() }
func (s LogitMeanGrad) Args() []Arg     { return []Arg{out("dx", s.Len), in("dy"), in("x", s.Len)} }
func (s LogitMeanGrad) FLOPs() int64    { return 4 * int64(s.Len) }
func (s LogitMeanGrad) Grads() []Grad   { return nil }

func (s LogitMeanGrad) Define(args ...[]float32) {
	for i, x := range args[2] {
		_, slope := s.Of.apply(float64(x))
		args[0][i] = float32(float64(args[1][0]) * slope / float64(s.Len))
	}
}

// The CPU runs the definitions: a batch has a logit for each frame, or for each patch.
func (s LogitMean) cpu(*CPU) []stage     { return defined(s) }
func (s LogitMeanGrad) cpu(*CPU) []stage { return defined(s) }

// GradientRatio is the adaptive weight of an adversarial loss: how much larger the
// gradient a of the other terms is than that of the adversarial one, b.
//
//	y = min(‖a‖/max(‖b‖ + Eps, Floor), Max), and 1 where that is NaN
//
// It is a constant for gradients. Arguments: y scalar; a [Len], b [Len].
type GradientRatio struct {
	Len             int
	Eps, Floor, Max float32
}

func (s GradientRatio) Validate() error {
	for _, v := range []float32{s.Eps, s.Floor, s.Max} {
		if !(v >= 0) || !finite(float64(v)) {
			return fmt.Errorf("Eps, Floor and Max are %g, %g and %g, want numbers from 0 on", s.Eps, s.Floor, s.Max)
		}
	}
	return positive([]string{"Len"}, s.Len)
}

func (s GradientRatio) Args() []Arg   { return []Arg{out("y"), in("a", s.Len), in("b", s.Len)} }
func (s GradientRatio) FLOPs() int64  { return 4 * int64(s.Len) }
func (s GradientRatio) Grads() []Grad { return []Grad{} }

func (s GradientRatio) Define(args ...[]float32) {
	a, b := math.Sqrt(plainSquares(args[1], 0)), math.Sqrt(plainSquares(args[2], 0))
	y := min(a/max(b+float64(s.Eps), float64(s.Floor)), float64(s.Max))
	if math.IsNaN(y) {
		y = 1
	}
	args[0][0] = float32(y)
}

// The CPU runs the definition: the gradients are those of one layer's weights.
func (s GradientRatio) cpu(*CPU) []stage { return defined(s) }
