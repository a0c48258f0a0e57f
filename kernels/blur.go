package kernels

import "fmt"

// Blur weighs a value and its two neighbours by 1/4, 1/2, 1/4 along each chosen
// axis; values beyond an edge are those at the edge. It is its own adjoint.
// Arguments: y; x, both [N,T,H,W,C].
type Blur struct {
	N, T, H, W, C int
	Time, Space   bool // the axes: T; H and W
}

func (s Blur) Validate() error {
	if !s.Time && !s.Space {
		return fmt.Errorf("neither Time nor Space is set, want at least one")
	}
	return positive([]string{"N", "T", "H", "W", "C"}, s.N, s.T, s.H, s.W, s.C)
}

func (s Blur) Args() []Arg {
	return []Arg{actOut("y", s.N, s.T, s.H, s.W, s.C), actIn("x", s.N, s.T, s.H, s.W, s.C)}
}

// FLOPs counts three products for each axis.
func (s Blur) FLOPs() int64 {
	n := int64(0)
	if s.Time {
		n++
	}
	if s.Space {
		n += 2
	}
	return 6 * n * int64(s.N*s.T*s.H*s.W) * int64(s.C)
}

func (s Blur) Grads() []Grad {
	return []Grad{grad("x", s, "dy")}
}

func (s Blur) Define(args ...[]float32) {
	y, x := args[0], args[1]
	// weights of the neighbours at -1, 0 and 1
	t, hw := []float64{0, 1, 0}, []float64{0, 1, 0}
	if s.Time {
		t = []float64{.25, .5, .25}
	}
	if s.Space {
		hw = []float64{.25, .5, .25}
	}
	near := func(i, step, n int) int { return min(max(i+step-1, 0), n-1) }
	for i := range y {
		p, c := i/s.C, i%s.C
		p, w := p/s.W, p%s.W
		p, h := p/s.H, p%s.H
		n, f := p/s.T, p%s.T
		sum := 0.
		for k := range 27 {
			a, b, d := k/9, k/3%3, k%3
			from := (((n*s.T+near(f, a, s.T))*s.H+near(h, b, s.H))*s.W+near(w, d, s.W))*s.C + c
			sum += t[a] * hw[b] * hw[d] * float64(x[from])
		}
		y[i] = float32(sum)
	}
}

func (s Blur) axis(n int, on bool) axisMap {
	m := make(axisMap, n)
	for i := range m {
		if !on {
			m[i] = []axisTap{{i, 1}}
			continue
		}
		m[i] = []axisTap{{max(i-1, 0), .25}, {i, .5}, {min(i+1, n-1), .25}}
	}
	return m
}

func (s Blur) maps() axes {
	return axes{s.axis(s.T, s.Time), s.axis(s.H, s.Space), s.axis(s.W, s.Space)}
}

func (s Blur) cpu(c *CPU) []stage { return s.maps().stages(c, s.N, s.T, s.H, s.W, s.C) }
