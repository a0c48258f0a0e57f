package kernels

import "fmt"

// Shuffle moves channels to time and space, or back: a permutation.
//
// Up (Down false), x [N,T,H,W,C·FT·FH·FW] to y [N,T·FT,H·FH,W·FW,C]:
//
//	y[n, t·FT+a, h·FH+i, w·FW+j, c] = x[n, t, h, w, ((c·FT+a)·FH+i)·FW+j]
//
// with PhaseFirst channel ((a·FH+i)·FW+j)·C + c of x instead, the phase varying slowest.
// Down is the inverse and adjoint. N, T, H, W, C always name the small grid and
// the thin channel count. Each value goes through Act on its way: None, or one whose
// slope is taken from x, so that nobody else wants Act(x). Arguments: y; x.
type Shuffle struct {
	N, T, H, W, C int
	FT, FH, FW    int
	Down          bool
	Act           Activation
	PhaseFirst    bool
}

func (s Shuffle) Validate() error {
	if err := s.Act.validate(); err != nil {
		return err
	}
	if s.Act != None && s.Act.FromOutput() {
		return fmt.Errorf("Act is %v, want None, SiLU or GELU", s.Act)
	}
	return positive([]string{"N", "T", "H", "W", "C", "FT", "FH", "FW"}, s.N, s.T, s.H, s.W, s.C, s.FT, s.FH, s.FW)
}

// from and to are the shapes of x and y.
func (s Shuffle) from() []int {
	s.Down = !s.Down
	return s.to()
}

func (s Shuffle) to() []int {
	if s.Down {
		return []int{s.N, s.T, s.H, s.W, s.C * s.FT * s.FH * s.FW}
	}
	return []int{s.N, s.T * s.FT, s.H * s.FH, s.W * s.FW, s.C}
}

func (s Shuffle) Args() []Arg { return []Arg{actOut("y", s.to()...), actIn("x", s.from()...)} }

func (s Shuffle) values() int { return s.N * s.T * s.H * s.W * s.C * s.FT * s.FH * s.FW }

func (s Shuffle) FLOPs() int64 {
	if s.Act == None {
		return 0
	}
	return s.Act.flops() * int64(s.values())
}

func (s Shuffle) Grads() []Grad {
	if s.Act != None {
		return nil
	}
	s.Down = !s.Down
	return []Grad{grad("x", s, "dy")}
}

func (s Shuffle) Define(args ...[]float32) {
	y, x := args[0], args[1]
	deep := 0 // position in the array with many channels
	for n := range s.N {
		for t := range s.T {
			for h := range s.H {
				for w := range s.W {
					for c := range s.C {
						for a := range s.FT {
							for i := range s.FH {
								for j := range s.FW {
									wide := (((n*s.T*s.FT+t*s.FT+a)*s.H*s.FH+h*s.FH+i)*s.W*s.FW+w*s.FW+j)*s.C + c
									if at := s.deep(deep); s.Down {
										y[at] = float32(s.Act.Apply(float64(x[wide])))
									} else {
										y[wide] = float32(s.Act.Apply(float64(x[at])))
									}
									deep++
								}
							}
						}
					}
				}
			}
		}
	}
}

// deep is where the array with many channels has value i in the order of (c, phase).
func (s Shuffle) deep(i int) int {
	if !s.PhaseFirst {
		return i
	}
	f := s.FT * s.FH * s.FW
	return i/(s.C*f)*s.C*f + i%f*s.C + i/f%s.C
}

// ShuffleGrad is the gradient of a Shuffle with an activation: dy moved back, times
// Act'(x). The fields are those of the Shuffle. Arguments: dx; dy, x.
type ShuffleGrad struct{ Shuffle }

func (s ShuffleGrad) Args() []Arg {
	return []Arg{actOut("dx", s.from()...), actIn("dy", s.to()...), actIn("x", s.from()...)}
}

func (s ShuffleGrad) FLOPs() int64 { return ActGrad{s.Act, s.values()}.FLOPs() }

// back is what moves dy.
func (s ShuffleGrad) back() Shuffle {
	b := s.Shuffle
	b.Down, b.Act = !b.Down, None
	return b
}

func (s ShuffleGrad) Grads() []Grad { return nil }

func (s ShuffleGrad) Define(args ...[]float32) {
	dx, dy, x := args[0], args[1], args[2]
	s.back().Define(dx, dy)
	for i := range dx {
		dx[i] = float32(float64(dx[i]) * s.Act.Slope(float64(x[i])))
	}
}
