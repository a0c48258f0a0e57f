package kernels

import "fmt"

// ConvGradShuffle is the gradient of a convolution with respect to the input of the Shuffle in
// front of it, which goes up, PhaseFirst, with an activation: ConvGradX, then ShuffleGrad, without
// the gradient between them in memory.
//
//	d[n,t,h,w,c] = Σ dy[q,o] · w[o,k,c] + r[n,t,h,w,c]
//	dx[n, t/FT, h/FH, w/FW, ((t%FT·FH + h%FH)·FW + w%FW)·C + c] = d[n,t,h,w,c] · Act'(x at the same place)
//
// with the sum of ConvGradX. Act is that of the Shuffle: SiLU or GELU. FT, FH and FW are powers of
// two and divide T, H and W.
//
// Arguments: dx [N,T/FT,H/FH,W/FW,FT·FH·FW·C]; dy [N,T',H',W',O], w [O,KT,KH,KW,C], x like dx, and
// r [N,T,H,W,C] if Residual.
type ConvGradShuffle struct {
	Conv
	FT, FH, FW int
}

func (s ConvGradShuffle) Validate() error {
	if s.Act == None || s.Act.FromOutput() {
		return fmt.Errorf("Act is %v, want SiLU or GELU", s.Act)
	}
	if err := s.Conv.Validate(); err != nil {
		return err
	}
	for _, a := range []struct {
		factor, axis string
		f, size      int
	}{{"FT", "T", s.FT, s.T}, {"FH", "H", s.FH, s.H}, {"FW", "W", s.FW, s.W}} {
		if a.f < 1 || a.f&(a.f-1) != 0 || a.size%a.f != 0 {
			return fmt.Errorf("%s is %d, %s is %d: want a power of two that divides %[3]s", a.factor, a.f, a.axis, a.size)
		}
	}
	return nil
}

// gradX and shuffle are the gradients that it joins.
func (s ConvGradShuffle) gradX() ConvGradX {
	s.Act = None
	return ConvGradX{s.Conv}
}

func (s ConvGradShuffle) shuffle() ShuffleGrad {
	return ShuffleGrad{Shuffle{N: s.N, T: s.T / s.FT, H: s.H / s.FH, W: s.W / s.FW, C: s.C, FT: s.FT, FH: s.FH, FW: s.FW, Act: s.Act, PhaseFirst: true}}
}

func (s ConvGradShuffle) Args() []Arg {
	deep := s.shuffle().from()
	a := []Arg{either(out("dx", deep...)), factor(either(in("dy", s.yShape()...))), factor(either(in("w", s.wShape()...))), either(in("x", deep...))}
	if s.Residual {
		a = append(a, either(in("r", s.xShape()...)))
	}
	return a
}

func (s ConvGradShuffle) FLOPs() int64  { return s.Conv.FLOPs() + s.shuffle().FLOPs() }
func (s ConvGradShuffle) Grads() []Grad { return nil }

func (s ConvGradShuffle) Define(args ...[]float32) {
	d := make([]float32, len(args[0]))
	s.gradX().Define(append([][]float32{d, args[1], args[2]}, args[4:]...)...)
	s.shuffle().Define(args[0], d, args[3])
}

// place is the pixel of dx, of C channels, that a pixel of [N,T,H,W] becomes.
func (s ConvGradShuffle) place(pixel int) int {
	w, h, t := pixel%s.W, pixel/s.W%s.H, pixel/s.W/s.H // t counts the frames of all clips
	deep := (t/s.FT*(s.H/s.FH)+h/s.FH)*(s.W/s.FW) + w/s.FW
	return ((deep*s.FT+t%s.FT)*s.FH+h%s.FH)*s.FW + w%s.FW
}

// cpu takes the slopes of the products of a task while these are in the cache.
func (s ConvGradShuffle) cpu(c *CPU) []stage {
	add, x := c.vec().add, s.gradX()
	return x.phaseProducts(c, func(ph phase, p *product) func(args [][]float32, task, worker int) {
		return func(args [][]float32, task, worker int) {
			x.pixelSums(ph, p, args[1], task, c.scratch[worker], func(d []float32, pixel int) {
				from := s.place(pixel) * s.C
				dx := args[0][from:][:s.C]
				if s.Residual {
					add(dx, d, args[4][pixel*s.C:][:s.C])
					d = dx
				}
				c.gradSlice(s.Act, dx, d, args[3][from:][:s.C])
			})
		}
	})
}
