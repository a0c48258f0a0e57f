package kernels

import (
	"fmt"
	"slices"
)

// ConvGEGLU is a convolution and the GEGLU of its result, which is in memory once more for the
// backward pass alone.
//
//	h = Conv(x),  y[q,c] = h[q,c]·GELU(h[q,O/2+c])
//
// O must be even, Act and Residual must be unset.
//
// Arguments: y [N,T',H',W',O/2], h [N,T',H',W',O]; x [N,T,H,W,C], w [O,KT,KH,KW,C], b [O].
type ConvGEGLU struct{ Conv }

func (s ConvGEGLU) Validate() error {
	if s.Act != None || s.Residual || s.O%2 != 0 {
		return fmt.Errorf("O is %d, Act %v, Residual %v: want an even O, and the others unset: GEGLU reads what the convolution gives", s.O, s.Act, s.Residual)
	}
	return s.sizes()
}

func (s ConvGEGLU) geglu() GEGLU { return GEGLU{s.pixels(), s.O / 2} }

func (s ConvGEGLU) Args() []Arg {
	y, h := s.yShape(), s.Conv.Args()
	y[len(y)-1] /= 2
	h[0].Name = "h"
	return slices.Insert(h, 0, either(out("y", y...)))
}

func (s ConvGEGLU) FLOPs() int64  { return s.Conv.FLOPs() + s.geglu().FLOPs() }
func (s ConvGEGLU) Grads() []Grad { return nil }

func (s ConvGEGLU) Define(args ...[]float32) {
	s.Conv.Define(args[1:]...)
	s.geglu().Define(args[:2]...)
}

// cpu is the convolution, then GEGLU.
func (s ConvGEGLU) cpu(c *CPU) (stages []stage) {
	for _, x := range s.Conv.cpu(c) {
		stages = append(stages, stage{x.tasks, func(args [][]float32, task, worker int) { x.do(args[1:], task, worker) }})
	}
	return append(stages, s.geglu().cpu(c)...)
}

// ConvGradGEGLU is the gradient of a convolution with respect to the input of the GEGLU in
// front of it: ConvGradX, then GEGLUGrad, without the gradient between them in memory.
//
//	d[p,c] = Σ dy[q,o] · w[o,k,c],  du = d·GELU(g),  dg = d·u·GELU'(g)
//
// with the sum of ConvGradX. Act and Residual must be unset.
//
// Arguments: dx [N,T,H,W,2C], its channels du, then dg; dy [N,T',H',W',O], w [O,KT,KH,KW,C], x
// like dx, its channels u, then g.
type ConvGradGEGLU struct{ Conv }

func (s ConvGradGEGLU) Validate() error {
	if s.Act != None || s.Residual {
		return fmt.Errorf("Act and Residual must be unset: the convolution reads what GEGLU gives")
	}
	if err := s.sizes(); err != nil {
		return err
	}
	double := s.Conv
	double.C *= 2 // as dx and x have them
	return double.sizes()
}

func (s ConvGradGEGLU) xShape() []int { return []int{s.N, s.T, s.H, s.W, 2 * s.C} }

func (s ConvGradGEGLU) Args() []Arg {
	return []Arg{either(out("dx", s.xShape()...)), factor(either(in("dy", s.yShape()...))), factor(either(in("w", s.wShape()...))), either(in("x", s.xShape()...))}
}

func (s ConvGradGEGLU) geglu() GEGLUGrad { return GEGLUGrad{s.N * s.T * s.H * s.W, s.C} }

func (s ConvGradGEGLU) FLOPs() int64  { return s.Conv.FLOPs() + s.geglu().FLOPs() }
func (s ConvGradGEGLU) Grads() []Grad { return nil }

func (s ConvGradGEGLU) Define(args ...[]float32) {
	d := make([]float32, len(args[0])/2)
	ConvGradX(s).Define(d, args[1], args[2])
	s.geglu().Define(args[0], d, args[3])
}

// cpu takes the slopes of the products of a task while these are in the cache.
func (s ConvGradGEGLU) cpu(c *CPU) []stage {
	back, x := c.vec().gegluGrad, ConvGradX(s)
	return x.phaseProducts(c, func(ph phase, p *product) func(args [][]float32, task, worker int) {
		return func(args [][]float32, task, worker int) {
			x.pixelSums(ph, p, args[1], task, c.scratch[worker], func(d []float32, pixel int) {
				dx, x := args[0][2*pixel*s.C:][:2*s.C], args[3][2*pixel*s.C:][:2*s.C]
				back(dx[:s.C], dx[s.C:], d, x[:s.C], x[s.C:])
			})
		}
	})
}
