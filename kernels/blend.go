package kernels

import "math"

// Blend mixes two activations by one learned number:
//
//	y = s·a + (1-s)·b, s = sigmoid(m)
//
// Arguments: y; a, b, all [Len], m [1]. y may be a or b.
type Blend struct{ Len int }

func (s Blend) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s Blend) FLOPs() int64    { return 3 * int64(s.Len) }

func (s Blend) Args() []Arg {
	return []Arg{actOut("y", s.Len), actIn("a", s.Len), actIn("b", s.Len), in("m", 1)}
}

func (s Blend) Grads() []Grad {
	return []Grad{
		grad("a", BlendGrad{Len: s.Len}, "dy", "m"),
		grad("b", BlendGrad{Len: s.Len, Second: true}, "dy", "m"),
		grad("m", BlendGradMix(s), "dy", "a", "b", "m"),
	}
}

func (s Blend) Define(args ...[]float32) {
	y, a, b, mix := args[0], args[1], args[2], sigmoid(float64(args[3][0]))
	for i := range y {
		y[i] = float32(mix*float64(a[i]) + (1-mix)*float64(b[i]))
	}
}

// BlendGrad is the gradient of Blend with respect to a, s·dy, or, if Second, with respect
// to b, (1-s)·dy. Arguments: dx [Len]; dy [Len], m [1].
type BlendGrad struct {
	Len    int
	Second bool
}

func (s BlendGrad) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s BlendGrad) FLOPs() int64    { return int64(s.Len) }
func (s BlendGrad) Grads() []Grad   { return nil }
func (s BlendGrad) Args() []Arg {
	return []Arg{actOut("dx", s.Len), actIn("dy", s.Len), in("m", 1)}
}

// share is the factor of dy.
func (s BlendGrad) share(m float32) float64 {
	if s.Second {
		m = -m
	}
	return sigmoid(float64(m))
}

func (s BlendGrad) Define(args ...[]float32) {
	share := s.share(args[2][0])
	for i, d := range args[1] {
		args[0][i] = float32(share * float64(d))
	}
}

// BlendGradMix is the gradient of Blend with respect to m: s·(1-s)·sum of dy·(a-b).
// Arguments: dm [1]; dy, a, b, all [Len], m [1].
type BlendGradMix struct{ Len int }

func (s BlendGradMix) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s BlendGradMix) FLOPs() int64    { return 3 * int64(s.Len) }
func (s BlendGradMix) Grads() []Grad   { return nil }
func (s BlendGradMix) Args() []Arg {
	return []Arg{out("dm", 1), actIn("dy", s.Len), actIn("a", s.Len), actIn("b", s.Len), in("m", 1)}
}

func (s BlendGradMix) Define(args ...[]float32) {
	m := float64(args[4][0])
	args[0][0] = float32(sigmoid(m) * sigmoid(-m) * s.sum(args, 0, s.Len))
}

// sum is that of dy·(a-b) over the values [from,to).
func (s BlendGradMix) sum(args [][]float32, from, to int) (sum float64) {
	a, b := args[2][from:to], args[3][from:to]
	for i, d := range args[1][from:to] {
		sum += float64(d) * (float64(a[i]) - float64(b[i]))
	}
	return sum
}

func (s Blend) cpu(*CPU) []stage {
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		mix := float32(sigmoid(float64(args[3][0])))
		rest := float32(sigmoid(-float64(args[3][0])))
		y, a, b := args[0][from:to], args[1][from:to], args[2][from:to]
		for i, v := range a {
			y[i] = mix*v + rest*b[i]
		}
	})
}

func (s BlendGrad) cpu(c *CPU) []stage {
	affine := c.vec().affine
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		affine(args[0][from:to], args[1][from:to], float32(s.share(args[2][0])), 0)
	})
}

func (s BlendGradMix) cpu(*CPU) []stage {
	stages := total(s.Len, s.sum)
	return append(stages, stage{1, func(args [][]float32, _, _ int) {
		m := float64(args[4][0])
		args[0][0] = float32(sigmoid(m) * sigmoid(-m) * float64(args[0][0]))
	}})
}

// LearnedScale is a reconstruction error x under a learned logarithm v of its scale, the
// negative logarithm of a Laplace density up to a constant, K values adding v each:
//
//	y = x·exp(-v) + K·v
//
// Arguments: y scalar; x, v, scalars.
type LearnedScale struct{ K float32 }

func (s LearnedScale) Validate() error { return positive([]string{"K"}, int(s.K)) }
func (s LearnedScale) FLOPs() int64    { return 13 }
func (s LearnedScale) Args() []Arg     { return []Arg{out("y"), in("x"), in("v")} }

func (s LearnedScale) Grads() []Grad {
	return []Grad{grad("x", LearnedScaleGrad{s, false}, "dy", "x", "v"), grad("v", LearnedScaleGrad{s, true}, "dy", "x", "v")}
}

func (s LearnedScale) Define(args ...[]float32) {
	x, v := float64(args[1][0]), float64(args[2][0])
	args[0][0] = float32(x*math.Exp(-v) + float64(s.K)*v)
}

// LearnedScaleGrad is the gradient of LearnedScale with respect to x, dy·exp(-v), or, if
// OfScale, with respect to v, dy·(K - x·exp(-v)). Arguments: d scalar; dy, x, v, scalars.
type LearnedScaleGrad struct {
	LearnedScale
	OfScale bool
}

func (s LearnedScaleGrad) Args() []Arg   { return []Arg{out("d"), in("dy"), in("x"), in("v")} }
func (s LearnedScaleGrad) Grads() []Grad { return nil }

func (s LearnedScaleGrad) Define(args ...[]float32) {
	dy, x, scale := float64(args[1][0]), float64(args[2][0]), math.Exp(-float64(args[3][0]))
	args[0][0] = float32(dy * scale)
	if s.OfScale {
		args[0][0] = float32(dy * (float64(s.K) - x*scale))
	}
}

func (s LearnedScale) cpu(*CPU) []stage     { return defined(s) }
func (s LearnedScaleGrad) cpu(*CPU) []stage { return defined(s) }
