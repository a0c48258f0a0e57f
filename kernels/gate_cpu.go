package kernels

import "math"

// A task is a frame. Softmax and sums over pixels are float64: gradients behind a
// gate are small differences of large terms.

func (s FramePool) cpu(c *CPU) []stage {
	weights, sums := make([]float64, c.workers*s.P), make([]float64, c.workers*s.C)
	return []stage{{s.F, func(args [][]float32, f, worker int) {
		a := weights[worker*s.P:][:s.P]
		ctx, x, k := args[0][f*s.C:][:s.C], args[1][f*s.P*s.C:][:s.P*s.C], args[2]
		attend(a, x, k)
		weighRows(ctx, sums[worker*s.C:][:s.C], x, a)
	}}}
}

func (s FramePoolGradX) cpu(c *CPU) []stage {
	weights := make([]float64, 2*c.workers*s.P)
	return []stage{{s.F, func(args [][]float32, f, worker int) {
		a, ds := weights[2*worker*s.P:][:s.P], weights[(2*worker+1)*s.P:][:s.P]
		dctx, x, k := args[1][f*s.C:][:s.C], args[2][f*s.P*s.C:][:s.P*s.C], args[3]
		attendGrad(a, ds, x, k, dctx)
		for p, w := range a {
			dx, w, d := args[0][(f*s.P+p)*s.C:][:s.C], float32(w), float32(ds[p])
			for i, v := range dctx {
				dx[i] = w*v + d*k[i]
			}
		}
	}}}
}

func (s FramePoolGradK) cpu(c *CPU) []stage {
	weights := make([]float64, 2*c.workers*s.P)
	part, sums := make([]float32, s.F*s.C), make([]float64, c.workers*s.C)
	return []stage{
		{s.F, func(args [][]float32, f, worker int) {
			a, ds := weights[2*worker*s.P:][:s.P], weights[(2*worker+1)*s.P:][:s.P]
			x := args[2][f*s.P*s.C:][:s.P*s.C]
			attendGrad(a, ds, x, args[3], args[1][f*s.C:][:s.C])
			weighRows(part[f*s.C:][:s.C], sums[worker*s.C:][:s.C], x, ds)
		}},
		{1, func(args [][]float32, _, _ int) {
			for j := range args[0] {
				sum := 0.
				for i := j; i < len(part); i += s.C {
					sum += float64(part[i])
				}
				args[0][j] = float32(sum)
			}
		}},
	}
}

// attend writes the softmax over the pixels of x [P,C] of x·k to a [P].
func attend(a []float64, x, k []float32) {
	c, peak := len(k), math.Inf(-1)
	for p := range a {
		a[p] = dot64(x[p*c:][:c], k)
		peak = max(peak, a[p])
	}
	sum := 0.
	for p, v := range a {
		a[p] = math.Exp(v - peak)
		sum += a[p]
	}
	for p := range a {
		a[p] /= sum
	}
}

// attendGrad writes the softmax to a and the gradient of its logits to ds.
func attendGrad(a, ds []float64, x, k, dctx []float32) {
	attend(a, x, k)
	c, mean := len(k), 0.
	for p := range ds {
		ds[p] = dot64(x[p*c:][:c], dctx)
		mean += a[p] * ds[p]
	}
	for p := range ds {
		ds[p] = a[p] * (ds[p] - mean)
	}
}

// weighRows is dst = sum over the rows of x [P,C] of weights_p·x_p; sum has room for it.
func weighRows(dst []float32, sum []float64, x []float32, weights []float64) {
	c := len(dst)
	clear(sum)
	for p, w := range weights {
		for i, v := range x[p*c:][:c] {
			sum[i] += w * float64(v)
		}
	}
	for i, v := range sum {
		dst[i] = float32(v)
	}
}

// dot64 is the inner product of two slices of one length.
func dot64(x, y []float32) float64 {
	var s0, s1, s2, s3 float64
	for len(x) >= 4 && len(y) >= 4 {
		s0, s1 = s0+float64(x[0])*float64(y[0]), s1+float64(x[1])*float64(y[1])
		s2, s3 = s2+float64(x[2])*float64(y[2]), s3+float64(x[3])*float64(y[3])
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s0 += float64(v) * float64(y[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// axpy is y += a·x.
func axpy(y, x []float32, a float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}

func (s FrameGate) cpu(*CPU) []stage {
	rows := s.F * s.P
	per := rowsPerTask(s.C)
	return []stage{{blocks(rows, per), func(args [][]float32, t, _ int) {
		from, to := span(t, rows, per)
		for r := from; r < to; r++ {
			y, x, g := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C], args[2][r/s.P*s.C:][:s.C]
			for i, v := range x {
				y[i] = v * g[i]
			}
		}
	}}}
}

func (s FrameGateGradG) cpu(c *CPU) []stage {
	sums := make([]float64, c.workers*s.C)
	return []stage{{s.F, func(args [][]float32, f, worker int) {
		sum := sums[worker*s.C:][:s.C]
		clear(sum)
		for p := range s.P {
			dy, x := args[1][(f*s.P+p)*s.C:][:s.C], args[2][(f*s.P+p)*s.C:][:s.C]
			for i, v := range x {
				sum[i] += float64(dy[i]) * float64(v)
			}
		}
		for i, v := range sum {
			args[0][f*s.C+i] = float32(v)
		}
	}}}
}
