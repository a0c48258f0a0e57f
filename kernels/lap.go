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

func (s Lap) cpu(c *CPU) []stage {
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
