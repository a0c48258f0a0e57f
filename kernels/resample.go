package kernels

import "fmt"

// Interpolation is how Resample changes the length of an axis.
type Interpolation int

const (
	Nearest        Interpolation = iota // each position twice
	Linear                              // twice as long, linear between positions
	MeanOfThree                         // half as long, means of positions 2j-1 to 2j+1, zero in front of the first
	MeanOfThreeCut                      // the same, the first position repeated in front
	MeanOfTwo                           // half as long, means of positions 2j and 2j+1
	interpolations
)

func (k Interpolation) String() string {
	if k < 0 || k >= interpolations {
		return fmt.Sprintf("Interpolation(%d)", int(k))
	}
	return [...]string{"Nearest", "Linear", "MeanOfThree", "MeanOfThreeCut", "MeanOfTwo"}[k]
}

// Resample doubles or halves an axis of T positions of Inner values each.
//
//	y_noi = sum_t weight(o,t)·x_nti
//
// Linear reads position (o+½)/2 - ½, clamped to the axis, of two neighbours. With Head the
// first Head positions are interpolated on their own, and the others on their own. Halves
// are rounded down.
// Arguments: y [N,T',Inner], T' = 2T or ⌊T/2⌋; x [N,T,Inner].
type Resample struct {
	N, T, Inner int
	Kind        Interpolation
	Head        int // Linear only
}

// Out is the number of positions of the result.
func (s Resample) Out() int {
	if s.Kind == Nearest || s.Kind == Linear {
		return 2 * s.T
	}
	return s.T / 2
}

func (s Resample) Validate() error {
	switch {
	case s.Kind < 0 || s.Kind >= interpolations:
		return fmt.Errorf("Kind is %d, want 0 (Nearest) to %d (%v)", int(s.Kind), int(interpolations-1), interpolations-1)
	case s.Head < 0 || s.Head > s.T || s.Head > 0 && s.Kind != Linear:
		return fmt.Errorf("Head is %d with T = %d and %v, want 0, or up to T for Linear", s.Head, s.T, s.Kind)
	case s.Kind >= MeanOfThree && s.T < 2:
		return fmt.Errorf("T is %d, want at least 2 for %v", s.T, s.Kind)
	}
	return positive([]string{"N", "2T", "Inner"}, s.N, 2*s.T, s.Inner)
}

func (s Resample) long(arg func(string, ...int) Arg, name string, t int) Arg {
	return arg(name, s.N, t, s.Inner)
}

func (s Resample) Args() []Arg {
	return []Arg{s.long(actOut, "y", s.Out()), s.long(actIn, "x", s.T)}
}

func (s Resample) FLOPs() int64 {
	if s.Kind == Nearest {
		return 0
	}
	return 6 * int64(s.N) * int64(s.Out()) * int64(s.Inner)
}

func (s Resample) Grads() []Grad { return []Grad{grad("x", ResampleGrad{s}, "dy")} }

// weights are those of the result's positions.
func (s Resample) weights() axisMap {
	m := make(axisMap, s.Out())
	for o := range m {
		switch s.Kind {
		case Nearest:
			m[o] = []axisTap{{o / 2, 1}}
		case Linear:
			first, n := 0, s.T
			if o < 2*s.Head {
				n = s.Head
			} else if s.Head > 0 {
				first, n = s.Head, s.T-s.Head
			}
			low := max((o-2*first+1)/2-1, 0) // below (o+½)/2 - ½
			high := min((o-2*first+1)/2, n-1)
			switch {
			case low == high:
				m[o] = []axisTap{{first + low, 1}}
			case o%2 == 0:
				m[o] = []axisTap{{first + low, .25}, {first + high, .75}}
			default:
				m[o] = []axisTap{{first + low, .75}, {first + high, .25}}
			}
		case MeanOfTwo:
			m[o] = []axisTap{{2 * o, .5}, {2*o + 1, .5}}
		default:
			for t := 2*o - 1; t <= 2*o+1; t++ {
				if t >= 0 || s.Kind == MeanOfThreeCut {
					m[o] = append(m[o], axisTap{max(t, 0), 1. / 3})
				}
			}
		}
	}
	return m
}

func (s Resample) Define(args ...[]float32) { s.apply(s.weights(), s.T, args[0], args[1]) }

// apply is the matrix m along an axis that has from positions in x.
func (s Resample) apply(m axisMap, from int, y, x []float32) {
	for n := range s.N {
		for o, taps := range m {
			for i := range s.Inner {
				sum := 0.
				for _, t := range taps {
					sum += float64(t.weight) * float64(x[(n*from+t.from)*s.Inner+i])
				}
				y[(n*len(m)+o)*s.Inner+i] = float32(sum)
			}
		}
	}
}

// ResampleGrad is the adjoint of Resample.
// Arguments: dx [N,T,Inner]; dy [N,T',Inner].
type ResampleGrad struct{ Resample }

func (s ResampleGrad) Args() []Arg {
	return []Arg{s.long(actOut, "dx", s.T), s.long(actIn, "dy", s.Out())}
}

func (s ResampleGrad) Grads() []Grad { return nil }

func (s ResampleGrad) Define(args ...[]float32) {
	s.apply(s.weights().adjoint(s.T), s.Out(), args[0], args[1])
}

func (s Resample) cpu(c *CPU) []stage { return alongTime(c, s.weights(), s.N, s.T, s.Inner) }

func (s ResampleGrad) cpu(c *CPU) []stage {
	return alongTime(c, s.weights().adjoint(s.T), s.N, s.Out(), s.Inner)
}

// alongTime applies a map to the second axis of [n,t,inner].
func alongTime(c *CPU, m axisMap, n, t, inner int) []stage {
	axpy, same := c.vec().axpy, func(taps []axisTap) bool { return len(taps) == 1 && taps[0].weight == 1 }
	return rowwise(n*len(m), inner, func(args [][]float32, from, to int) {
		for r := from; r < to; r++ {
			clip, taps := r/len(m), m[r%len(m)]
			at := func(i int) []float32 { return args[1][(clip*t+taps[i].from)*inner:][:inner] }
			y := args[0][r*inner:][:inner]
			if same(taps) {
				copy(y, at(0))
				continue
			}
			clear(y)
			for i := range taps {
				axpy(y, at(i), taps[i].weight)
			}
		}
	})
}
