package kernels

import "fmt"

// SumRows is y_c = sum of x_rc over the rows r: the gradient of a bias.
// Arguments: y [C]; x [Rows,C].
type SumRows struct{ Rows, C int }

func (s SumRows) Validate() error { return positive([]string{"Rows", "C"}, s.Rows, s.C) }
func (s SumRows) Args() []Arg     { return []Arg{out("y", s.C), actIn("x", s.Rows, s.C)} }
func (s SumRows) FLOPs() int64    { return int64(s.Rows) * int64(s.C) }

func (s SumRows) Grads() []Grad { return nil }

func (s SumRows) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for c := range y {
		sum := 0.
		for r := range s.Rows {
			sum += float64(x[r*s.C+c])
		}
		y[c] = float32(sum)
	}
}

// SumSquares is y = sum of x_i²; NaN and Inf show in the sum.
// Arguments: y scalar; x [Len].
type SumSquares struct{ Len int }

func (s SumSquares) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s SumSquares) Args() []Arg     { return []Arg{out("y"), in("x", s.Len)} }
func (s SumSquares) FLOPs() int64    { return 2 * int64(s.Len) }

func (s SumSquares) Grads() []Grad { return []Grad{grad("x", SumSquaresGrad(s), "dy", "x")} }

func (s SumSquares) Define(args ...[]float32) {
	sum := 0.
	for _, v := range args[1] {
		sum += float64(v) * float64(v)
	}
	args[0][0] = float32(sum)
}

// SumSquaresGrad is dx_i = 2·dy·x_i, the gradient of SumSquares.
// Arguments: dx [Len]; dy scalar, x [Len].
type SumSquaresGrad struct{ Len int }

func (s SumSquaresGrad) Validate() error { return positive([]string{"Len"}, s.Len) }
func (s SumSquaresGrad) Args() []Arg     { return []Arg{out("dx", s.Len), in("dy"), in("x", s.Len)} }
func (s SumSquaresGrad) FLOPs() int64    { return 2 * int64(s.Len) }
func (s SumSquaresGrad) Grads() []Grad   { return nil }

func (s SumSquaresGrad) Define(args ...[]float32) {
	for i, x := range args[2] {
		args[0][i] = float32(2 * float64(args[1][0]) * float64(x))
	}
}

// WeightedSum is y = sum of W_i·x_i: the terms of a loss become the loss.
// Arguments: y scalar; x [Len], Len at most 4.
type WeightedSum struct {
	Len int
	W   [4]float32
}

func (s WeightedSum) Validate() error { return termsOf(s.Len, s.W) }
func (s WeightedSum) Args() []Arg     { return []Arg{out("y"), in("x", s.Len)} }
func (s WeightedSum) FLOPs() int64    { return 2 * int64(s.Len) }

func (s WeightedSum) Grads() []Grad {
	return []Grad{grad("x", Spread{Len: s.Len, W: s.W}, "dy")}
}

func (s WeightedSum) Define(args ...[]float32) {
	sum := 0.
	for i, v := range args[1] {
		sum += float64(s.W[i]) * float64(v)
	}
	args[0][0] = float32(sum)
}

// Spread is dx_i = W_i·dy, the adjoint of WeightedSum.
// Arguments: dx [Len]; dy scalar.
type Spread struct {
	Len int
	W   [4]float32
}

func (s Spread) Validate() error { return termsOf(s.Len, s.W) }
func (s Spread) Args() []Arg     { return []Arg{out("dx", s.Len), in("dy")} }
func (s Spread) FLOPs() int64    { return int64(s.Len) }

func (s Spread) Grads() []Grad { return nil }

func (s Spread) Define(args ...[]float32) {
	for i := range args[0] {
		args[0][i] = s.W[i] * args[1][0]
	}
}

func termsOf(n int, w [4]float32) error {
	if n < 1 || n > len(w) {
		return fmt.Errorf("Len is %d, want 1 to %d", n, len(w))
	}
	for i := n; i < len(w); i++ {
		if w[i] != 0 {
			return fmt.Errorf("W[%d] is %g, want 0 from Len = %d on", i, w[i], n)
		}
	}
	return nil
}
