package kernels

import "fmt"

// Windows cuts K windows, each of one frame, from every clip.
//
//	y[n,k,h,w,c] = x[n, t, h0+h, w0+w, c], (t,h0,w0) = at[n,k]
//
// The positions are whole numbers; those for which a window would leave its clip count as
// the nearest ones for which it does not.
// Arguments: y [N,K,SH,SW,C]; x [N,T,H,W,C], at [N,K,3].
type Windows struct {
	N, T, H, W, C int
	K, SH, SW     int // windows of a clip, and their height and width
}

func (s Windows) Validate() error {
	if s.SH > s.H || s.SW > s.W {
		return fmt.Errorf("windows of %d×%d pixels, want at most %d×%d as the frames have", s.SH, s.SW, s.H, s.W)
	}
	if err := positive([]string{"N", "K", "SH", "SW", "C", "3"}, s.N, s.K, s.SH, s.SW, s.C, 3); err != nil {
		return err
	}
	return positive([]string{"N", "T", "H", "W", "C"}, s.N, s.T, s.H, s.W, s.C)
}

func (s Windows) Args() []Arg {
	return []Arg{out("y", s.N, s.K, s.SH, s.SW, s.C), in("x", s.N, s.T, s.H, s.W, s.C), in("at", s.N, s.K, 3)}
}

func (s Windows) FLOPs() int64 { return 0 }

func (s Windows) Grads() []Grad { return []Grad{grad("x", WindowsGrad(s), "dy", "at")} }

func (s Windows) Define(args ...[]float32) {
	s.eachRow(args[2], func(window, pixel int) { copy(args[0][window:window+s.SW*s.C], args[1][pixel:]) })
}

// origin is the frame, row and column where window k of a clip begins.
func (s Windows) origin(at []float32, clip, k int) (t, h, w int) {
	p := at[(clip*s.K+k)*3:][:3]
	inside := func(v float32, most int) int {
		if !(v > 0) {
			return 0
		}
		return int(min(v, float32(most)))
	}
	return inside(p[0], s.T-1), inside(p[1], s.H-s.SH), inside(p[2], s.W-s.SW)
}

// eachRow gives the first value of each row of a window and of its place in the clips.
func (s Windows) eachRow(at []float32, do func(window, pixel int)) {
	for n := range s.N {
		s.eachRowOf(n, at, do)
	}
}

// eachRowOf is eachRow of one clip.
func (s Windows) eachRowOf(n int, at []float32, do func(window, pixel int)) {
	for k := range s.K {
		t, h0, w0 := s.origin(at, n, k)
		for h := range s.SH {
			do(((n*s.K+k)*s.SH+h)*s.SW*s.C, (((n*s.T+t)*s.H+h0+h)*s.W+w0)*s.C)
		}
	}
}

// WindowsGrad is the gradient of Windows, its adjoint: every value of the clips gets the
// sum of those that the windows have of it.
// Arguments: dx [N,T,H,W,C]; dy [N,K,SH,SW,C], at [N,K,3].
type WindowsGrad struct {
	N, T, H, W, C int
	K, SH, SW     int
}

func (s WindowsGrad) Validate() error { return Windows(s).Validate() }
func (s WindowsGrad) FLOPs() int64    { return int64(s.N*s.K*s.SH*s.SW) * int64(s.C) }

func (s WindowsGrad) Args() []Arg {
	return []Arg{out("dx", s.N, s.T, s.H, s.W, s.C), in("dy", s.N, s.K, s.SH, s.SW, s.C), in("at", s.N, s.K, 3)}
}

func (s WindowsGrad) Grads() []Grad { return []Grad{grad("dy", Windows(s), "ddx", "at")} }

func (s WindowsGrad) Define(args ...[]float32) {
	dx, dy := args[0], args[1]
	sum := make([]float64, len(dx))
	Windows(s).eachRow(args[2], func(window, pixel int) {
		for i := range s.SW * s.C {
			sum[pixel+i] += float64(dy[window+i])
		}
	})
	for i, v := range sum {
		dx[i] = float32(v)
	}
}

func (s Windows) cpu(*CPU) []stage {
	return []stage{{s.N, func(args [][]float32, n, _ int) {
		s.eachRowOf(n, args[2], func(window, pixel int) { copy(args[0][window:window+s.SW*s.C], args[1][pixel:]) })
	}}}
}

func (s WindowsGrad) cpu(c *CPU) []stage {
	add, clip := c.vec().add, s.T*s.H*s.W*s.C
	return []stage{{s.N, func(args [][]float32, n, _ int) {
		dx, dy := args[0], args[1]
		clear(dx[n*clip:][:clip])
		Windows(s).eachRowOf(n, args[2], func(window, pixel int) {
			row := dx[pixel : pixel+s.SW*s.C]
			add(row, row, dy[window:][:len(row)])
		})
	}}}
}
