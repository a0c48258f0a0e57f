package kernels

import (
	"fmt"
	"math"
)

// Constants of Wang, Bovik, Sheikh, Simoncelli (2004) for values in [0,1].
const (
	ssimSigma   = 1.5
	ssimC1      = .01 * .01
	ssimC2      = .03 * .03
	ssimLongest = 31 // window
)

// SSIMLoss is one minus the structural similarity of frames, weighted by pixels.
//
//	loss = Σ_q weight_q mean_c (1 - S_qc) / Σ_q weight_q, and 0 if all weights are
//	S    = (2·mx·mt + C1)·(2·cov + C2) / ((mx² + mt² + C1)·(vx + vt + C2))
//
// with the means mx and mt, variances vx and vt and covariance cov of x and target under a
// gaussian window of Window×Window pixels, sigma 1.5, C1 = 1e-4 and C2 = 9e-4. The sums are over the
// windows that are whole inside a frame; q is the pixel in the middle of one.
// Arguments: loss scalar; x [N,H,W,C], target [N,H,W,C], weight [N,H,W].
type SSIMLoss struct {
	N, H, W, C int
	Window     int
}

func (s SSIMLoss) Validate() error {
	if err := positive([]string{"N", "H", "W", "C"}, s.N, s.H, s.W, s.C); err != nil {
		return err
	}
	if most := min(s.H, s.W, ssimLongest); s.Window < 1 || s.Window > most || s.Window%2 == 0 {
		return fmt.Errorf("Window is %d, want an odd number from 1 to %d", s.Window, most)
	}
	return nil
}

// FLOPs counts five sums of the window.
func (s SSIMLoss) FLOPs() int64 { return 10 * s.products() }

// products is the number of values of all windows.
func (s SSIMLoss) products() int64 {
	h, w := s.windows()
	return int64(s.N*h*w*s.C) * int64(s.Window*s.Window)
}

// windows is their number along height and width.
func (s SSIMLoss) windows() (h, w int) { return s.H - s.Window + 1, s.W - s.Window + 1 }

func (s SSIMLoss) Args() []Arg {
	return []Arg{out("loss"), in("x", s.N, s.H, s.W, s.C), in("target", s.N, s.H, s.W, s.C), in("weight", s.N, s.H, s.W)}
}

func (s SSIMLoss) Grads() []Grad {
	return []Grad{grad("x", SSIMLossGrad(s), "dloss", "x", "target", "weight")}
}

// ssimTaps are the weights of a window along an axis. Their sum is 1.
func ssimTaps(window int) []float64 {
	taps, sum := make([]float64, window), 0.
	for i := range taps {
		d := float64(i - window/2)
		taps[i] = math.Exp(-d * d / (2 * ssimSigma * ssimSigma))
		sum += taps[i]
	}
	for i := range taps {
		taps[i] /= sum
	}
	return taps
}

// each calls do for every window and channel with the index of the middle pixel, and that
// of the first value.
func (s SSIMLoss) each(do func(middle, first int)) {
	h, w := s.windows()
	for n := range s.N {
		for i := range h {
			for j := range w {
				p := (n*s.H+i)*s.W + j
				for c := range s.C {
					do(p+s.Window/2*(s.W+1), p*s.C+c)
				}
			}
		}
	}
}

// inside calls do for the values of the window from the value first on, with their weights.
func (s SSIMLoss) inside(taps []float64, first int, do func(i int, g float64)) {
	for a, ga := range taps {
		for b, gb := range taps {
			do(first+(a*s.W+b)*s.C, ga*gb)
		}
	}
}

// ssimMoments are the window's means of x, t, x², t² and x·t.
type ssimMoments struct{ x, t, xx, tt, xt float64 }

// index is S, and its derivatives by the moments x, xx and xt.
func (m ssimMoments) index() (s, dx, dxx, dxt float64) {
	a1, a2 := 2*m.x*m.t+ssimC1, 2*(m.xt-m.x*m.t)+ssimC2
	b1, b2 := m.x*m.x+m.t*m.t+ssimC1, m.xx-m.x*m.x+m.tt-m.t*m.t+ssimC2
	s = a1 * a2 / (b1 * b2)
	return s, 2*m.t*(a2-a1)/(b1*b2) - 2*m.x*s*(1/b1-1/b2), -s / b2, 2 * a1 / (b1 * b2)
}

func (s SSIMLoss) moments(taps []float64, x, target []float32, first int) (m ssimMoments) {
	s.inside(taps, first, func(i int, g float64) {
		a, b := float64(x[i]), float64(target[i])
		m.x, m.t, m.xx, m.tt, m.xt = m.x+g*a, m.t+g*b, m.xx+g*a*a, m.tt+g*b*b, m.xt+g*a*b
	})
	return m
}

func (s SSIMLoss) Define(args ...[]float32) {
	x, target, weight := args[1], args[2], args[3]
	taps, sum, total := ssimTaps(s.Window), 0., 0.
	s.each(func(middle, first int) {
		similar, _, _, _ := s.moments(taps, x, target, first).index()
		sum += float64(weight[middle]) * (1 - similar)
		total += float64(weight[middle]) // once for each channel
	})
	args[0][0] = 0
	if total != 0 {
		args[0][0] = float32(sum / total)
	}
}

// SSIMLossGrad is dx = dloss·dloss/dx of SSIMLoss.
// Arguments: dx [N,H,W,C]; dloss scalar, x [N,H,W,C], target [N,H,W,C], weight [N,H,W].
type SSIMLossGrad struct {
	N, H, W, C int
	Window     int
}

func (s SSIMLossGrad) Validate() error { return SSIMLoss(s).Validate() }

// FLOPs counts five sums of the window, and three to return to the pixels.
func (s SSIMLossGrad) FLOPs() int64 { return 16 * SSIMLoss(s).products() }

func (s SSIMLossGrad) Args() []Arg {
	return []Arg{out("dx", s.N, s.H, s.W, s.C), in("dloss"), in("x", s.N, s.H, s.W, s.C), in("target", s.N, s.H, s.W, s.C), in("weight", s.N, s.H, s.W)}
}

func (s SSIMLossGrad) Grads() []Grad { return nil }

func (s SSIMLossGrad) Define(args ...[]float32) {
	dloss, x, target, weight := float64(args[1][0]), args[2], args[3], args[4]
	f, taps, total := SSIMLoss(s), ssimTaps(s.Window), 0.
	f.each(func(middle, _ int) { total += float64(weight[middle]) })
	sum := make([]float64, len(args[0]))
	f.each(func(middle, first int) {
		_, dx, dxx, dxt := f.moments(taps, x, target, first).index()
		f.inside(taps, first, func(i int, g float64) {
			sum[i] -= float64(weight[middle]) * g * (dx + 2*float64(x[i])*dxx + float64(target[i])*dxt)
		})
	})
	for i, v := range sum {
		args[0][i] = 0
		if total != 0 {
			args[0][i] = float32(dloss * v / total)
		}
	}
}
