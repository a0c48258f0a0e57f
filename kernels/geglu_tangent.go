package kernels

import "math"

// GEGLUTangent is the derivative of GEGLU along v, a direction of x. It is what the
// gradient GEGLUGrad has as gradient with respect to dy; v has halves du and dg as x has
// u and g.
//
//	t = du·GELU(g) + dg·u·GELU'(g)
//
// Arguments: t [Rows,C]; v [Rows,2C], x [Rows,2C].
type GEGLUTangent struct{ Rows, C int }

func (s GEGLUTangent) Validate() error { return GEGLU(s).Validate() }
func (s GEGLUTangent) FLOPs() int64    { return 32 * int64(s.Rows) * int64(s.C) }

func (s GEGLUTangent) Args() []Arg {
	return []Arg{out("t", s.Rows, s.C), in("v", s.Rows, 2*s.C), in("x", s.Rows, 2*s.C)}
}

func (s GEGLUTangent) Grads() []Grad {
	return []Grad{grad("v", GEGLUGrad(s), "dt", "x"), grad("x", GEGLUTangentGrad(s), "dt", "v", "x")}
}

func (s GEGLUTangent) Define(args ...[]float32) {
	t, v, x := args[0], args[1], args[2]
	for r := range s.Rows {
		for c := range s.C {
			i, j := 2*r*s.C+c, (2*r+1)*s.C+c
			u, g := float64(x[i]), float64(x[j])
			t[r*s.C+c] = float32(float64(v[i])*GELU.Apply(g) + float64(v[j])*u*GELU.Slope(g))
		}
	}
}

// GEGLUTangentGrad is the gradient of GEGLUTangent with respect to x, whose halves are
//
//	dt·dg·GELU'(g) and dt·(du·GELU'(g) + dg·u·GELU''(g))
//
// Arguments: dx [Rows,2C]; dt [Rows,C], v [Rows,2C], x [Rows,2C].
type GEGLUTangentGrad struct{ Rows, C int }

func (s GEGLUTangentGrad) Validate() error { return GEGLU(s).Validate() }
func (s GEGLUTangentGrad) FLOPs() int64    { return 48 * int64(s.Rows) * int64(s.C) }
func (s GEGLUTangentGrad) Grads() []Grad   { return nil }

func (s GEGLUTangentGrad) Args() []Arg {
	return []Arg{out("dx", s.Rows, 2*s.C), in("dt", s.Rows, s.C), in("v", s.Rows, 2*s.C), in("x", s.Rows, 2*s.C)}
}

// geluBend is the second derivative of GELU: φ(g)·(2 - g²).
func geluBend(g float64) float64 { return math.Exp(-g*g/2) / math.Sqrt(2*math.Pi) * (2 - g*g) }

func (s GEGLUTangentGrad) Define(args ...[]float32) {
	dx, dt, v, x := args[0], args[1], args[2], args[3]
	for r := range s.Rows {
		for c := range s.C {
			i, j := 2*r*s.C+c, (2*r+1)*s.C+c
			d, u, g := float64(dt[r*s.C+c]), float64(x[i]), float64(x[j])
			dx[i] = float32(d * float64(v[j]) * GELU.Slope(g))
			dx[j] = float32(d * (float64(v[i])*GELU.Slope(g) + float64(v[j])*u*geluBend(g)))
		}
	}
}

// GEGLUGrad's vectors give both halves: dy·GELU(g) and dy·u·GELU'(g).

func (s GEGLUTangent) cpu(c *CPU) []stage {
	back, add := c.vec().gegluGrad, c.vec().add
	c.reserve(2 * s.C)
	return gegluRows(s.Rows, s.C, func(args [][]float32, r, worker int) {
		unused, t := c.scratch[worker][:s.C], args[0][r*s.C:][:s.C]
		v, x := args[1][2*r*s.C:][:2*s.C], args[2][2*r*s.C:][:2*s.C]
		slope := c.scratch[worker][s.C : 2*s.C]
		back(unused, slope, v[s.C:], x[:s.C], x[s.C:])
		back(t, unused, v[:s.C], x[:s.C], x[s.C:])
		add(t, t, slope)
	})
}

func (s GEGLUTangentGrad) cpu(c *CPU) []stage {
	back := c.vec().gegluGrad
	c.reserve(s.C)
	return gegluRows(s.Rows, s.C, func(args [][]float32, r, worker int) {
		unused, dx, dt := c.scratch[worker][:s.C], args[0][2*r*s.C:][:2*s.C], args[1][r*s.C:][:s.C]
		v, x := args[2][2*r*s.C:][:2*s.C], args[3][2*r*s.C:][:2*s.C]
		u, g := x[:s.C], x[s.C:]
		back(unused, dx[:s.C], dt, v[s.C:], g)
		back(unused, dx[s.C:], dt, v[:s.C], g)
		for i, d := range dt {
			dx[s.C+i] += d * v[s.C+i] * u[i] * float32(geluBend(float64(g[i])))
		}
	})
}

// gegluRows splits rows of 2c values into tasks; do gets a row and the worker.
func gegluRows(rows, c int, do func(args [][]float32, r, worker int)) []stage {
	per := rowsPerTask(2 * c)
	return []stage{{ceilDiv(rows, per), func(args [][]float32, t, worker int) {
		from, to := span(t, rows, per)
		for r := from; r < to; r++ {
			do(args, r, worker)
		}
	}}}
}
