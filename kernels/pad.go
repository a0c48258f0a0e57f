package kernels

import "fmt"

// PadMode is the values outside of a clip.
type PadMode int

const (
	Zeros     PadMode = iota
	Replicate         // the value at the edge
	Reflect           // the mirror image, the edge not repeated
	Circular          // the other end
)

func (m PadMode) String() string {
	if m < Zeros || m > Circular {
		return fmt.Sprintf("PadMode(%d)", int(m))
	}
	return [...]string{"Zeros", "Replicate", "Reflect", "Circular"}[m]
}

// source is where in [0,n) the value at position i comes from, -1 for zero.
func (m PadMode) source(i, n int) int {
	switch {
	case 0 <= i && i < n:
		return i
	case m == Replicate:
		return min(max(i, 0), n-1)
	case m == Reflect && i < 0:
		return -i
	case m == Reflect:
		return 2*(n-1) - i
	case m == Circular:
		return (i + n) % n
	}
	return -1
}

// Pad puts PT frames in front of a clip, and PH rows and PW columns on both sides.
//
//	y[n,t,h,w,c] = x[n, source(t-PT), source(h-PH), source(w-PW), c]
//
// If After, rows and columns are put after the last ones alone. Reflect needs pads
// smaller than the clip, Circular none larger.
// Arguments: y [N,PT+T,PH+H+PH,PW+W+PW,C], if After [N,PT+T,H+PH,W+PW,C]; x [N,T,H,W,C].
type Pad struct {
	N, T, H, W, C int // input
	PT, PH, PW    int
	Mode          PadMode
	After         bool
}

func (s Pad) Validate() error {
	if s.Mode < Zeros || s.Mode > Circular {
		return fmt.Errorf("Mode is %d, want 0 (Zeros) to 3 (Circular)", int(s.Mode))
	}
	if err := positive([]string{"N", "T", "H", "W", "C"}, s.N, s.T, s.H, s.W, s.C); err != nil {
		return err
	}
	for _, d := range []struct {
		name, size string
		pad, n     int
	}{{"PT", "T", s.PT, s.T}, {"PH", "H", s.PH, s.H}, {"PW", "W", s.PW, s.W}} {
		limit := maxValues
		switch s.Mode {
		case Reflect:
			limit = d.n - 1
		case Circular:
			limit = d.n
		}
		if d.pad < 0 || d.pad > limit {
			return fmt.Errorf("%s is %d with %s = %d, want 0 to %d for %v", d.name, d.pad, d.size, d.n, limit, s.Mode)
		}
	}
	t, h, w := s.Out()
	return positive([]string{"N", "PT+T", "H+2·PH", "W+2·PW", "C"}, s.N, t, h, w, s.C)
}

// Out is the size of the result in time, height and width.
func (s Pad) Out() (t, h, w int) {
	ph, pw := s.before()
	return s.PT + s.T, ph + s.H + s.PH, pw + s.W + s.PW
}

// before is the number of rows and columns in front of the first ones.
func (s Pad) before() (h, w int) {
	if s.After {
		return 0, 0
	}
	return s.PH, s.PW
}

func (s Pad) thin(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, s.N, s.T, s.H, s.W, s.C)
}

func (s Pad) wide(arg func(string, ...int) Arg, name string) Arg {
	t, h, w := s.Out()
	return arg(name, s.N, t, h, w, s.C)
}

func (s Pad) Args() []Arg  { return []Arg{s.wide(actOut, "y"), s.thin(actIn, "x")} }
func (s Pad) FLOPs() int64 { return 0 }

// each calls do for every value of the padded clip and where it comes from.
func (s Pad) each(do func(to, from int)) {
	ot, oh, ow := s.Out()
	ph, pw := s.before()
	to := 0
	for n := range s.N {
		for t := range ot {
			for h := range oh {
				for w := range ow {
					ti, hi, wi := s.Mode.source(t-s.PT, s.T), s.Mode.source(h-ph, s.H), s.Mode.source(w-pw, s.W)
					for c := range s.C {
						if ti < 0 || hi < 0 || wi < 0 {
							do(to, -1)
						} else {
							do(to, (((n*s.T+ti)*s.H+hi)*s.W+wi)*s.C+c)
						}
						to++
					}
				}
			}
		}
	}
}

func (s Pad) Grads() []Grad {
	return []Grad{grad("x", PadGrad{s}, "dy")}
}

func (s Pad) Define(args ...[]float32) {
	s.each(func(to, from int) {
		args[0][to] = 0
		if from >= 0 {
			args[0][to] = args[1][from]
		}
	})
}

// PadGrad is the adjoint of Pad: each value of dx is the sum of those of dy that
// Pad copied it to.
// Arguments: dx [N,T,H,W,C]; dy [N,PT+T,PH+H+PH,PW+W+PW,C].
type PadGrad struct{ Pad }

func (s PadGrad) Args() []Arg { return []Arg{s.thin(actOut, "dx"), s.wide(actIn, "dy")} }

func (s PadGrad) FLOPs() int64 { return int64(s.Args()[1].Len()) }

func (s PadGrad) Grads() []Grad { return nil }

func (s PadGrad) Define(args ...[]float32) {
	sum := make([]float64, len(args[0]))
	s.each(func(to, from int) {
		if from >= 0 {
			sum[from] += float64(args[1][to])
		}
	})
	for i, v := range sum {
		args[0][i] = float32(v)
	}
}

// axis is the map of one axis.
func (s Pad) axis(n, front, back int) axisMap {
	m := make(axisMap, front+n+back)
	for i := range m {
		if from := s.Mode.source(i-front, n); from >= 0 {
			m[i] = []axisTap{{from, 1}}
		}
	}
	return m
}

func (s Pad) maps() axes {
	ph, pw := s.before()
	return axes{s.axis(s.T, s.PT, 0), s.axis(s.H, ph, s.PH), s.axis(s.W, pw, s.PW)}
}

func (s Pad) cpu(c *CPU) []stage { return s.maps().stages(c, s.N, s.T, s.H, s.W, s.C) }

func (s PadGrad) cpu(c *CPU) []stage {
	t, h, w := s.Out()
	return s.maps().adjoint(s.T, s.H, s.W).stages(c, s.N, t, h, w, s.C)
}
