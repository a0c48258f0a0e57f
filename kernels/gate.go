package kernels

import (
	"fmt"
	"math"
	"slices"
)

// FramePool is squeeze-excite's context: per frame a softmax over the P pixels
// of x·k weighs the pixels.
//
//	a_p = softmax_p(x_p·k),  ctx = sum_p a_p x_p
//
// Arguments: ctx [F,C]; x [F,P,C], k [C].
type FramePool struct{ F, P, C int }

func (s FramePool) Validate() error { return poolOf(s.F, s.P, s.C) }
func (s FramePool) FLOPs() int64    { return 4 * int64(s.F) * int64(s.P) * int64(s.C) }

func (s FramePool) Args() []Arg {
	return []Arg{out("ctx", s.F, s.C), actIn("x", s.F, s.P, s.C), in("k", s.C)}
}

func (s FramePool) Grads() []Grad {
	return []Grad{grad("x", FramePoolGradX(s), "dctx", "x", "k"), grad("k", FramePoolGradK(s), "dctx", "x", "k")}
}

func (s FramePool) Define(args ...[]float32) {
	ctx, x, k := args[0], args[1], args[2]
	for f := range s.F {
		frame := x[f*s.P*s.C:][:s.P*s.C]
		a := attention(frame, k)
		for c := range s.C {
			sum := 0.
			for p := range a {
				sum += a[p] * float64(frame[p*s.C+c])
			}
			ctx[f*s.C+c] = float32(sum)
		}
	}
}

// FramePoolStats is FramePool that also gives the logarithm of the softmax's denominator, which
// SqueezeExciteGrad reads.
//
//	lse_f = log sum_p exp(x_p·k)
//
// Arguments: ctx [F,C], lse [F]; x [F,P,C], k [C].
type FramePoolStats struct{ F, P, C int }

func (s FramePoolStats) Validate() error { return poolOf(s.F, s.P, s.C) }
func (s FramePoolStats) FLOPs() int64    { return FramePool(s).FLOPs() }
func (s FramePoolStats) Grads() []Grad   { return nil }

func (s FramePoolStats) Args() []Arg {
	return []Arg{out("ctx", s.F, s.C), out("lse", s.F), actIn("x", s.F, s.P, s.C), in("k", s.C)}
}

func (s FramePoolStats) Define(args ...[]float32) {
	lse, x, k := args[1], args[2], args[3]
	FramePool(s).Define(args[0], x, k)
	for f := range lse {
		logits := products(x[f*s.P*s.C:][:s.P*s.C], k)
		peak, sum := slices.Max(logits), 0.
		for _, v := range logits {
			sum += math.Exp(v - peak)
		}
		lse[f] = float32(peak + math.Log(sum))
	}
}

// FramePoolGradX is the gradient of FramePool with respect to x.
//
//	ds_p = a_p (x_p·dctx - ctx·dctx),  dx_p = a_p dctx + ds_p k
//
// Arguments: dx [F,P,C]; dctx [F,C], x [F,P,C], k [C].
type FramePoolGradX struct{ F, P, C int }

func (s FramePoolGradX) Validate() error { return poolOf(s.F, s.P, s.C) }
func (s FramePoolGradX) FLOPs() int64    { return 7 * int64(s.F) * int64(s.P) * int64(s.C) }

func (s FramePoolGradX) Args() []Arg {
	return []Arg{actOut("dx", s.F, s.P, s.C), in("dctx", s.F, s.C), actIn("x", s.F, s.P, s.C), in("k", s.C)}
}

func (s FramePoolGradX) Grads() []Grad { return nil }

func (s FramePoolGradX) Define(args ...[]float32) {
	dx, dctx, x, k := args[0], args[1], args[2], args[3]
	for f := range s.F {
		frame, d := x[f*s.P*s.C:][:s.P*s.C], dctx[f*s.C:][:s.C]
		a, ds := attentionGrad(frame, k, d)
		for p := range a {
			for c := range s.C {
				dx[(f*s.P+p)*s.C+c] = float32(a[p]*float64(d[c]) + ds[p]*float64(k[c]))
			}
		}
	}
}

// FramePoolGradK is the gradient of FramePool with respect to k, the sum of
// ds_p x_p over all pixels of all frames, ds as in FramePoolGradX.
// Arguments: dk [C]; dctx [F,C], x [F,P,C], k [C].
type FramePoolGradK struct{ F, P, C int }

func (s FramePoolGradK) Validate() error { return poolOf(s.F, s.P, s.C) }
func (s FramePoolGradK) FLOPs() int64    { return 6 * int64(s.F) * int64(s.P) * int64(s.C) }

func (s FramePoolGradK) Args() []Arg {
	return []Arg{out("dk", s.C), in("dctx", s.F, s.C), actIn("x", s.F, s.P, s.C), in("k", s.C)}
}

func (s FramePoolGradK) Grads() []Grad { return nil }

func (s FramePoolGradK) Define(args ...[]float32) {
	dk, dctx, x, k := args[0], args[1], args[2], args[3]
	sum := make([]float64, s.C)
	for f := range s.F {
		frame := x[f*s.P*s.C:][:s.P*s.C]
		_, ds := attentionGrad(frame, k, dctx[f*s.C:][:s.C])
		for p := range ds {
			for c := range sum {
				sum[c] += ds[p] * float64(frame[p*s.C+c])
			}
		}
	}
	for c := range dk {
		dk[c] = float32(sum[c])
	}
}

// attention is the softmax over the pixels of a frame [P,C] of their product with k.
func attention(frame, k []float32) []float64 {
	a := products(frame, k)
	peak := math.Inf(-1)
	for _, v := range a {
		peak = max(peak, v)
	}
	sum := 0.
	for p, v := range a {
		a[p] = math.Exp(v - peak)
		sum += a[p]
	}
	for p := range a {
		a[p] /= sum
	}
	return a
}

// attentionGrad gives the attention and the gradient of its logits.
func attentionGrad(frame, k, dctx []float32) (a, ds []float64) {
	a, ds = attention(frame, k), products(frame, dctx)
	mean := 0.
	for p := range a {
		mean += a[p] * ds[p]
	}
	for p := range a {
		ds[p] = a[p] * (ds[p] - mean)
	}
	return a, ds
}

// products is the product of every pixel of a frame with k.
func products(frame, k []float32) []float64 {
	y := make([]float64, len(frame)/len(k))
	for p := range y {
		for c, v := range k {
			y[p] += float64(v) * float64(frame[p*len(k)+c])
		}
	}
	return y
}

// FrameGate is y_fpc = x_fpc g_fc + r_fpc: one gain for each channel of a frame, then
// what goes around the block. Without residual it is its own gradient with respect to x,
// with dy in place of x.
// Arguments: y [F,P,C]; x [F,P,C], g [F,C], with Residual r [F,P,C].
type FrameGate struct {
	F, P, C  int
	Residual bool
}

func (s FrameGate) Validate() error { return poolOf(s.F, s.P, s.C) }

func (s FrameGate) FLOPs() int64 {
	n := int64(s.F) * int64(s.P) * int64(s.C)
	if s.Residual {
		n *= 2
	}
	return n
}

func (s FrameGate) Args() []Arg {
	args := []Arg{actOut("y", s.F, s.P, s.C), actIn("x", s.F, s.P, s.C), in("g", s.F, s.C)}
	if s.Residual {
		args = append(args, actIn("r", s.F, s.P, s.C))
	}
	return args
}

func (s FrameGate) Grads() []Grad {
	if s.Residual {
		return nil
	}
	return []Grad{grad("x", s, "dy", "g"), grad("g", FrameGateGradG{F: s.F, P: s.P, C: s.C}, "dy", "x")}
}

func (s FrameGate) Define(args ...[]float32) {
	y, x, g := args[0], args[1], args[2]
	for i := range y {
		f, c := i/(s.P*s.C), i%s.C
		y[i] = x[i] * g[f*s.C+c]
		if s.Residual {
			y[i] += args[3][i]
		}
	}
}

// SqueezeExciteGradX is the gradient of squeeze-excite with respect to its input x: of
// FrameGate, whose gains are a function of the context, and of the context, FramePool.
//
//	dx_p = (dy_p·g + a_p dctx + ds_p k)·Act'(x_p), a and ds as in FramePoolGradX
//
// Act is the activation in front, whose output x is; its slope must be a function of
// that (FromOutput).
// Arguments: dx [F,P,C]; dy [F,P,C], g [F,C], dctx [F,C], x [F,P,C], k [C].
type SqueezeExciteGradX struct {
	F, P, C int
	Act     Activation
}

func (s SqueezeExciteGradX) Validate() error {
	if err := s.Act.validate(); err != nil {
		return err
	}
	if !s.Act.FromOutput() {
		return fmt.Errorf("the slope of %v is no function of its output, want one that is", s.Act)
	}
	return poolOf(s.F, s.P, s.C)
}

func (s SqueezeExciteGradX) FLOPs() int64 { return 12 * int64(s.F) * int64(s.P) * int64(s.C) }

func (s SqueezeExciteGradX) Args() []Arg {
	return []Arg{actOut("dx", s.F, s.P, s.C), actIn("dy", s.F, s.P, s.C), in("g", s.F, s.C), in("dctx", s.F, s.C), actIn("x", s.F, s.P, s.C), in("k", s.C)}
}

func (s SqueezeExciteGradX) Grads() []Grad { return nil }

func (s SqueezeExciteGradX) Define(args ...[]float32) {
	dx, dy, g, dctx, x, k := args[0], args[1], args[2], args[3], args[4], args[5]
	for f := range s.F {
		frame, d, gain := x[f*s.P*s.C:][:s.P*s.C], dctx[f*s.C:][:s.C], g[f*s.C:][:s.C]
		a, ds := attentionGrad(frame, k, d)
		for p := range a {
			for c := range s.C {
				i := (f*s.P+p)*s.C + c
				sum := float64(dy[i])*float64(gain[c]) + a[p]*float64(d[c]) + ds[p]*float64(k[c])
				dx[i] = float32(sum * s.Act.Slope(float64(x[i])))
			}
		}
	}
}

// SqueezeExciteGrad is SqueezeExciteGradX and FramePoolGradK at once. ctx and lse are the results
// of FramePoolStats, by which the softmax and the mean of its slopes need no pass of their own.
//
//	a_p  = exp(x_p·k - lse),  ds_p = a_p (x_p·dctx - ctx·dctx)
//	dx_p = (dy_p·g + a_p dctx + ds_p k)·Act'(x_p),  dk = sum_fp ds_p x_p
//
// Arguments: dx [F,P,C], dk [C]; dy [F,P,C], g [F,C], dctx [F,C], x [F,P,C], k [C], ctx [F,C], lse [F].
type SqueezeExciteGrad struct {
	F, P, C int
	Act     Activation
}

func (s SqueezeExciteGrad) Validate() error { return SqueezeExciteGradX(s).Validate() }
func (s SqueezeExciteGrad) FLOPs() int64    { return 18 * int64(s.F) * int64(s.P) * int64(s.C) }
func (s SqueezeExciteGrad) Grads() []Grad   { return nil }

func (s SqueezeExciteGrad) Args() []Arg {
	return []Arg{actOut("dx", s.F, s.P, s.C), out("dk", s.C), actIn("dy", s.F, s.P, s.C), in("g", s.F, s.C), in("dctx", s.F, s.C),
		actIn("x", s.F, s.P, s.C), in("k", s.C), in("ctx", s.F, s.C), in("lse", s.F)}
}

func (s SqueezeExciteGrad) Define(args ...[]float32) {
	dx, dk, dy, g, dctx, x, k, ctx, lse := args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8]
	total := make([]float64, s.C)
	for f := range s.F {
		frame, d, gain := x[f*s.P*s.C:][:s.P*s.C], dctx[f*s.C:][:s.C], g[f*s.C:][:s.C]
		mean := products(ctx[f*s.C:][:s.C], d)[0]
		u, v := products(frame, k), products(frame, d)
		for p := range s.P {
			a := math.Exp(u[p] - float64(lse[f]))
			ds := a * (v[p] - mean)
			for c := range s.C {
				i := (f*s.P+p)*s.C + c
				sum := float64(dy[i])*float64(gain[c]) + a*float64(d[c]) + ds*float64(k[c])
				dx[i] = float32(sum * s.Act.Slope(float64(x[i])))
				total[c] += ds * float64(x[i])
			}
		}
	}
	for c := range dk {
		dk[c] = float32(total[c])
	}
}

// FrameGateGradG is dg_fc = sum_p dy_fpc x_fpc.
// Arguments: dg [F,C]; dy [F,P,C], x [F,P,C].
type FrameGateGradG struct{ F, P, C int }

func (s FrameGateGradG) Validate() error { return poolOf(s.F, s.P, s.C) }
func (s FrameGateGradG) FLOPs() int64    { return 2 * int64(s.F) * int64(s.P) * int64(s.C) }

func (s FrameGateGradG) Args() []Arg {
	return []Arg{out("dg", s.F, s.C), actIn("dy", s.F, s.P, s.C), actIn("x", s.F, s.P, s.C)}
}

func (s FrameGateGradG) Grads() []Grad { return nil }

func (s FrameGateGradG) Define(args ...[]float32) {
	dg, dy, x := args[0], args[1], args[2]
	for f := range s.F {
		for c := range s.C {
			sum := 0.
			for p := range s.P {
				i := (f*s.P+p)*s.C + c
				sum += float64(dy[i]) * float64(x[i])
			}
			dg[f*s.C+c] = float32(sum)
		}
	}
}

func poolOf(f, p, c int) error { return positive([]string{"F", "P", "C"}, f, p, c) }
