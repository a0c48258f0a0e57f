package kernels

import (
	"math"
)

// minPower is the floor of the sum of squares that demodulation divides by.
const minPower = 1e-8

// Modulate makes convolution weights of each sample (Karras et al., "Analyzing and
// improving the image quality of StyleGAN", 2020).
//
//	v_nokc = w_okc (1 + s_nc),  m_nokc = v_nokc/sqrt(max(sum over k,c of v_nokc², 1e-8))
//
// and without the division unless Demod. Taps is KT·KH·KW.
// Arguments: m [N,O,Taps,C]; w [O,Taps,C], s [N,C].
type Modulate struct {
	N, O, Taps, C int
	Demod         bool
}

func (s Modulate) Validate() error {
	return positive([]string{"N", "O", "Taps", "C"}, s.N, s.O, s.Taps, s.C)
}

func (s Modulate) values() int64 { return int64(s.N*s.O) * int64(s.Taps*s.C) }
func (s Modulate) FLOPs() int64  { return 5 * s.values() }

func (s Modulate) many(arg func(string, ...int) Arg, name string) Arg {
	return arg(name, s.N, s.O, s.Taps, s.C)
}

func (s Modulate) Args() []Arg {
	return []Arg{s.many(out, "m"), in("w", s.O, s.Taps, s.C), in("s", s.N, s.C)}
}

func (s Modulate) Grads() []Grad {
	return []Grad{grad("w", ModulateGradW{s}, "dm", "w", "s"), grad("s", ModulateGradS{s}, "dm", "w", "s")}
}

func (s Modulate) Define(args ...[]float32) {
	m, w, gain := args[0], args[1], args[2]
	row := s.Taps * s.C
	for i := range s.N * s.O {
		n, o := i/s.O, i%s.O
		s.row(m[i*row:][:row], w[o*row:][:row], gain[n*s.C:][:s.C])
	}
}

// row makes the weights of one output channel of a sample.
func (s Modulate) row(m, w, gain []float32) {
	scale, _ := s.scale(w, gain)
	for k := 0; k < len(w); k += s.C {
		for c, g := range gain {
			m[k+c] = float32(float64(w[k+c]) * (1 + float64(g)) * scale)
		}
	}
}

// scale is what v is multiplied by, and the same squared or 0 where it is constant.
func (s Modulate) scale(w, gain []float32) (scale, slope float64) {
	if !s.Demod {
		return 1, 0
	}
	power := 0.
	for k := 0; k < len(w); k += s.C {
		for c, g := range gain {
			v := float64(w[k+c]) * (1 + float64(g))
			power += v * v
		}
	}
	if power < minPower {
		return 1 / math.Sqrt(minPower), 0
	}
	return 1 / math.Sqrt(power), 1 / power
}

// back adds to dw, or if that is nil to ds, one output channel's and sample's part:
// with r the factor that v was multiplied by,
//
//	dv = r (dm - v r² sum(v dm)),  dw = dv (1+s),  ds = sum dv w
func (s Modulate) back(dw, ds []float64, dm, w, gain []float32) {
	scale, slope := s.scale(w, gain)
	along := 0.
	if slope > 0 {
		for k := 0; k < len(w); k += s.C {
			for c, g := range gain {
				along += float64(w[k+c]) * (1 + float64(g)) * float64(dm[k+c])
			}
		}
	}
	along *= slope
	for k := 0; k < len(w); k += s.C {
		for c, g := range gain {
			v, g := float64(w[k+c]), 1+float64(g)
			dv := scale * (float64(dm[k+c]) - v*g*along)
			if dw != nil {
				dw[k+c] += dv * g
			} else {
				ds[c] += dv * v
			}
		}
	}
}

// ModulateGradW is the gradient of Modulate with respect to w. With r the factor
// that demodulation multiplies by,
//
//	dv_nokc = r_no (dm_nokc - v_nokc r_no² sum over k,c of v_nokc dm_nokc)
//	dw_okc = sum over n of dv_nokc (1 + s_nc)
//
// and dv = r·dm where the floor holds. Arguments: dw [O,Taps,C];
// dm [N,O,Taps,C], w [O,Taps,C], s [N,C].
type ModulateGradW struct{ Modulate }

func (s ModulateGradW) FLOPs() int64 { return 10 * s.values() }

func (s ModulateGradW) Args() []Arg {
	return []Arg{out("dw", s.O, s.Taps, s.C), s.many(in, "dm"), in("w", s.O, s.Taps, s.C), in("s", s.N, s.C)}
}

func (s ModulateGradW) Grads() []Grad { return nil }

func (s ModulateGradW) Define(args ...[]float32) {
	sum := make([]float64, s.Taps*s.C)
	for o := range s.O {
		s.channel(args, o, sum)
	}
}

// channel writes the gradients of one output channel's weights.
func (s ModulateGradW) channel(args [][]float32, o int, sum []float64) {
	dw, dm, w, gain := args[0], args[1], args[2], args[3]
	row := len(sum)
	clear(sum)
	for n := range s.N {
		s.back(sum, nil, dm[(n*s.O+o)*row:][:row], w[o*row:][:row], gain[n*s.C:][:s.C])
	}
	for j, v := range sum {
		dw[o*row+j] = float32(v)
	}
}

// ModulateGradS is the gradient of Modulate with respect to s: dv as in
// ModulateGradW, ds_nc = sum over o,k of dv_nokc w_okc.
// Arguments: ds [N,C]; dm [N,O,Taps,C], w [O,Taps,C], s [N,C].
type ModulateGradS struct{ Modulate }

func (s ModulateGradS) FLOPs() int64 { return 10 * s.values() }

func (s ModulateGradS) Args() []Arg {
	return []Arg{out("ds", s.N, s.C), s.many(in, "dm"), in("w", s.O, s.Taps, s.C), in("s", s.N, s.C)}
}

func (s ModulateGradS) Grads() []Grad { return nil }

func (s ModulateGradS) Define(args ...[]float32) {
	sum := make([]float64, s.C)
	for n := range s.N {
		clear(sum)
		for o := range s.O {
			s.channel(args, n, o, sum)
		}
		for c, v := range sum {
			args[0][n*s.C+c] = float32(v)
		}
	}
}

// channel adds the part of one output channel of a sample.
func (s ModulateGradS) channel(args [][]float32, n, o int, sum []float64) {
	dm, w, gain := args[1], args[2], args[3]
	row := s.Taps * s.C
	s.back(nil, sum, dm[(n*s.O+o)*row:][:row], w[o*row:][:row], gain[n*s.C:][:s.C])
}

// Weights are few compared with activations: a task does with an output channel what the
// definition does.

func (s Modulate) cpu(*CPU) []stage {
	row := s.Taps * s.C
	return []stage{{s.N * s.O, func(args [][]float32, i, _ int) {
		n, o := i/s.O, i%s.O
		s.row(args[0][i*row:][:row], args[1][o*row:][:row], args[2][n*s.C:][:s.C])
	}}}
}

func (s ModulateGradW) cpu(c *CPU) []stage {
	sums := make([]float64, c.workers*s.Taps*s.C)
	return []stage{{s.O, func(args [][]float32, o, worker int) {
		s.channel(args, o, sums[worker*s.Taps*s.C:][:s.Taps*s.C])
	}}}
}

func (s ModulateGradS) cpu(*CPU) []stage {
	parts := make([]float64, s.N*s.O*s.C)
	return []stage{
		{s.N * s.O, func(args [][]float32, i, _ int) {
			part := parts[i*s.C:][:s.C]
			clear(part)
			s.channel(args, i/s.O, i%s.O, part)
		}},
		{s.N, func(args [][]float32, n, _ int) {
			for c := range s.C {
				sum := 0.
				for o := range s.O {
					sum += parts[(n*s.O+o)*s.C+c]
				}
				args[0][n*s.C+c] = float32(sum)
			}
		}},
	}
}
