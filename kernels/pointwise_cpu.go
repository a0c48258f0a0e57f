package kernels

import "math"

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
	c.vec().act[kind](dst, src[:len(dst)])
}

// gradSlice is dx = dy·kind'(s), s as in ActGrad; dx may be dy.
func (c *CPU) gradSlice(kind Activation, dx, dy, s []float32) {
	c.vec().grad[kind](dx, dy[:len(dx)], s[:len(dx)])
}

func plainCopy(dst, x []float32) { copy(dst, x) }

func plainELU(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		if x > 0 {
			dst[i] = x
		} else {
			dst[i] = expm132(x)
		}
	}
}

func plainSiLU(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = x * sigmoid32(x)
	}
}

func plainLeaky(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = max(x, leak*x)
	}
}

func plainLeaky5(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = max(x, leak5*x)
	}
}

func plainSigmoid(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = sigmoid32(x)
	}
}

func plainTanh(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = tanh32(x)
	}
}

func plainGELU(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		cdf, _ := normal32(x)
		dst[i] = x * cdf
	}
}

// plainSoftClamp is in float64 on every instruction set: LFQ's entropies magnify its
// roundings 400 times, and it only meets latents, which are few.
func plainSoftClamp(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = float32(clampScale * math.Tanh(float64(x)/clampScale))
	}
}

func plainReLU(dst, src []float32) {
	for i, x := range src[:len(dst)] {
		dst[i] = max(x, 0)
	}
}

func plainReLUGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		if y > 0 {
			dx[i] = dy[i]
		} else {
			dx[i] = 0
		}
	}
}

func plainCopyGrad(dx, dy, _ []float32) { copy(dx, dy) }

func plainELUGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		dx[i] = dy[i] * (min(y, 0) + 1)
	}
}

func plainSiLUGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, x := range s[:len(dx)] {
		p := sigmoid32(x)
		dx[i] = dy[i] * p * (1 + x*(1-p))
	}
}

func plainLeaky5Grad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		if y > 0 {
			dx[i] = dy[i]
		} else {
			dx[i] = leak5 * dy[i]
		}
	}
}

func plainLeakyGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		if y > 0 {
			dx[i] = dy[i]
		} else {
			dx[i] = leak * dy[i]
		}
	}
}

func plainSigmoidGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		dx[i] = dy[i] * y * (1 - y)
	}
}

func plainTanhGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		dx[i] = dy[i] * (1 - y*y)
	}
}

func plainGELUGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, x := range s[:len(dx)] {
		cdf, density := normal32(x)
		dx[i] = dy[i] * (cdf + x*density)
	}
}

func plainSoftClampGrad(dx, dy, s []float32) {
	dy = dy[:len(dx)]
	for i, y := range s[:len(dx)] {
		y *= 1. / clampScale
		dx[i] = dy[i] * (1 - y*y)
	}
}

func (s Add) cpu(c *CPU) []stage {
	add := c.vec().add
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		add(args[0][from:to], args[1][from:to], args[2][from:to])
	})
}

// addSlice is y = a+b; y may be a or b.
func addSlice(y, a, b []float32) { plainAdd(y, a, b) }

func (s Affine) cpu(c *CPU) []stage {
	affine := c.vec().affine
	return pointwise(s.Len, func(args [][]float32, from, to int) {
		affine(args[0][from:to], args[1][from:to], s.Mul, s.Add)
	})
}
