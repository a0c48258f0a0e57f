package kernels

import "fmt"

// ConcatTime appends the frames of b to those of a, clip by clip; Inner is the
// number of values of a frame.
// Arguments: y [N,TA+TB,Inner]; a [N,TA,Inner], b [N,TB,Inner].
type ConcatTime struct{ N, TA, TB, Inner int }

func (s ConcatTime) Validate() error {
	if err := positive([]string{"N", "TA", "Inner"}, s.N, s.TA, s.Inner); err != nil {
		return err
	}
	if err := positive([]string{"N", "TB", "Inner"}, s.N, s.TB, s.Inner); err != nil {
		return err
	}
	return positive([]string{"N", "TA+TB", "Inner"}, s.N, s.TA+s.TB, s.Inner)
}

func (s ConcatTime) FLOPs() int64 { return 0 }

func (s ConcatTime) Args() []Arg {
	return []Arg{actOut("y", s.N, s.TA+s.TB, s.Inner), actIn("a", s.N, s.TA, s.Inner), actIn("b", s.N, s.TB, s.Inner)}
}

func (s ConcatTime) Grads() []Grad {
	all := s.TA + s.TB
	return []Grad{
		grad("a", SliceTime{N: s.N, T: all, Inner: s.Inner, To: s.TA}, "dy"),
		grad("b", SliceTime{N: s.N, T: all, Inner: s.Inner, From: s.TA, To: all}, "dy"),
	}
}

func (s ConcatTime) Define(args ...[]float32) {
	y, a, b := args[0], args[1], args[2]
	la, lb := s.TA*s.Inner, s.TB*s.Inner
	for n := range s.N {
		to := y[n*(la+lb):]
		copy(to[:la], a[n*la:])
		copy(to[la:la+lb], b[n*lb:])
	}
}

// SliceTime takes the frames [From,To) of every clip; Inner is the number of
// values of a frame. Arguments: y [N,To-From,Inner]; x [N,T,Inner].
type SliceTime struct{ N, T, Inner, From, To int }

func (s SliceTime) Validate() error {
	if err := positive([]string{"N", "T", "Inner"}, s.N, s.T, s.Inner); err != nil {
		return err
	}
	if s.From < 0 || s.To > s.T || s.From >= s.To {
		return fmt.Errorf("From is %d and To is %d, want 0 <= From < To <= T = %d", s.From, s.To, s.T)
	}
	return nil
}

func (s SliceTime) FLOPs() int64 { return 0 }

func (s SliceTime) part(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, s.N, s.To-s.From, s.Inner)
}

func (s SliceTime) Args() []Arg { return []Arg{s.part(actOut, "y"), actIn("x", s.N, s.T, s.Inner)} }

func (s SliceTime) Grads() []Grad {
	return []Grad{grad("x", SliceTimeGrad{s}, "dy")}
}

func (s SliceTime) Define(args ...[]float32) {
	y, x := args[0], args[1]
	size := (s.To - s.From) * s.Inner
	for n := range s.N {
		copy(y[n*size:][:size], x[(n*s.T+s.From)*s.Inner:])
	}
}

// SliceTimeGrad is the adjoint of SliceTime: dy becomes the frames [From,To), the
// others are zero. Arguments: dx [N,T,Inner]; dy [N,To-From,Inner].
type SliceTimeGrad struct{ SliceTime }

func (s SliceTimeGrad) Args() []Arg {
	return []Arg{actOut("dx", s.N, s.T, s.Inner), s.part(actIn, "dy")}
}

func (s SliceTimeGrad) Grads() []Grad { return nil }

func (s SliceTimeGrad) Define(args ...[]float32) {
	dx, dy := args[0], args[1]
	size := (s.To - s.From) * s.Inner
	clear(dx)
	for n := range s.N {
		copy(dx[(n*s.T+s.From)*s.Inner:], dy[n*size:][:size])
	}
}

// framewise copies frames of inner values; do gets a frame of the result, of n.
func framewise(n, inner int, do func(y []float32, args [][]float32, frame int)) []stage {
	return rowwise(n, inner, func(args [][]float32, from, to int) {
		for f := from; f < to; f++ {
			do(args[0][f*inner:][:inner], args, f)
		}
	})
}

func (s ConcatTime) cpu(*CPU) []stage {
	return framewise(s.N*(s.TA+s.TB), s.Inner, func(y []float32, args [][]float32, f int) {
		n, t := f/(s.TA+s.TB), f%(s.TA+s.TB)
		if t < s.TA {
			copy(y, args[1][(n*s.TA+t)*s.Inner:])
		} else {
			copy(y, args[2][(n*s.TB+t-s.TA)*s.Inner:])
		}
	})
}

func (s SliceTime) cpu(*CPU) []stage {
	frames := s.To - s.From
	return framewise(s.N*frames, s.Inner, func(y []float32, args [][]float32, f int) {
		copy(y, args[1][(f/frames*s.T+s.From+f%frames)*s.Inner:])
	})
}

func (s SliceTimeGrad) cpu(*CPU) []stage {
	return framewise(s.N*s.T, s.Inner, func(dx []float32, args [][]float32, f int) {
		n, t := f/s.T, f%s.T
		if s.From <= t && t < s.To {
			copy(dx, args[1][(n*(s.To-s.From)+t-s.From)*s.Inner:])
		} else {
			clear(dx)
		}
	})
}
