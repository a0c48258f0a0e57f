package kernels

// GEGLU multiplies the first half of each row by the GELU of the second (Shazeer,
// "GLU variants improve transformer", 2020).
//
//	y_rc = u_rc·GELU(g_rc)
//
// Arguments: y [Rows,C]; x [Rows,2C], its channels u, then g.
type GEGLU struct{ Rows, C int }

func (s GEGLU) Validate() error { return positive([]string{"Rows", "C", "2"}, s.Rows, s.C, 2) }
func (s GEGLU) Args() []Arg     { return []Arg{actOut("y", s.Rows, s.C), actIn("x", s.Rows, 2*s.C)} }
func (s GEGLU) FLOPs() int64    { return 26 * int64(s.Rows) * int64(s.C) }

func (s GEGLU) Grads() []Grad {
	return []Grad{grad("x", GEGLUGrad(s), "dy", "x")}
}

func (s GEGLU) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for r := range s.Rows {
		for c := range s.C {
			u, g := x[2*r*s.C+c], x[(2*r+1)*s.C+c]
			y[r*s.C+c] = float32(float64(u) * GELU.Apply(float64(g)))
		}
	}
}

// GEGLUGrad is the gradient of GEGLU: du = dy·GELU(g), dg = dy·u·GELU'(g).
// Arguments: dx [Rows,2C]; dy [Rows,C], x like dx.
type GEGLUGrad struct{ Rows, C int }

func (s GEGLUGrad) Validate() error { return GEGLU(s).Validate() }
func (s GEGLUGrad) FLOPs() int64    { return 30 * int64(s.Rows) * int64(s.C) }

func (s GEGLUGrad) Args() []Arg {
	return []Arg{actOut("dx", s.Rows, 2*s.C), actIn("dy", s.Rows, s.C), actIn("x", s.Rows, 2*s.C)}
}

func (s GEGLUGrad) Grads() []Grad {
	return []Grad{grad("dy", GEGLUTangent(s), "ddx", "x"), grad("x", GEGLUTangentGrad(s), "dy", "ddx", "x")}
}

func (s GEGLUGrad) Define(args ...[]float32) {
	dx, dy, x := args[0], args[1], args[2]
	for r := range s.Rows {
		for c := range s.C {
			i, j := 2*r*s.C+c, (2*r+1)*s.C+c
			d, u, g := float64(dy[r*s.C+c]), float64(x[i]), float64(x[j])
			dx[i] = float32(d * GELU.Apply(g))
			dx[j] = float32(d * u * GELU.Slope(g))
		}
	}
}

func (s GEGLU) cpu(c *CPU) []stage {
	geglu := c.vec().geglu
	return rowwise(s.Rows, 2*s.C, func(args [][]float32, from, to int) {
		for r := from; r < to; r++ {
			x := args[1][2*r*s.C:][:2*s.C]
			geglu(args[0][r*s.C:][:s.C], x[:s.C], x[s.C:])
		}
	})
}

func (s GEGLUGrad) cpu(c *CPU) []stage {
	back := c.vec().gegluGrad
	return rowwise(s.Rows, 2*s.C, func(args [][]float32, from, to int) {
		for r := from; r < to; r++ {
			dx, dy, x := args[0][2*r*s.C:][:2*s.C], args[1][r*s.C:][:s.C], args[2][2*r*s.C:][:2*s.C]
			back(dx[:s.C], dx[s.C:], dy, x[:s.C], x[s.C:])
		}
	})
}
