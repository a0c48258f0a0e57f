package kernels

// RMSNormTangent is the derivative of RMSNorm along v, a direction of x. It is what the
// gradient RMSNormGradX has as gradient with respect to dy; with s = sqrt(C)/‖x‖,
//
//	t = s·(v - x·(v·x)/‖x‖²)·gamma
//
// and without the second term where the floor of the norm holds.
// Arguments: t [Rows,C]; v [Rows,C], x [Rows,C], gamma [C].
type RMSNormTangent struct{ Rows, C int }

func (s RMSNormTangent) Validate() error { return RMSNorm(s).Validate() }
func (s RMSNormTangent) FLOPs() int64    { return 9 * int64(s.Rows) * int64(s.C) }

func (s RMSNormTangent) Args() []Arg {
	return []Arg{out("t", s.Rows, s.C), in("v", s.Rows, s.C), in("x", s.Rows, s.C), in("gamma", s.C)}
}

func (s RMSNormTangent) Grads() []Grad {
	return []Grad{
		grad("v", RMSNormGradX{Rows: s.Rows, C: s.C}, "dt", "x", "gamma"),
		grad("x", RMSNormTangentGradX(s), "dt", "v", "x", "gamma"),
		grad("gamma", RMSNormTangentGradGamma(s), "dt", "v", "x"),
	}
}

func (s RMSNormTangent) Define(args ...[]float32) {
	gamma := args[3]
	for i := range s.Rows {
		t, v, x := s.row(args[0], i), s.row(args[1], i), s.row(args[2], i)
		scale, along := tangentAlong(v, x)
		for c := range t {
			t[c] = float32(scale * (float64(v[c]) - float64(x[c])*along) * float64(gamma[c]))
		}
	}
}

func (s RMSNormTangent) row(x []float32, i int) []float32 { return x[i*s.C:][:s.C] }

// tangentAlong is s, and (v·x)/‖x‖² or 0 where the floor holds.
func tangentAlong(v, x []float32) (scale, along float64) {
	scale, inv := rmsScale(x)
	for c := range x {
		along += float64(v[c]) * float64(x[c])
	}
	return scale, along * inv
}

// RMSNormTangentGradX is the gradient of RMSNormTangent with respect to x; with
// g = dt·gamma and n = ‖x‖²,
//
//	dx = s/n·(3·(g·x)(v·x)/n·x - (v·x)·g - (g·x)·v - (v·g)·x)
//
// and 0 where the floor of the norm holds.
// Arguments: dx [Rows,C]; dt [Rows,C], v [Rows,C], x [Rows,C], gamma [C].
type RMSNormTangentGradX struct{ Rows, C int }

func (s RMSNormTangentGradX) Validate() error { return RMSNorm(s).Validate() }
func (s RMSNormTangentGradX) FLOPs() int64    { return 17 * int64(s.Rows) * int64(s.C) }
func (s RMSNormTangentGradX) Grads() []Grad   { return nil }

func (s RMSNormTangentGradX) Args() []Arg {
	return []Arg{out("dx", s.Rows, s.C), in("dt", s.Rows, s.C), in("v", s.Rows, s.C), in("x", s.Rows, s.C), in("gamma", s.C)}
}

func (s RMSNormTangentGradX) Define(args ...[]float32) { s.rows(args, 0, s.Rows) }

func (s RMSNormTangentGradX) rows(args [][]float32, from, to int) {
	gamma := args[4]
	for i := from; i < to; i++ {
		row := func(k int) []float32 { return args[k][i*s.C:][:s.C] }
		dx, dt, v, x := row(0), row(1), row(2), row(3)
		scale, inv := rmsScale(x)
		gx, vx, vg := 0., 0., 0.
		for c := range x {
			g := float64(dt[c]) * float64(gamma[c])
			gx += g * float64(x[c])
			vx += float64(v[c]) * float64(x[c])
			vg += float64(v[c]) * g
		}
		scale *= inv
		ofX := scale * (3*gx*vx*inv - vg)
		for c := range x {
			dx[c] = float32(ofX*float64(x[c]) - scale*(vx*float64(dt[c])*float64(gamma[c])+gx*float64(v[c])))
		}
	}
}

// RMSNormTangentGradGamma is the gradient of RMSNormTangent with respect to gamma, the
// sum over rows of dt·s·(v - x·(v·x)/‖x‖²).
// Arguments: dgamma [C]; dt [Rows,C], v [Rows,C], x [Rows,C].
type RMSNormTangentGradGamma struct{ Rows, C int }

func (s RMSNormTangentGradGamma) Validate() error { return RMSNorm(s).Validate() }
func (s RMSNormTangentGradGamma) FLOPs() int64    { return 10 * int64(s.Rows) * int64(s.C) }
func (s RMSNormTangentGradGamma) Grads() []Grad   { return nil }

func (s RMSNormTangentGradGamma) Args() []Arg {
	return []Arg{out("dgamma", s.C), in("dt", s.Rows, s.C), in("v", s.Rows, s.C), in("x", s.Rows, s.C)}
}

func (s RMSNormTangentGradGamma) Define(args ...[]float32) {
	sum := make([]float64, s.C)
	s.add(sum, args, 0, s.Rows)
	for c, v := range sum {
		args[0][c] = float32(v)
	}
}

func (s RMSNormTangentGradGamma) add(sum []float64, args [][]float32, from, to int) {
	for i := from; i < to; i++ {
		row := func(k int) []float32 { return args[k][i*s.C:][:s.C] }
		dt, v, x := row(1), row(2), row(3)
		scale, along := tangentAlong(v, x)
		for c := range dt {
			sum[c] += float64(dt[c]) * scale * (float64(v[c]) - float64(x[c])*along)
		}
	}
}

// The CPU has the definitions' arithmetic in tasks of rows.

func (s RMSNormTangent) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, func(args [][]float32, from, to int) {
		part := func(k int) []float32 { return args[k][from*s.C : to*s.C] }
		RMSNormTangent{Rows: to - from, C: s.C}.Define(part(0), part(1), part(2), args[3])
	})
}

func (s RMSNormTangentGradX) cpu(*CPU) []stage {
	return rowwise(s.Rows, s.C, s.rows)
}

func (s RMSNormTangentGradGamma) cpu(c *CPU) []stage {
	return columnSums(1, s.Rows, s.C, func(acc []float64, args [][]float32, from, to, _ int) { s.add(acc, args, from, to) })
}
