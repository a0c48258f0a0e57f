package kernels

import "math"

// AdaptiveRMSNorm is RMSNorm with gains of each sample, which come from a condition.
//
//	y_nr = x_nr/max(‖x_nr‖, 1e-12)·sqrt(C)·gamma_n
//
// Arguments: y [N,Rows,C]; x [N,Rows,C], gamma [N,C].
type AdaptiveRMSNorm struct{ N, Rows, C int }

func (s AdaptiveRMSNorm) Validate() error {
	return positive([]string{"N", "Rows", "C"}, s.N, s.Rows, s.C)
}

// sample is the kernel of one sample.
func (s AdaptiveRMSNorm) sample() RMSNorm { return RMSNorm{s.Rows, s.C} }

func (s AdaptiveRMSNorm) wide(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, s.N, s.Rows, s.C)
}

func (s AdaptiveRMSNorm) FLOPs() int64 { return int64(s.N) * s.sample().FLOPs() }

func (s AdaptiveRMSNorm) Args() []Arg {
	return []Arg{s.wide(actOut, "y"), s.wide(actIn, "x"), in("gamma", s.N, s.C)}
}

func (s AdaptiveRMSNorm) Grads() []Grad {
	return []Grad{grad("x", AdaptiveRMSNormGradX{s}, "dy", "x", "gamma"), grad("gamma", AdaptiveRMSNormGradGamma{s}, "dy", "x")}
}

func (s AdaptiveRMSNorm) Define(args ...[]float32) { bySample(s.N, s.sample(), args) }

// AdaptiveRMSNormGradX is the gradient of AdaptiveRMSNorm with respect to x, as in
// RMSNormGradX.
// Arguments: dx [N,Rows,C]; dy [N,Rows,C], x [N,Rows,C], gamma [N,C].
type AdaptiveRMSNormGradX struct{ AdaptiveRMSNorm }

// slope is the kernel of one sample.
func (s AdaptiveRMSNormGradX) slope() RMSNormGradX { return RMSNormGradX{Rows: s.Rows, C: s.C} }

func (s AdaptiveRMSNormGradX) FLOPs() int64 { return int64(s.N) * s.slope().FLOPs() }

func (s AdaptiveRMSNormGradX) Args() []Arg {
	return []Arg{s.wide(actOut, "dx"), s.wide(actIn, "dy"), s.wide(actIn, "x"), in("gamma", s.N, s.C)}
}

func (s AdaptiveRMSNormGradX) Grads() []Grad { return nil }

func (s AdaptiveRMSNormGradX) Define(args ...[]float32) {
	bySample(s.N, s.slope(), args)
}

// AdaptiveRMSNormGradGamma is, for each sample, the sum over its rows of
// dy·x·sqrt(C)/max(‖x‖, 1e-12).
// Arguments: dgamma [N,C]; dy [N,Rows,C], x [N,Rows,C].
type AdaptiveRMSNormGradGamma struct{ AdaptiveRMSNorm }

func (s AdaptiveRMSNormGradGamma) FLOPs() int64 {
	return int64(s.N) * RMSNormGradGamma(s.sample()).FLOPs()
}

func (s AdaptiveRMSNormGradGamma) Args() []Arg {
	return []Arg{out("dgamma", s.N, s.C), s.wide(actIn, "dy"), s.wide(actIn, "x")}
}

func (s AdaptiveRMSNormGradGamma) Grads() []Grad { return nil }

func (s AdaptiveRMSNormGradGamma) Define(args ...[]float32) {
	bySample(s.N, RMSNormGradGamma(s.sample()), args)
}

func (s AdaptiveRMSNorm) cpu(c *CPU) []stage { return stagesBySample(c, s.N, s.sample()) }
func (s AdaptiveRMSNormGradX) cpu(c *CPU) []stage {
	return stagesBySample(c, s.N, s.slope())
}
func (s AdaptiveRMSNormGradGamma) cpu(c *CPU) []stage {
	return stagesBySample(c, s.N, RMSNormGradGamma(s.sample()))
}

// bySample defines a kernel as another one for each of n samples, the arguments
// being those of the samples one after the other.
func bySample(n int, s Spec, args [][]float32) {
	part := make([][]float32, len(args))
	for i := range n {
		sampleOf(part, args, n, i)
		s.Define(part...)
	}
}

// sampleOf makes part the arguments of sample i.
func sampleOf(part, args [][]float32, n, i int) {
	for j, a := range args {
		size := len(a) / n
		part[j] = a[i*size : (i+1)*size]
	}
}

// stagesBySample is the CPU form of bySample: the samples' stages one after the
// other, prepared once, so that they share their memory. more are arguments that s
// has after those, the same for all samples.
func stagesBySample(c *CPU, n int, s Spec, more ...[]float32) []stage {
	part := append(make([][]float32, len(s.Args())-len(more)), more...)
	inner := s.cpu(c)
	var stages []stage
	for i := range n {
		stages = append(stages, stage{1, func(args [][]float32, _, _ int) { sampleOf(part, args, n, i) }})
		for _, st := range inner {
			stages = append(stages, stage{st.tasks, func(_ [][]float32, task, worker int) { st.do(part, task, worker) }})
		}
	}
	return stages
}

// Normalize gives every row the norm 1: y = x/max(‖x‖, 1e-12). Spherical LFQ uses
// it. Arguments: y; x, both [Rows,C].
type Normalize struct{ Rows, C int }

func (s Normalize) Validate() error { return positive([]string{"Rows", "C"}, s.Rows, s.C) }
func (s Normalize) Args() []Arg     { return []Arg{actOut("y", s.Rows, s.C), actIn("x", s.Rows, s.C)} }
func (s Normalize) FLOPs() int64    { return 3 * int64(s.Rows) * int64(s.C) }

func (s Normalize) Grads() []Grad {
	return []Grad{grad("x", NormalizeGrad(s), "dy", "x")}
}

func (s Normalize) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for r := range s.Rows {
		row := x[r*s.C:][:s.C]
		scale, _ := unitScale(row)
		for c, v := range row {
			y[r*s.C+c] = float32(float64(v) * scale)
		}
	}
}

// unitScale is 1/max(‖x‖, 1e-12), and 1/‖x‖², or 0 where the floor holds.
func unitScale(x []float32) (scale, inv float64) {
	scale, inv = rmsScale(x)
	return scale / math.Sqrt(float64(len(x))), inv
}

// NormalizeGrad is the gradient of Normalize: dx = (dy - x·(dy·x)/‖x‖²)/‖x‖, and
// dy/1e-12 where the floor of the norm holds.
// Arguments: dx; dy, x, all [Rows,C].
type NormalizeGrad struct{ Rows, C int }

func (s NormalizeGrad) Validate() error { return Normalize(s).Validate() }
func (s NormalizeGrad) FLOPs() int64    { return 8 * int64(s.Rows) * int64(s.C) }

func (s NormalizeGrad) Args() []Arg {
	return []Arg{actOut("dx", s.Rows, s.C), actIn("dy", s.Rows, s.C), actIn("x", s.Rows, s.C)}
}

func (s NormalizeGrad) Grads() []Grad { return nil }

func (s NormalizeGrad) Define(args ...[]float32) {
	dx, dy, x := args[0], args[1], args[2]
	for r := range s.Rows {
		row := x[r*s.C:][:s.C]
		scale, inv := unitScale(row)
		along := 0.
		for c, v := range row {
			along += float64(dy[r*s.C+c]) * float64(v)
		}
		for c, v := range row {
			dx[r*s.C+c] = float32(scale * (float64(dy[r*s.C+c]) - float64(v)*along*inv))
		}
	}
}

// Rows are short, as many values as a code has bits: the definitions are fast enough.

func (s Normalize) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		Normalize{to - from, s.C}.Define(args[0][from*s.C:to*s.C], args[1][from*s.C:to*s.C])
	})
}

func (s NormalizeGrad) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		NormalizeGrad{to - from, s.C}.Define(args[0][from*s.C:to*s.C], args[1][from*s.C:to*s.C], args[2][from*s.C:to*s.C])
	})
}
