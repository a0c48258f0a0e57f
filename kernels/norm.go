package kernels

import (
	"fmt"
	"math"
	"slices"
)

// LayerNorm normalises every row.
//
//	y = (x - mean)/sqrt(variance + Eps)·gamma + beta
//
// Arguments: y [Rows,C]; x [Rows,C], gamma [C], beta [C].
type LayerNorm struct {
	Rows, C int
	Eps     float32
}

func (s LayerNorm) Validate() error { return normOf(s.Rows, s.C, s.Eps) }
func (s LayerNorm) FLOPs() int64    { return 8 * int64(s.Rows) * int64(s.C) }

func (s LayerNorm) Args() []Arg {
	return []Arg{actOut("y", s.Rows, s.C), actIn("x", s.Rows, s.C), in("gamma", s.C), in("beta", s.C)}
}

func (s LayerNorm) Grads() []Grad {
	return []Grad{
		grad("x", LayerNormGradX(s), "dy", "x", "gamma"),
		grad("gamma", LayerNormGradGamma(s), "dy", "x"),
		grad("beta", SumRows{Rows: s.Rows, C: s.C}, "dy"),
	}
}

func (s LayerNorm) Define(args ...[]float32) {
	y, x, gamma, beta := args[0], args[1], args[2], args[3]
	for r := range s.Rows {
		h, _ := standardised(x[r*s.C:][:s.C], s.Eps)
		for c := range h {
			y[r*s.C+c] = float32(h[c]*float64(gamma[c]) + float64(beta[c]))
		}
	}
}

// standardised gives the row with mean 0 and variance 1, and the factor used.
func standardised(x []float32, eps float32) (h []float64, scale float64) {
	n := float64(len(x))
	mean, variance := 0., 0.
	for _, v := range x {
		mean += float64(v) / n
	}
	h = make([]float64, len(x))
	for c, v := range x {
		h[c] = float64(v) - mean
		variance += h[c] * h[c] / n
	}
	scale = 1 / math.Sqrt(variance+float64(eps))
	for c := range h {
		h[c] *= scale
	}
	return h, scale
}

// LayerNormGradX is the gradient of LayerNorm with respect to x; with h the
// standardised row and g = dy·gamma,
//
//	dx = (g - mean(g) - h·mean(g·h))/sqrt(variance + Eps)
//
// Arguments: dx [Rows,C]; dy [Rows,C], x [Rows,C], gamma [C].
type LayerNormGradX struct {
	Rows, C int
	Eps     float32
}

func (s LayerNormGradX) Validate() error { return normOf(s.Rows, s.C, s.Eps) }
func (s LayerNormGradX) FLOPs() int64    { return 14 * int64(s.Rows) * int64(s.C) }

func (s LayerNormGradX) Args() []Arg {
	return []Arg{actOut("dx", s.Rows, s.C), actIn("dy", s.Rows, s.C), actIn("x", s.Rows, s.C), in("gamma", s.C)}
}

func (s LayerNormGradX) Grads() []Grad { return nil }

func (s LayerNormGradX) Define(args ...[]float32) {
	dx, dy, x, gamma := args[0], args[1], args[2], args[3]
	n := float64(s.C)
	for r := range s.Rows {
		h, scale := standardised(x[r*s.C:][:s.C], s.Eps)
		mean, along := 0., 0.
		for c := range h {
			g := float64(dy[r*s.C+c]) * float64(gamma[c])
			mean += g / n
			along += g * h[c] / n
		}
		for c := range h {
			g := float64(dy[r*s.C+c]) * float64(gamma[c])
			dx[r*s.C+c] = float32(scale * (g - mean - h[c]*along))
		}
	}
}

// LayerNormGradGamma is the sum over rows of dy·h, h the standardised row. (The
// gradient of beta is SumRows of dy.)
// Arguments: dgamma [C]; dy [Rows,C], x [Rows,C].
type LayerNormGradGamma struct {
	Rows, C int
	Eps     float32
}

func (s LayerNormGradGamma) Validate() error { return normOf(s.Rows, s.C, s.Eps) }
func (s LayerNormGradGamma) FLOPs() int64    { return 7 * int64(s.Rows) * int64(s.C) }

func (s LayerNormGradGamma) Args() []Arg {
	return []Arg{out("dgamma", s.C), actIn("dy", s.Rows, s.C), actIn("x", s.Rows, s.C)}
}

func (s LayerNormGradGamma) Grads() []Grad { return nil }

func (s LayerNormGradGamma) Define(args ...[]float32) {
	dgamma, dy, x := args[0], args[1], args[2]
	sum := make([]float64, s.C)
	for r := range s.Rows {
		h, _ := standardised(x[r*s.C:][:s.C], s.Eps)
		for c := range h {
			sum[c] += float64(dy[r*s.C+c]) * h[c]
		}
	}
	for c := range dgamma {
		dgamma[c] = float32(sum[c])
	}
}

func normOf(rows, c int, eps float32) error {
	if !(eps > 0) || !finite(float64(eps)) {
		return fmt.Errorf("Eps is %g, want a positive number", eps)
	}
	return positive([]string{"Rows", "C"}, rows, c)
}

// minNorm is the floor of RMSNorm's norm. There is no epsilon inside the root.
const minNorm = 1e-12

// RMSNorm scales every row to norm sqrt(C).
//
//	y = x/max(‖x‖, 1e-12)·sqrt(C)·gamma
//
// Arguments: y [Rows,C]; x [Rows,C], gamma [C].
type RMSNorm struct{ Rows, C int }

func (s RMSNorm) Validate() error { return positive([]string{"Rows", "C"}, s.Rows, s.C) }
func (s RMSNorm) FLOPs() int64    { return 4 * int64(s.Rows) * int64(s.C) }

func (s RMSNorm) Args() []Arg {
	return []Arg{actOut("y", s.Rows, s.C), actIn("x", s.Rows, s.C), in("gamma", s.C)}
}

func (s RMSNorm) Grads() []Grad {
	return []Grad{grad("x", RMSNormGradX{Rows: s.Rows, C: s.C}, "dy", "x", "gamma"), grad("gamma", RMSNormGradGamma(s), "dy", "x")}
}

func (s RMSNorm) Define(args ...[]float32) {
	y, x, gamma := args[0], args[1], args[2]
	for r := range s.Rows {
		row := x[r*s.C:][:s.C]
		scale, _ := rmsScale(row)
		for c, v := range row {
			y[r*s.C+c] = float32(float64(v) * scale * float64(gamma[c]))
		}
	}
}

// rmsScale is sqrt(C)/max(‖x‖, 1e-12), and 1/‖x‖², or 0 where the floor holds.
func rmsScale(x []float32) (scale, inv float64) {
	return scaleOfSquares(plainSquares(x, 0), len(x))
}

// scaleOfSquares is rmsScale of a row of n values with the squared norm sum.
func scaleOfSquares(sum float64, n int) (scale, inv float64) {
	norm, root := math.Sqrt(sum), math.Sqrt(float64(n))
	if norm <= minNorm {
		return root / minNorm, 0
	}
	return root / norm, 1 / sum
}

// RMSNormGradX is the gradient of RMSNorm with respect to x; with g = dy·gamma,
//
//	dx = sqrt(C)/‖x‖·(g - x·(g·x)/‖x‖²) + r
//
// and without the second term where the floor of the norm holds.
// Arguments: dx [Rows,C]; dy [Rows,C], x [Rows,C], gamma [C], and r [Rows,C] if
// Residual, else none.
type RMSNormGradX struct {
	Rows, C  int
	Residual bool
}

func (s RMSNormGradX) Validate() error { return positive([]string{"Rows", "C"}, s.Rows, s.C) }
func (s RMSNormGradX) FLOPs() int64    { return 9 * int64(s.Rows) * int64(s.C) }

func (s RMSNormGradX) Args() []Arg {
	args := []Arg{actOut("dx", s.Rows, s.C), actIn("dy", s.Rows, s.C), actIn("x", s.Rows, s.C), in("gamma", s.C)}
	if s.Residual {
		args = append(args, actIn("r", s.Rows, s.C))
	}
	return args
}

func (s RMSNormGradX) Grads() []Grad {
	if s.Residual {
		return nil
	}
	n := RMSNormTangent{Rows: s.Rows, C: s.C}
	return []Grad{
		grad("dy", n, "ddx", "x", "gamma"),
		grad("x", RMSNormTangentGradX(n), "dy", "ddx", "x", "gamma"),
		grad("gamma", RMSNormTangentGradGamma(n), "dy", "ddx", "x"),
	}
}

func (s RMSNormGradX) Define(args ...[]float32) {
	dx, dy, x, gamma := args[0], args[1], args[2], args[3]
	for r := range s.Rows {
		row := x[r*s.C:][:s.C]
		scale, inv := rmsScale(row)
		along := 0.
		for c, v := range row {
			along += float64(dy[r*s.C+c]) * float64(gamma[c]) * float64(v)
		}
		for c, v := range row {
			g := float64(dy[r*s.C+c]) * float64(gamma[c])
			d := scale * (g - float64(v)*along*inv)
			if s.Residual {
				d += float64(args[4][r*s.C+c])
			}
			dx[r*s.C+c] = float32(d)
		}
	}
}

// RMSNormGradGamma is the sum over rows of dy·x·sqrt(C)/max(‖x‖, 1e-12).
// Arguments: dgamma [C]; dy [Rows,C], x [Rows,C].
type RMSNormGradGamma struct{ Rows, C int }

func (s RMSNormGradGamma) Validate() error { return positive([]string{"Rows", "C"}, s.Rows, s.C) }
func (s RMSNormGradGamma) FLOPs() int64    { return 5 * int64(s.Rows) * int64(s.C) }

func (s RMSNormGradGamma) Args() []Arg {
	return []Arg{out("dgamma", s.C), actIn("dy", s.Rows, s.C), actIn("x", s.Rows, s.C)}
}

func (s RMSNormGradGamma) Grads() []Grad { return nil }

func (s RMSNormGradGamma) Define(args ...[]float32) {
	dgamma, dy, x := args[0], args[1], args[2]
	sum := make([]float64, s.C)
	for r := range s.Rows {
		row := x[r*s.C:][:s.C]
		scale, _ := rmsScale(row)
		for c, v := range row {
			sum[c] += float64(dy[r*s.C+c]) * float64(v) * scale
		}
	}
	for c := range dgamma {
		dgamma[c] = float32(sum[c])
	}
}

// RMSNormGrad is RMSNormGradX and RMSNormGradGamma at once, which reads dy and x once.
// Arguments: dx [Rows,C], dgamma [C]; dy [Rows,C], x [Rows,C], gamma [C], and r [Rows,C] if
// Residual, else none.
type RMSNormGrad struct {
	Rows, C  int
	Residual bool
}

func (s RMSNormGrad) Validate() error { return RMSNormGradX(s).Validate() }
func (s RMSNormGrad) FLOPs() int64    { return 11 * int64(s.Rows) * int64(s.C) }
func (s RMSNormGrad) Grads() []Grad   { return nil }

func (s RMSNormGrad) gamma() RMSNormGradGamma { return RMSNormGradGamma{s.Rows, s.C} }

func (s RMSNormGrad) Args() []Arg {
	return slices.Insert(RMSNormGradX(s).Args(), 1, out("dgamma", s.C))
}

func (s RMSNormGrad) Define(args ...[]float32) {
	RMSNormGradX(s).Define(slices.Delete(slices.Clone(args), 1, 2)...)
	s.gamma().Define(args[1:4]...)
}
