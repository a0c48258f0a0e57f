package kernels

// TokenShift delays the last C/2 channels (rounded down) by one frame, zeros
// coming in before the first. Back is the adjoint: those channels come one frame
// earlier, zeros after the last. P is the number of pixels of a frame.
// Arguments: y; x, both [N,T,P,C].
type TokenShift struct {
	N, T, P, C int
	Back       bool
}

func (s TokenShift) Validate() error {
	return positive([]string{"N", "T", "P", "C"}, s.N, s.T, s.P, s.C)
}

func (s TokenShift) Args() []Arg {
	return []Arg{actOut("y", s.N, s.T, s.P, s.C), actIn("x", s.N, s.T, s.P, s.C)}
}

func (s TokenShift) FLOPs() int64 { return 0 }

func (s TokenShift) Grads() []Grad {
	s.Back = !s.Back
	return []Grad{grad("x", s, "dy")}
}

func (s TokenShift) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for i := range y {
		c, t := i%s.C, i/s.C/s.P%s.T
		from := t
		if c >= s.stay() {
			from = s.from(t)
		}
		y[i] = 0
		if 0 <= from && from < s.T {
			y[i] = x[i+(from-t)*s.P*s.C]
		}
	}
}

// stay is the number of channels that are not moved.
func (s TokenShift) stay() int { return (s.C + 1) / 2 }

// from is the frame that the other channels of frame t come from.
func (s TokenShift) from(t int) int {
	if s.Back {
		return t + 1
	}
	return t - 1
}

func (s TokenShift) cpu(*CPU) []stage {
	stay := s.stay()
	return rowwise(s.N*s.T*s.P, s.C, func(args [][]float32, from, to int) {
		for r := from; r < to; r++ {
			t := r / s.P % s.T
			y, x := args[0][r*s.C:][:s.C], args[1][r*s.C:][:s.C]
			copy(y[:stay], x)
			if f := s.from(t); 0 <= f && f < s.T {
				copy(y[stay:], args[1][(r+(f-t)*s.P)*s.C+stay:])
			} else {
				clear(y[stay:])
			}
		}
	})
}
