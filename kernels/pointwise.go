package kernels

import (
	"fmt"
	"math"
)

// Activation is a function applied to each value on its own.
type Activation int

const (
	None       Activation = iota // x
	ELU                          // x for x > 0, else exp(x)-1
	SiLU                         // x·sigmoid(x)
	LeakyReLU                    // x for x > 0, else x/10
	Sigmoid                      // 1/(1+exp(-x))
	Tanh                         // tanh(x)
	GELU                         // x·Φ(x), Φ the normal distribution: the exact form, by erf
	SoftClamp                    // a·tanh(x/a), a = 10
	ReLU                         // x for x > 0, else 0
	LeakyReLU5                   // x for x > 0, else x/5
	activations
)

const (
	leak       = .1 // slope of LeakyReLU below zero
	leak5      = .2 // slope of LeakyReLU5 below zero
	clampScale = 10 // a of SoftClamp
)

func (k Activation) String() string {
	if k < 0 || k >= activations {
		return fmt.Sprintf("Activation(%d)", int(k))
	}
	return [...]string{"None", "ELU", "SiLU", "LeakyReLU", "Sigmoid", "Tanh", "GELU", "SoftClamp", "ReLU", "LeakyReLU5"}[k]
}

func (k Activation) validate() error {
	if k < 0 || k >= activations {
		return fmt.Errorf("unknown activation %d, want 0 (None) to %d (%v)", int(k), int(activations-1), activations-1)
	}
	return nil
}

// FromOutput says whether the derivative is a function of the output. Then the
// input need not be kept for the backward pass.
func (k Activation) FromOutput() bool { return k != SiLU && k != GELU }

// Apply is the activation of x.
func (k Activation) Apply(x float64) float64 {
	switch k {
	case ELU:
		if x > 0 {
			return x
		}
		return math.Expm1(x)
	case SiLU:
		return x * sigmoid(x)
	case LeakyReLU:
		if x > 0 {
			return x
		}
		return leak * x
	case Sigmoid:
		return sigmoid(x)
	case Tanh:
		return math.Tanh(x)
	case GELU:
		return x * normalCDF(x)
	case SoftClamp:
		return clampScale * math.Tanh(x/clampScale)
	case ReLU:
		return max(x, 0)
	case LeakyReLU5:
		return max(x, leak5*x)
	}
	return x
}

// Slope is the derivative; s is the output where FromOutput says so, else the input.
func (k Activation) Slope(s float64) float64 {
	switch k {
	case ELU:
		if s > 0 {
			return 1
		}
		return s + 1
	case SiLU:
		p := sigmoid(s)
		return p * (1 + s*(1-p))
	case LeakyReLU:
		if s > 0 {
			return 1
		}
		return leak
	case Sigmoid:
		return s * (1 - s)
	case Tanh:
		return 1 - s*s
	case GELU:
		return normalCDF(s) + s*math.Exp(-s*s/2)/math.Sqrt(2*math.Pi)
	case SoftClamp:
		return 1 - s*s/(clampScale*clampScale)
	case ReLU:
		if s > 0 {
			return 1
		}
		return 0
	case LeakyReLU5:
		if s > 0 {
			return 1
		}
		return leak5
	}
	return 1
}

func sigmoid(x float64) float64   { return 1 / (1 + math.Exp(-x)) }
func normalCDF(x float64) float64 { return .5 * math.Erfc(-x/math.Sqrt2) }

// Act is y = Kind(x), elementwise. Arguments: y; x.
type Act struct {
	Kind Activation
	Len  int
}

func (s Act) Validate() error { return activationOf(s.Kind, s.Len) }
func (s Act) Args() []Arg     { return []Arg{actOut("y", s.Len), actIn("x", s.Len)} }
func (s Act) FLOPs() int64    { return s.Kind.flops() * int64(s.Len) }

func (s Act) Grads() []Grad {
	at := "x"
	if s.Kind.FromOutput() {
		at = "y"
	}
	return []Grad{grad("x", ActGrad{Kind: s.Kind, Len: s.Len}, "dy", at)}
}

func (s Act) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for i := range y {
		y[i] = float32(s.Kind.Apply(float64(x[i])))
	}
}

// ActGrad is dx = dy·Kind'(x), elementwise; s is Kind(x) where Kind.FromOutput,
// else x. Arguments: dx; dy, s.
type ActGrad struct {
	Kind Activation
	Len  int
}

func (s ActGrad) Validate() error { return activationOf(s.Kind, s.Len) }
func (s ActGrad) Args() []Arg {
	return []Arg{actOut("dx", s.Len), actIn("dy", s.Len), actIn("s", s.Len)}
}

func (s ActGrad) FLOPs() int64 {
	if s.Kind.FromOutput() {
		return 3 * int64(s.Len)
	}
	return (s.Kind.flops() + 5) * int64(s.Len)
}

// Grads are those of piecewise linear activations, whose slope is constant around s; nil of
// the others.
func (s ActGrad) Grads() []Grad {
	if s.Kind != None && s.Kind != LeakyReLU && s.Kind != LeakyReLU5 && s.Kind != ReLU {
		return nil
	}
	return []Grad{grad("dy", s, "ddx", "s")}
}

func (s ActGrad) Define(args ...[]float32) {
	dx, dy, at := args[0], args[1], args[2]
	for i := range dx {
		dx[i] = float32(float64(dy[i]) * s.Kind.Slope(float64(at[i])))
	}
}

// flops counts an exponential as 10 operations.
func (k Activation) flops() int64 {
	switch k {
	case None, LeakyReLU, LeakyReLU5, ReLU:
		return 1
	}
	return 12
}

func activationOf(k Activation, n int) error {
	if err := k.validate(); err != nil {
		return err
	}
	return positive([]string{"Len"}, n)
}

// Add is y = a+b, elementwise; y may be a. Arguments: y; a, b.
type Add struct{ Len int }

func (s Add) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s Add) Args() []Arg     { return []Arg{actOut("y", s.Len), actIn("a", s.Len), actIn("b", s.Len)} }
func (s Add) FLOPs() int64    { return int64(s.Len) }

func (s Add) Grads() []Grad {
	return []Grad{{Of: "a"}, {Of: "b"}}
}

func (s Add) Define(args ...[]float32) {
	y, a, b := args[0], args[1], args[2]
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

// Affine is y = Mul·x + Add, elementwise. Arguments: y; x.
type Affine struct {
	Len      int
	Mul, Add float32
}

func (s Affine) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s Affine) Args() []Arg     { return []Arg{actOut("y", s.Len), actIn("x", s.Len)} }
func (s Affine) FLOPs() int64    { return 2 * int64(s.Len) }

func (s Affine) Grads() []Grad {
	return []Grad{grad("x", Affine{Len: s.Len, Mul: s.Mul}, "dy")}
}

func (s Affine) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for i := range y {
		y[i] = float32(float64(s.Mul)*float64(x[i]) + float64(s.Add))
	}
}
