package kernels

import "fmt"

// PoolKind is what Pool computes of a window.
type PoolKind int

const (
	MeanPool PoolKind = iota
	MaxPool
)

func (k PoolKind) String() string {
	switch k {
	case MeanPool:
		return "MeanPool"
	case MaxPool:
		return "MaxPool"
	}
	return fmt.Sprintf("PoolKind(%d)", int(k))
}

// Pool is the mean or the maximum over windows of frames, rows and columns, of each channel.
//
//	y[n,t,h,w,c] = Kind of x[n, t·ST-PT+i, h·SH-PH+j, w·SW-PW+l, c], 0 <= i < KT, 0 <= j < KH, 0 <= l < KW
//
// Positions outside of the clip do not count: a mean is over those inside.
// Arguments: y [N,OT,OH,OW,C]; x [N,T,H,W,C].
type Pool struct {
	N, T, H, W, C int // input
	KT, KH, KW    int // window
	ST, SH, SW    int // strides
	PT, PH, PW    int // positions of the first window before the first of the clip
	OT, OH, OW    int // windows
	Kind          PoolKind
}

func (s Pool) Validate() error {
	if s.Kind != MeanPool && s.Kind != MaxPool {
		return fmt.Errorf("Kind is %d, want 0 (MeanPool) or 1 (MaxPool)", int(s.Kind))
	}
	if err := positive([]string{"N", "T", "H", "W", "C"}, s.N, s.T, s.H, s.W, s.C); err != nil {
		return err
	}
	if err := positive([]string{"N", "OT", "OH", "OW", "C"}, s.N, s.OT, s.OH, s.OW, s.C); err != nil {
		return err
	}
	for _, d := range []struct {
		axis                      string
		n, window, stride, pad, o int
	}{{"T", s.T, s.KT, s.ST, s.PT, s.OT}, {"H", s.H, s.KH, s.SH, s.PH, s.OH}, {"W", s.W, s.KW, s.SW, s.PW, s.OW}} {
		if d.window < 1 || d.stride < 1 || d.pad < 0 || d.pad >= d.window || (d.o-1)*d.stride-d.pad >= d.n {
			return fmt.Errorf("%s is %d with %d windows of %d, stride %d and %d positions before the first: want each window to have a position of the clip",
				d.axis, d.n, d.o, d.window, d.stride, d.pad)
		}
	}
	return nil
}

func (s Pool) Args() []Arg {
	return []Arg{actOut("y", s.N, s.OT, s.OH, s.OW, s.C), actIn("x", s.N, s.T, s.H, s.W, s.C)}
}

// FLOPs counts an operation for each value of a window.
func (s Pool) FLOPs() int64 {
	return int64(s.N*s.OT*s.OH*s.OW) * int64(s.C) * int64(s.KT*s.KH*s.KW)
}

func (s Pool) Grads() []Grad {
	if s.Kind == MaxPool {
		return []Grad{grad("x", PoolGrad{s}, "dy", "x", "y")}
	}
	return []Grad{grad("x", PoolGrad{s}, "dy")}
}

// window calls do for the positions of window q, a number of [N,OT,OH,OW], that are in the
// clip, in order; count is their number.
func (s Pool) window(q int, do func(p, count int)) {
	w, h, t, n := q%s.OW, q/s.OW%s.OH, q/s.OW/s.OH%s.OT, q/s.OW/s.OH/s.OT
	t0, t1 := poolSpan(t, s.ST, s.PT, s.KT, s.T)
	h0, h1 := poolSpan(h, s.SH, s.PH, s.KH, s.H)
	w0, w1 := poolSpan(w, s.SW, s.PW, s.KW, s.W)
	for i := t0; i < t1; i++ {
		for j := h0; j < h1; j++ {
			for l := w0; l < w1; l++ {
				do(((n*s.T+i)*s.H+j)*s.W+l, (t1-t0)*(h1-h0)*(w1-w0))
			}
		}
	}
}

// poolSpan is the range of the n positions of an axis that window q has.
func poolSpan(q, stride, pad, window, n int) (from, to int) {
	return max(q*stride-pad, 0), min(q*stride-pad+window, n)
}

func (s Pool) Define(args ...[]float32) {
	y, x := args[0], args[1]
	for q := range s.N * s.OT * s.OH * s.OW {
		for c := range s.C {
			sum, first := 0., true
			s.window(q, func(p, count int) {
				v := float64(x[p*s.C+c])
				switch {
				case s.Kind == MeanPool:
					sum += v / float64(count)
				case first || v > sum || v != v:
					sum = v
				}
				first = false
			})
			y[q*s.C+c] = float32(sum)
		}
	}
}

// PoolGrad is the gradient of Pool. A window's maximum is the first of equal values, in the
// order of frames, rows and columns.
//
//	MeanPool  dx[p] = Σ dy[q] / positions of q
//	MaxPool   dx[p] = Σ dy[q] where p is the first position of q with x[p] = y[q]
//
// with the sums over the windows q that have position p.
// Arguments: dx [N,T,H,W,C]; dy [N,OT,OH,OW,C], and of MaxPool x like dx, y like dy.
type PoolGrad struct{ Pool }

func (s PoolGrad) Args() []Arg {
	list := []Arg{actOut("dx", s.N, s.T, s.H, s.W, s.C), actIn("dy", s.N, s.OT, s.OH, s.OW, s.C)}
	if s.Kind == MaxPool {
		list = append(list, actIn("x", s.N, s.T, s.H, s.W, s.C), actIn("y", s.N, s.OT, s.OH, s.OW, s.C))
	}
	return list
}

// Grads are those of means, which are linear; nil of maxima.
func (s PoolGrad) Grads() []Grad {
	if s.Kind == MaxPool {
		return nil
	}
	return []Grad{grad("dy", s.Pool, "ddx")}
}

func (s PoolGrad) Define(args ...[]float32) {
	sum := make([]float64, len(args[0]))
	for q := range s.N * s.OT * s.OH * s.OW {
		for c := range s.C {
			dy, found := float64(args[1][q*s.C+c]), false
			s.window(q, func(p, count int) {
				if s.Kind == MeanPool {
					sum[p*s.C+c] += dy / float64(count)
				} else if !found && args[2][p*s.C+c] == args[3][q*s.C+c] {
					sum[p*s.C+c] += dy
					found = true
				}
			})
		}
	}
	for i, v := range sum {
		args[0][i] = float32(v)
	}
}

// framewise is the same pooling with each frame as a clip of its own, where windows have one
// frame.
func (s Pool) framewise() Pool {
	if s.KT == 1 && s.ST == 1 && s.PT == 0 && s.OT == s.T {
		s.N, s.T, s.OT = s.N*s.T, 1, 1
	}
	return s
}

func (s Pool) cpu(*CPU) []stage {
	return rowwise(s.N*s.OT*s.OH*s.OW, s.C, func(args [][]float32, from, to int) {
		for q := from; q < to; q++ {
			y, first := args[0][q*s.C:][:s.C], true
			s.window(q, func(p, count int) {
				x := args[1][p*s.C:][:s.C]
				switch {
				case s.Kind == MeanPool:
					if first {
						clear(y)
					}
					part := 1 / float32(count)
					for c, v := range x {
						y[c] += v * part
					}
				case first:
					copy(y, x)
				default:
					for c, v := range x {
						if v > y[c] || v != v {
							y[c] = v
						}
					}
				}
				first = false
			})
		}
	})
}

// A task is a clip: windows may overlap.
func (s PoolGrad) cpu(c *CPU) []stage {
	s.Pool = s.framewise()
	c.reserve(s.C)
	in, windows := s.T*s.H*s.W*s.C, s.OT*s.OH*s.OW
	return []stage{{s.N, func(args [][]float32, n, worker int) {
		clear(args[0][n*in:][:in])
		open := c.scratch[worker][:s.C] // 1: the maximum of this channel was not met yet
		for q := n * windows; q < (n+1)*windows; q++ {
			dy := args[1][q*s.C:][:s.C]
			for c := range open {
				open[c] = 1
			}
			s.window(q, func(p, count int) {
				dx := args[0][p*s.C:][:s.C]
				if s.Kind == MeanPool {
					part := 1 / float32(count)
					for c, v := range dy {
						dx[c] += v * part
					}
					return
				}
				x, y := args[2][p*s.C:][:s.C], args[3][q*s.C:][:s.C]
				for c, v := range dy {
					if open[c] == 1 && x[c] == y[c] {
						dx[c] += v
						open[c] = 0
					}
				}
			})
		}
	}}}
}
