package kernels

import "fmt"

// GroupNorm normalises each group of consecutive channels of a sample over all of the
// sample's rows (Wu and He, "Group normalization", 2018).
//
//	y_nrc = Act((x_nrc - mean_ng)/sqrt(variance_ng + Eps)·gamma_c + beta_c), c in group g
//
// The variance is the biased one. A sample of a clip's frames and pixels has statistics
// over time and space, one of a frame's pixels has those of the frame. If Adaptive, gamma
// and beta are those of the sample, [N,C].
// Arguments: y [N,Rows,C]; x [N,Rows,C], gamma [C], beta [C].
type GroupNorm struct {
	N, Rows, C int
	Groups     int
	Eps        float32
	Adaptive   bool
	Act        Activation
}

// group is the number of channels of a group.
func (s GroupNorm) group() int { return s.C / s.Groups }

// samples is the number of samples that have parameters of their own.
func (s GroupNorm) samples() int {
	if s.Adaptive {
		return s.N
	}
	return 1
}

func (s GroupNorm) Validate() error {
	if err := s.Act.validate(); err != nil {
		return err
	}
	if !(s.Eps > 0) || !finite(float64(s.Eps)) {
		return fmt.Errorf("Eps is %g, want a positive number", s.Eps)
	}
	if s.Groups < 1 || s.C%s.Groups != 0 {
		return fmt.Errorf("Groups is %d, want a divisor of C = %d", s.Groups, s.C)
	}
	return positive([]string{"N", "Rows", "C"}, s.N, s.Rows, s.C)
}

func (s GroupNorm) FLOPs() int64 { return (8 + s.Act.flops()) * s.values() }

func (s GroupNorm) values() int64 { return int64(s.N) * int64(s.Rows) * int64(s.C) }

func (s GroupNorm) wide(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, s.N, s.Rows, s.C)
}

func (s GroupNorm) param(arg func(string, ...int) Arg, name string) Arg {
	if s.Adaptive {
		return arg(name, s.N, s.C)
	}
	return arg(name, s.C)
}

func (s GroupNorm) Args() []Arg {
	return []Arg{s.wide(actOut, "y"), s.wide(actIn, "x"), s.param(in, "gamma"), s.param(in, "beta")}
}

func (s GroupNorm) Grads() []Grad {
	if s.Act != None {
		return nil
	}
	return []Grad{
		grad("x", GroupNormGradX{s}, "dy", "x", "gamma"),
		grad("gamma", GroupNormGradGamma{s}, "dy", "x"),
		grad("beta", SumSamples{N: s.samples(), Rows: s.N * s.Rows / s.samples(), C: s.C}, "dy"),
	}
}

func (s GroupNorm) Define(args ...[]float32) {
	y, gamma, beta := args[0], args[2], args[3]
	s.each(args[1], func(n int, at []int, h []float64, _ float64) {
		for i, p := range at {
			k := s.at(n, p)
			y[p] = float32(s.Act.Apply(h[i]*float64(gamma[k]) + float64(beta[k])))
		}
	})
}

// at is the index of the parameter of value p of sample n.
func (s GroupNorm) at(n, p int) int {
	if s.Adaptive {
		return n*s.C + p%s.C
	}
	return p % s.C
}

// each calls do for every group of every sample: the indices of its values, and the
// values with mean 0 and variance 1 and the factor used.
func (s GroupNorm) each(x []float32, do func(n int, at []int, h []float64, scale float64)) {
	for n := range s.N {
		for g := range s.Groups {
			var at []int
			var row []float32
			for r := range s.Rows {
				for c := range s.group() {
					at = append(at, (n*s.Rows+r)*s.C+g*s.group()+c)
					row = append(row, x[at[len(at)-1]])
				}
			}
			h, scale := standardised(row, s.Eps)
			do(n, at, h, scale)
		}
	}
}

// GroupNormGradX is the gradient of GroupNorm with respect to x; with h the standardised
// values of a group and g = dy·gamma,
//
//	dx = (g - mean(g) - h·mean(g·h))/sqrt(variance + Eps)
//
// Act must be unset.
// Arguments: dx [N,Rows,C]; dy [N,Rows,C], x [N,Rows,C], gamma as in GroupNorm.
type GroupNormGradX struct{ GroupNorm }

func (s GroupNormGradX) Validate() error     { return s.plain() }
func (s GroupNormGradX) FLOPs() int64        { return 16 * s.values() }
func (s GroupNormGradX) Grads() []Grad       { return nil }
func (s GroupNormGradGamma) Grads() []Grad   { return nil }
func (s GroupNormGradGamma) FLOPs() int64    { return 7 * s.values() }
func (s GroupNormGradGamma) Validate() error { return s.plain() }

// plain checks what the gradients need.
func (s GroupNorm) plain() error {
	if s.Act != None {
		return fmt.Errorf("Act is %v, want None: use an activation gradient of its own", s.Act)
	}
	return s.Validate()
}

func (s GroupNormGradX) Args() []Arg {
	return []Arg{s.wide(actOut, "dx"), s.wide(actIn, "dy"), s.wide(actIn, "x"), s.param(in, "gamma")}
}

func (s GroupNormGradX) Define(args ...[]float32) {
	dx, dy, gamma := args[0], args[1], args[3]
	s.each(args[2], func(n int, at []int, h []float64, scale float64) {
		mean, along := 0., 0.
		for i, p := range at {
			g := float64(dy[p]) * float64(gamma[s.at(n, p)])
			mean += g / float64(len(at))
			along += g * h[i] / float64(len(at))
		}
		for i, p := range at {
			g := float64(dy[p]) * float64(gamma[s.at(n, p)])
			dx[p] = float32(scale * (g - mean - h[i]*along))
		}
	})
}

// GroupNormGradGamma is the sum of dy·h over the rows, and over the samples unless
// Adaptive, h the standardised values. (The gradient of beta is SumSamples of dy.) Act
// must be unset.
// Arguments: dgamma as gamma in GroupNorm; dy [N,Rows,C], x [N,Rows,C].
type GroupNormGradGamma struct{ GroupNorm }

func (s GroupNormGradGamma) Args() []Arg {
	return []Arg{s.param(out, "dgamma"), s.wide(actIn, "dy"), s.wide(actIn, "x")}
}

func (s GroupNormGradGamma) Define(args ...[]float32) {
	dgamma, dy := args[0], args[1]
	sum := make([]float64, len(dgamma))
	s.each(args[2], func(n int, at []int, h []float64, _ float64) {
		for i, p := range at {
			sum[s.at(n, p)] += float64(dy[p]) * h[i]
		}
	})
	for i, v := range sum {
		dgamma[i] = float32(v)
	}
}

// SumSamples is y_nc = sum of x_nrc over the rows r of each sample.
// Arguments: y [N,C]; x [N,Rows,C].
type SumSamples struct{ N, Rows, C int }

func (s SumSamples) Validate() error {
	return positive([]string{"N", "Rows", "C"}, s.N, s.Rows, s.C)
}

func (s SumSamples) Args() []Arg   { return []Arg{out("y", s.N, s.C), actIn("x", s.N, s.Rows, s.C)} }
func (s SumSamples) FLOPs() int64  { return int64(s.N) * int64(s.Rows) * int64(s.C) }
func (s SumSamples) Grads() []Grad { return nil }

func (s SumSamples) Define(args ...[]float32) { bySample(s.N, SumRows{Rows: s.Rows, C: s.C}, args) }
