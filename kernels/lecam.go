package kernels

import "math"

// LeCam is one of the two terms of LeCam regularization (Tseng et al., "Regularizing
// generative adversarial networks under limited data", 2021): how far a discriminator's
// logits x are beyond a, the running average of the logits of the other kind of frames.
//
//	y = mean of max(0, x_i - a)²,  of real frames
//	y = mean of max(0, a - x_i)²,  with Fake
//
// a is a constant for gradients. Arguments: y scalar; x [Len], a scalar.
type LeCam struct {
	Len  int
	Fake bool
}

func (s LeCam) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s LeCam) Args() []Arg     { return []Arg{out("y"), in("x", s.Len), in("a")} }
func (s LeCam) FLOPs() int64    { return 4 * int64(s.Len) }
func (s LeCam) Grads() []Grad   { return []Grad{grad("x", LeCamGrad(s), "dy", "x", "a")} }

// beyond is the positive part of the distance, and its slope in x where that is not flat. It is NaN if x or a is.
func (s LeCam) beyond(x, a float32) (distance, slope float64) {
	distance, slope = float64(x)-float64(a), 1
	if s.Fake {
		distance, slope = -distance, -1
	}
	return math.Max(distance, 0), slope
}

func (s LeCam) Define(args ...[]float32) {
	sum := 0.
	for _, x := range args[1] {
		d, _ := s.beyond(x, args[2][0])
		sum += d * d
	}
	args[0][0] = float32(sum / float64(s.Len))
}

// LeCamGrad is the gradient of LeCam: dx_i = 2·dy·max(0, x_i - a)/Len, and
// -2·dy·max(0, a - x_i)/Len with Fake.
// Arguments: dx [Len]; dy scalar, x [Len], a scalar.
type LeCamGrad struct {
	Len  int
	Fake bool
}

func (s LeCamGrad) Validate() error { return LeCam(s).Validate() }
func (s LeCamGrad) Args() []Arg {
	return []Arg{out("dx", s.Len), in("dy"), in("x", s.Len), in("a")}
}
func (s LeCamGrad) FLOPs() int64  { return 5 * int64(s.Len) }
func (s LeCamGrad) Grads() []Grad { return nil }

func (s LeCamGrad) Define(args ...[]float32) {
	for i, x := range args[2] {
		d, slope := LeCam(s).beyond(x, args[3][0])
		args[0][i] = float32(2 * slope * float64(args[1][0]) * d / float64(s.Len))
	}
}

// The CPU runs the definitions: a batch has a logit for each frame, or for each patch.
func (s LeCam) cpu(*CPU) []stage     { return defined(s) }
func (s LeCamGrad) cpu(*CPU) []stage { return defined(s) }
