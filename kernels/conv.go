package kernels

import (
	"fmt"
	"math"
	"slices"
)

// Conv is a causal 3-D convolution, channels-last, with bias, activation and
// residual. With KT=1 it is a 2-D one, with KT=KH=KW=1 a linear layer.
//
//	y[n,t,h,w,o] = Act(b[o] + Σ x[n, t·ST-PT+i·DT, h·SH-PH+j, w·SW-PW+l, c] · w[o,i,j,l,c]) + r[n,t,h,w,o]
//
// with the sum over i,j,l,c and x zero outside its range.
//
// Arguments: y [N,T',H',W',O]; x [N,T,H,W,C], w [O,KT,KH,KW,C], b [O], and
// r like y if Residual. T', H', W' are those of Out.
type Conv struct {
	N, T, H, W, C int // input
	O             int // output channels
	KT, KH, KW    int // kernel
	ST, SH, SW    int // strides
	DT            int // dilation in time
	PT            int // zero frames before the first; none after the last
	PH, PW        int // zeros on both sides
	Act           Activation
	Residual      bool
}

// ConvGradX is the gradient of a convolution with respect to its input.
//
//	dx[p,c] = Act'(s[p,c]) · (Σ dy[q,o] · w[o,k,c] + r[p,c])
//
// with the sum over o and over all output pixels q and taps k for which q reads
// p through k. Act is the activation in front of the convolution and s its
// output, the convolution's input; None leaves the factor and s out. r is the
// gradient from where else the input is used, if Residual.
//
// Arguments: dx [N,T,H,W,C]; dy [N,T',H',W',O], w [O,KT,KH,KW,C], s like dx
// unless Act is None, and r like dx if Residual.
type ConvGradX struct{ Conv }

// ConvGradW is the gradient of a convolution with respect to its weights.
//
//	dw[o,k,c] = Σ dy[q,o] · x[p,c]
//
// with the sum over the output pixels q, p being the pixel that q reads through
// tap k. Act and Residual must be unset.
//
// Arguments: dw [O,KT,KH,KW,C]; dy [N,T',H',W',O], x [N,T,H,W,C].
type ConvGradW struct{ Conv }

// ConvGradWB is ConvGradW and the gradient of the bias, db[o] = Σ dy[q,o], which reads the
// same dy.
//
// Arguments: dw [O,KT,KH,KW,C], db [O]; dy [N,T',H',W',O], x [N,T,H,W,C].
type ConvGradWB struct{ Conv }

// Out is the size of the result in time, height and width.
func (s Conv) Out() (t, h, w int) {
	return (s.T+s.PT-s.DT*(s.KT-1)-1)/s.ST + 1, (s.H+2*s.PH-s.KH)/s.SH + 1, (s.W+2*s.PW-s.KW)/s.SW + 1
}

// taps is the number of weights of one output channel.
func (s Conv) taps() int { return s.KT * s.KH * s.KW * s.C }

// pixels is the number of output pixels of the batch.
func (s Conv) pixels() int {
	t, h, w := s.Out()
	return s.N * t * h * w
}

func (s Conv) sizes() error {
	for _, d := range []struct {
		name     string
		size, lo int
	}{
		{"N", s.N, 1}, {"T", s.T, 1}, {"H", s.H, 1}, {"W", s.W, 1}, {"C", s.C, 1}, {"O", s.O, 1},
		{"KT", s.KT, 1}, {"KH", s.KH, 1}, {"KW", s.KW, 1}, {"ST", s.ST, 1}, {"SH", s.SH, 1}, {"SW", s.SW, 1},
		{"DT", s.DT, 1}, {"PT", s.PT, 0}, {"PH", s.PH, 0}, {"PW", s.PW, 0},
	} {
		if d.size < d.lo || d.size > math.MaxInt32 {
			return fmt.Errorf("%s is %d, want %d to 2^31-1", d.name, d.size, d.lo)
		}
	}
	for _, d := range []struct {
		name         string
		size, kernel int
	}{{"T+PT", s.T + s.PT, s.DT*(s.KT-1) + 1}, {"H+2·PH", s.H + 2*s.PH, s.KH}, {"W+2·PW", s.W + 2*s.PW, s.KW}} {
		if d.size < d.kernel {
			return fmt.Errorf("%s is %d, smaller than the kernel's extent %d: the result would be empty", d.name, d.size, d.kernel)
		}
	}
	t, h, w := s.Out()
	for _, d := range []struct {
		name  string
		sizes []int
	}{
		{"the input", []int{s.N, s.T, s.H, s.W, s.C}}, {"the result", []int{s.N, t, h, w, s.O}},
		{"the weights", []int{s.O, s.KT, s.KH, s.KW, s.C}},
	} {
		n := 1
		for _, v := range d.sizes {
			if n *= v; n > math.MaxInt32 {
				return fmt.Errorf("%s %v would have 2^31 values or more", d.name, d.sizes)
			}
		}
	}
	return nil
}

func (s Conv) Validate() error {
	if err := s.sizes(); err != nil {
		return err
	}
	return s.Act.validate()
}

func (s ConvGradX) Validate() error {
	if err := s.sizes(); err != nil {
		return err
	}
	if err := s.Act.validate(); err != nil {
		return err
	}
	if s.Act != None && !s.Act.FromOutput() {
		return fmt.Errorf("the slope of %v does not follow from its output; use an activation gradient of its own", s.Act)
	}
	return nil
}

func (s ConvGradW) Validate() error {
	if s.Act != None || s.Residual {
		return fmt.Errorf("Act and Residual must be unset: the gradient of the weights does not depend on them")
	}
	return s.sizes()
}

func (s ConvGradWB) Validate() error { return ConvGradW(s).Validate() }

func (s Conv) xShape() []int { return []int{s.N, s.T, s.H, s.W, s.C} }
func (s Conv) wShape() []int { return []int{s.O, s.KT, s.KH, s.KW, s.C} }
func (s Conv) yShape() []int {
	t, h, w := s.Out()
	return []int{s.N, t, h, w, s.O}
}

func (s Conv) Args() []Arg {
	a := []Arg{either(out("y", s.yShape()...)), factor(either(in("x", s.xShape()...))), factor(either(in("w", s.wShape()...))), in("b", s.O)}
	if s.Residual {
		a = append(a, either(in("r", s.yShape()...)))
	}
	return a
}

func (s ConvGradX) Args() []Arg {
	a := []Arg{either(out("dx", s.xShape()...)), factor(either(in("dy", s.yShape()...))), factor(either(in("w", s.wShape()...)))}
	if s.Act != None {
		a = append(a, either(in("s", s.xShape()...)))
	}
	if s.Residual {
		a = append(a, either(in("r", s.xShape()...)))
	}
	return a
}

func (s ConvGradW) Args() []Arg {
	return []Arg{out("dw", s.wShape()...), factor(either(in("dy", s.yShape()...))), factor(either(in("x", s.xShape()...)))}
}

func (s ConvGradWB) Args() []Arg {
	return slices.Insert(ConvGradW(s).Args(), 1, out("db", s.O))
}

// FLOPs counts the taps that fall on zeros outside the input too.
func (s Conv) FLOPs() int64 {
	return 2 * int64(s.pixels()) * int64(s.O) * int64(s.taps())
}

// eachTap calls f for every output pixel and tap inside the input: the indices of
// the pixels and of the tap, each to be multiplied by its number of channels.
func (s Conv) eachTap(f func(out, in, tap int)) {
	ot, oh, ow := s.Out()
	out := 0
	for n := range s.N {
		for t := range ot {
			for h := range oh {
				for w := range ow {
					tap := 0
					for i := range s.KT {
						for j := range s.KH {
							for l := range s.KW {
								ti, hi, wi := t*s.ST-s.PT+i*s.DT, h*s.SH-s.PH+j, w*s.SW-s.PW+l
								if 0 <= ti && ti < s.T && 0 <= hi && hi < s.H && 0 <= wi && wi < s.W {
									f(out, ((n*s.T+ti)*s.H+hi)*s.W+wi, tap)
								}
								tap++
							}
						}
					}
					out++
				}
			}
		}
	}
}

func (s Conv) Grads() []Grad {
	if s.Act != None || s.Residual {
		return nil
	}
	return []Grad{
		grad("x", ConvGradX{s}, "dy", "w"),
		grad("w", ConvGradW{s}, "dy", "x"),
		grad("b", SumRows{Rows: s.pixels(), C: s.O}, "dy"),
	}
}

func (s Conv) Define(args ...[]float32) {
	y, x, w, b := args[0], args[1], args[2], args[3]
	taps := s.KT * s.KH * s.KW
	sum := make([]float64, len(y))
	s.eachTap(func(out, in, tap int) {
		for o := range s.O {
			for c := range s.C {
				sum[out*s.O+o] += float64(x[in*s.C+c]) * float64(w[(o*taps+tap)*s.C+c])
			}
		}
	})
	for i, v := range sum {
		v = s.Act.Apply(v + float64(b[i%s.O]))
		if s.Residual {
			v += float64(args[4][i])
		}
		y[i] = float32(v)
	}
}

func (s ConvGradX) Grads() []Grad {
	if s.Act != None || s.Residual {
		return nil
	}
	return []Grad{grad("dy", s.Conv, "ddx", "w", ZeroArg), grad("w", ConvGradW{s.Conv}, "dy", "ddx")}
}

func (s ConvGradX) Define(args ...[]float32) {
	dx, dy, w := args[0], args[1], args[2]
	taps := s.KT * s.KH * s.KW
	sum := make([]float64, len(dx))
	s.eachTap(func(out, in, tap int) {
		for o := range s.O {
			for c := range s.C {
				sum[in*s.C+c] += float64(dy[out*s.O+o]) * float64(w[(o*taps+tap)*s.C+c])
			}
		}
	})
	for i, v := range sum {
		if s.Residual {
			v += float64(args[len(args)-1][i])
		}
		if s.Act != None {
			v *= s.Act.Slope(float64(args[3][i]))
		}
		dx[i] = float32(v)
	}
}

func (s ConvGradW) Grads() []Grad { return nil }

func (s ConvGradW) Define(args ...[]float32) {
	dw, dy, x := args[0], args[1], args[2]
	taps := s.KT * s.KH * s.KW
	sum := make([]float64, len(dw))
	s.eachTap(func(out, in, tap int) {
		for o := range s.O {
			for c := range s.C {
				sum[(o*taps+tap)*s.C+c] += float64(dy[out*s.O+o]) * float64(x[in*s.C+c])
			}
		}
	})
	for i, v := range sum {
		dw[i] = float32(v)
	}
}

func (s ConvGradWB) FLOPs() int64  { return s.Conv.FLOPs() + int64(s.pixels())*int64(s.O) }
func (s ConvGradWB) Grads() []Grad { return nil }

func (s ConvGradWB) Define(args ...[]float32) {
	ConvGradW(s).Define(args[0], args[2], args[3])
	SumRows{Rows: s.pixels(), C: s.O}.Define(args[1], args[2])
}
