package kernels

// A task is a frame. Scratch of a task: P attention weights, then P gradients.

func (s FramePool) cpu(c *CPU) []stage {
	c.reserve(s.P)
	return []stage{{s.F, func(args [][]float32, f, worker int) {
		a := c.scratch[worker][:s.P]
		ctx, x, k := args[0][f*s.C:][:s.C], args[1][f*s.P*s.C:][:s.P*s.C], args[2]
		attend(a, x, k)
		clear(ctx)
		for p, w := range a {
			axpy(ctx, x[p*s.C:][:s.C], w)
		}
	}}}
}

func (s FramePoolGradX) cpu(c *CPU) []stage {
	c.reserve(2 * s.P)
	return []stage{{s.F, func(args [][]float32, f, worker int) {
		a, ds := c.scratch[worker][:s.P], c.scratch[worker][s.P:2*s.P]
		dctx, x, k := args[1][f*s.C:][:s.C], args[2][f*s.P*s.C:][:s.P*s.C], args[3]
		attendGrad(a, ds, x, k, dctx)
		for p, w := range a {
			dx, d := args[0][(f*s.P+p)*s.C:][:s.C], ds[p]
			for i, v := range dctx {
				dx[i] = w*v + d*k[i]
			}
		}
	}}}
}

func (s FramePoolGradK) cpu(c *CPU) []stage {
	c.reserve(2*s.P + s.C)
	part := make([]float32, s.F*s.C)
	return []stage{
		{s.F, func(args [][]float32, f, worker int) {
			a, ds := c.scratch[worker][:s.P], c.scratch[worker][s.P:2*s.P]
			x := args[2][f*s.P*s.C:][:s.P*s.C]
			attendGrad(a, ds, x, args[3], args[1][f*s.C:][:s.C])
			sum := part[f*s.C:][:s.C]
			clear(sum)
			for p, d := range ds {
				axpy(sum, x[p*s.C:][:s.C], d)
			}
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
func attend(a, x, k []float32) {
	c := len(k)
	for p := range a {
		a[p] = dot(x[p*c:][:c], k)
	}
	peak := a[0]
	for _, v := range a {
		peak = max(peak, v)
	}
	sum := 0.
	for p, v := range a {
		a[p] = exp32(v - peak)
		sum += float64(a[p])
	}
	scale := float32(1 / sum)
	for p := range a {
		a[p] *= scale
	}
}

func attendGrad(a, ds, x, k, dctx []float32) {
	attend(a, x, k)
	c, mean := len(k), 0.
	for p := range ds {
		ds[p] = dot(x[p*c:][:c], dctx)
		mean += float64(a[p]) * float64(ds[p])
	}
	for p := range ds {
		ds[p] = a[p] * (ds[p] - float32(mean))
	}
}

// dot is the inner product of two slices of one length.
func dot(x, y []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(x) >= 4 && len(y) >= 4 {
		s0, s1, s2, s3 = s0+x[0]*y[0], s1+x[1]*y[1], s2+x[2]*y[2], s3+x[3]*y[3]
		x, y = x[4:], y[4:]
	}
	for i, v := range x {
		s0 += v * y[i]
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

func (s FrameGateGradG) cpu(*CPU) []stage {
	return []stage{{s.F, func(args [][]float32, f, _ int) {
		dg := args[0][f*s.C:][:s.C]
		clear(dg)
		for p := range s.P {
			dy, x := args[1][(f*s.P+p)*s.C:][:s.C], args[2][(f*s.P+p)*s.C:][:s.C]
			for i, v := range x {
				dg[i] += dy[i] * v
			}
		}
	}}}
}
