package kernels

import "fmt"

// PadFront puts P zero frames in front of every clip; Inner is the number of
// values of a frame. Arguments: y [N,P+T,Inner]; x [N,T,Inner].
type PadFront struct{ N, T, Inner, P int }

func (s PadFront) Validate() error { return framesOf(s.N, s.T, s.Inner, s.P) }
func (s PadFront) FLOPs() int64    { return 0 }

func (s PadFront) Args() []Arg {
	return []Arg{actOut("y", s.N, s.P+s.T, s.Inner), actIn("x", s.N, s.T, s.Inner)}
}

func (s PadFront) Grads() []Grad {
	return []Grad{grad("x", CropFront(s), "dy")}
}

func (s PadFront) Define(args ...[]float32) {
	y, x := args[0], args[1]
	pad, clip := s.P*s.Inner, s.T*s.Inner
	for n := range s.N {
		to := y[n*(pad+clip):][:pad+clip]
		clear(to[:pad])
		copy(to[pad:], x[n*clip:])
	}
}

// CropFront drops the first P frames of every clip, the adjoint of PadFront.
// Arguments: y [N,T,Inner]; x [N,P+T,Inner].
type CropFront struct{ N, T, Inner, P int }

func (s CropFront) Validate() error { return framesOf(s.N, s.T, s.Inner, s.P) }
func (s CropFront) FLOPs() int64    { return 0 }

func (s CropFront) Args() []Arg {
	return []Arg{actOut("y", s.N, s.T, s.Inner), actIn("x", s.N, s.P+s.T, s.Inner)}
}

func (s CropFront) Grads() []Grad {
	return []Grad{grad("x", PadFront(s), "dy")}
}

func (s CropFront) Define(args ...[]float32) {
	y, x := args[0], args[1]
	pad, clip := s.P*s.Inner, s.T*s.Inner
	for n := range s.N {
		copy(y[n*clip:][:clip], x[n*(pad+clip)+pad:])
	}
}

func framesOf(n, t, inner, p int) error {
	if p < 0 {
		return fmt.Errorf("P is %d, want at least 0", p)
	}
	if err := positive([]string{"N", "T", "Inner"}, n, t, inner); err != nil {
		return err
	}
	return positive([]string{"N", "P+T", "Inner"}, n, p+t, inner)
}

func (s PadFront) cpu(*CPU) []stage {
	pad, clip := s.P*s.Inner, s.T*s.Inner
	per := ceilDiv(pad+clip, block)
	return []stage{{s.N * per, func(args [][]float32, task, _ int) {
		n := task / per
		from, to := span(task%per, pad+clip, block)
		y := args[0][n*(pad+clip):]
		if from < pad {
			clear(y[from:min(pad, to)])
		}
		if from = max(from, pad); from < to {
			copy(y[from:to], args[1][n*clip+from-pad:])
		}
	}}}
}

func (s CropFront) cpu(*CPU) []stage {
	pad, clip := s.P*s.Inner, s.T*s.Inner
	per := ceilDiv(clip, block)
	return []stage{{s.N * per, func(args [][]float32, task, _ int) {
		n := task / per
		from, to := span(task%per, clip, block)
		copy(args[0][n*clip+from:n*clip+to], args[1][n*(pad+clip)+pad+from:])
	}}}
}
