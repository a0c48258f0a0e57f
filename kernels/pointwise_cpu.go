package kernels

import "math"

// pointwise splits n values into tasks; do gets a range.
func pointwise(n int, do func(args [][]float32, from, to int)) []stage {
	return []stage{{blocks(n, block), func(args [][]float32, t, _ int) {
		from, to := span(t, n, block)
		do(args, from, to)
	}}}
}

func (s Act) cpu(c *CPU) []stage {
	return pointwise(s.Len, func(a [][]float32, from, to int) { c.applySlice(s.Kind, a[0][from:to], a[1][from:to]) })
}

func (s ActGrad) cpu(c *CPU) []stage {
	return pointwise(s.Len, func(a [][]float32, from, to int) {
		c.gradSlice(s.Kind, a[0][from:to], a[1][from:to], a[2][from:to])
	})
}

// applySlice is dst = kind(src); dst may be src.
func (c *CPU) applySlice(kind Activation, dst, src []float32) {
	src = src[:len(dst)]
	done := vectorApply(c.isa, kind, dst, src)
	dst, src = dst[done:], src[done:]
	switch kind {
	case None:
		copy(dst, src)
	case ELU:
		for i, x := range src {
			if x > 0 {
				dst[i] = x
			} else {
				dst[i] = expm132(x)
			}
		}
	case SiLU:
		for i, x := range src {
			dst[i] = x * sigmoid32(x)
		}
	case LeakyReLU:
		for i, x := range src {
			dst[i] = max(x, leak*x)
		}
	case Sigmoid:
		for i, x := range src {
			dst[i] = sigmoid32(x)
		}
	case Tanh:
		for i, x := range src {
			dst[i] = tanh32(x)
		}
	default: // GELU; SoftClamp, whose rounding LFQ's entropies magnify 400 times
		for i, x := range src {
			dst[i] = float32(kind.Apply(float64(x)))
		}
	}
}

// gradSlice is dx = dy·kind'(s), s as in ActGrad; dx may be dy.
func (c *CPU) gradSlice(kind Activation, dx, dy, s []float32) {
	dy, s = dy[:len(dx)], s[:len(dx)]
	done := vectorGrad(c.isa, kind, dx, dy, s)
	dx, dy, s = dx[done:], dy[done:], s[done:]
	switch kind {
	case None:
		copy(dx, dy)
	case ELU:
		for i, y := range s {
			dx[i] = dy[i] * (min(y, 0) + 1)
		}
	case SiLU:
		for i, x := range s {
			p := sigmoid32(x)
			dx[i] = dy[i] * p * (1 + x*(1-p))
		}
	case LeakyReLU:
		for i, y := range s {
			if y > 0 {
				dx[i] = dy[i]
			} else {
				dx[i] = leak * dy[i]
			}
		}
	case Sigmoid:
		for i, y := range s {
			dx[i] = dy[i] * y * (1 - y)
		}
	case Tanh:
		for i, y := range s {
			dx[i] = dy[i] * (1 - y*y)
		}
	case SoftClamp:
		for i, y := range s {
			y *= 1. / clampScale
			dx[i] = dy[i] * (1 - y*y)
		}
	default: // GELU
		for i, x := range s {
			v := float64(x)
			dx[i] = dy[i] * float32(normalCDF(v)+v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
		}
	}
}

func (s Add) cpu(*CPU) []stage {
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		addSlice(args[0][from:to], args[1][from:to], args[2][from:to])
	})
}

// addSlice is y = a+b; y may be a or b.
func addSlice(y, a, b []float32) {
	for len(y) >= 8 && len(a) >= 8 && len(b) >= 8 {
		p, q, r := (*[8]float32)(y), (*[8]float32)(a), (*[8]float32)(b)
		p[0], p[1], p[2], p[3] = q[0]+r[0], q[1]+r[1], q[2]+r[2], q[3]+r[3]
		p[4], p[5], p[6], p[7] = q[4]+r[4], q[5]+r[5], q[6]+r[6], q[7]+r[7]
		y, a, b = y[8:], a[8:], b[8:]
	}
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func (s Affine) cpu(*CPU) []stage {
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		y, x := args[0][from:to], args[1][from:to]
		for i, v := range x {
			y[i] = s.Mul*v + s.Add
		}
	})
}

func (s Fill) cpu(*CPU) []stage {
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		y := args[0][from:to]
		for i := range y {
			y[i] = s.Value
		}
	})
}
