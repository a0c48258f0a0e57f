package kernels

import "fmt"

// Lap multiplies the values on both sides of each border between blocks of an axis by one
// matrix: the pre-filter of a lapped transform, or its inverse, the post-filter (Tran, Liang,
// Tu, "Lapped transform via time-domain pre- and post-filtering", 2003).
//
//	y[n, b-R+i, c] = sum_k m[i,k]·x[n, b-R+k, c]   for i in [0,2R), b = Size, 2·Size, ... below T
//
// with R the Reach; all other values are copied. Transposed takes m[k,i] instead.
// Arguments: y [N,T,Inner]; x [N,T,Inner], m [2R,2R].
type Lap struct {
	N, T, Inner int
	Size        int // positions of a block; T is a multiple of it
	Reach       int // at most half a block
	Transposed  bool
}

func (s Lap) Validate() error {
	if err := positive([]string{"N", "T", "Inner", "Size"}, s.N, s.T, s.Inner, s.Size); err != nil {
		return err
	}
	if s.T%s.Size != 0 {
		return fmt.Errorf("T is %d, want a multiple of Size = %d", s.T, s.Size)
	}
	if s.Reach < 1 || 2*s.Reach > s.Size {
		return fmt.Errorf("Reach is %d, want 1 to %d, half of Size", s.Reach, s.Size/2)
	}
	return nil
}

func (s Lap) Args() []Arg {
	return []Arg{actOut("y", s.N, s.T, s.Inner), actIn("x", s.N, s.T, s.Inner), in("m", 2*s.Reach, 2*s.Reach)}
}

func (s Lap) FLOPs() int64 {
	filtered := int64(s.T/s.Size-1) * 2 * int64(s.Reach)
	return 2 * filtered * 2 * int64(s.Reach) * int64(s.N) * int64(s.Inner)
}

// Grads has none of m, which is constant.
func (s Lap) Grads() []Grad {
	back := s
	back.Transposed = !s.Transposed
	return []Grad{grad("x", back, "dy", "m")}
}

// row is the row of the matrix that gives position t, and the first position that it is
// applied to; ok is false for a position that is copied.
func (s Lap) row(t int) (i, first int, ok bool) {
	border := (t + s.Reach) / s.Size * s.Size
	first = border - s.Reach
	return t - first, first, 0 < border && border < s.T && t < border+s.Reach
}

// weight is what position k of those that row i is applied to counts.
func (s Lap) weight(m []float32, i, k int) float32 {
	if s.Transposed {
		i, k = k, i
	}
	return m[2*s.Reach*i+k]
}

func (s Lap) Define(args ...[]float32) {
	y, x, m := args[0], args[1], args[2]
	for p := range s.N * s.T {
		n, t := p/s.T, p%s.T
		i, first, ok := s.row(t)
		for c := range s.Inner {
			if !ok {
				y[p*s.Inner+c] = x[p*s.Inner+c]
				continue
			}
			sum := 0.
			for k := range 2 * s.Reach {
				sum += float64(s.weight(m, i, k)) * float64(x[(n*s.T+first+k)*s.Inner+c])
			}
			y[p*s.Inner+c] = float32(sum)
		}
	}
}

// lapShort is the Inner below which whole diagonals of the matrix are multiplied at once:
// a row is then shorter than what a call costs.
const lapShort = 64

func (s Lap) cpu(c *CPU) []stage {
	if s.Inner < lapShort {
		return s.byDiagonals(c)
	}
	axpy := c.vec().axpy
	return rowwise(s.N*s.T, s.Inner, func(args [][]float32, from, to int) {
		x, m := args[1], args[2]
		for p := from; p < to; p++ {
			y := args[0][p*s.Inner:][:s.Inner]
			i, first, ok := s.row(p % s.T)
			if !ok {
				copy(y, x[p*s.Inner:])
				continue
			}
			clear(y)
			for k := range 2 * s.Reach {
				axpy(y, x[(p/s.T*s.T+first+k)*s.Inner:][:s.Inner], s.weight(m, i, k))
			}
		}
	})
}

// byDiagonals adds, for each diagonal d of the matrix in ascending order, weights m[i,i+d]
// times x[i+d] to all rows i of a border, which are contiguous. The bits are those of the
// sums over k.
func (s Lap) byDiagonals(c *CPU) []stage {
	mulAdd, line, rows := c.vec().mulAdd, s.T*s.Inner, 2*s.Reach
	c.reserve(rows * rows * s.Inner)
	per := rowsPerTask(line)
	return []stage{{ceilDiv(s.N, per), func(args [][]float32, t, worker int) {
		x, weights := args[1], s.diagonals(c.scratch[worker], args[2])
		from, to := span(t, s.N, per)
		copy(args[0][from*line:to*line], x[from*line:])
		for n := from; n < to; n++ {
			for b := s.Size; b < s.T; b += s.Size {
				first := n*line + (b-s.Reach)*s.Inner
				y, x, w := args[0][first:][:rows*s.Inner], x[first:][:rows*s.Inner], weights
				clear(y)
				for d := 1 - rows; d < rows; d++ {
					n := (rows - max(d, -d)) * s.Inner
					mulAdd(y[max(-d, 0)*s.Inner:][:n], w[:n], x[max(d, 0)*s.Inner:][:n])
					w = w[n:]
				}
			}
		}
	}}}
}

// diagonals writes the matrix's diagonals to dst, from the lowest, each value Inner times.
func (s Lap) diagonals(dst, m []float32) []float32 {
	rows, at := 2*s.Reach, 0
	for d := 1 - rows; d < rows; d++ {
		for i := max(-d, 0); i < rows-max(d, 0); i++ {
			w := s.weight(m, i, i+d)
			for range s.Inner {
				dst[at] = w
				at++
			}
		}
	}
	return dst[:at]
}
