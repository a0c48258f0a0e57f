package quality

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"

	"magvit/trainer/metrics"
)

// psnr is the peak signal-to-noise ratio of the squared error pooled over all values, peak 1.
type psnr struct{}

func (psnr) about() Value { return Value{Name: "psnr", Unit: "dB", Better: "higher"} }

func (psnr) of(p Pair) ([]float64, error) {
	sum := 0.
	for i, v := range p.Original {
		d := float64(v) - float64(p.Recon[i])
		sum += d * d
	}
	return []float64{sum, float64(len(p.Original))}, nil
}

func (psnr) statistic(sum []float64) float64 { return float64(metrics.PSNR(sum[0] / sum[1])) }

// ssim is the mean over frames of metrics.SSIM.
type ssim struct{}

func (ssim) about() Value { return Value{Name: "ssim", Better: "higher"} }

func (ssim) of(p Pair) ([]float64, error) {
	sum := 0.
	for t := range p.T {
		sum += metrics.SSIM(p.frame(p.Original, t), p.frame(p.Recon, t), p.H, p.W, p.C)
	}
	return []float64{sum, float64(p.T)}, nil
}

func (ssim) statistic(sum []float64) float64 { return sum[0] / sum[1] }

// gradient is the mean absolute error of the magnitude of image gradients.
type gradient struct{}

func (gradient) about() Value { return Value{Name: "gradient", Better: "lower"} }

func (gradient) of(p Pair) ([]float64, error) {
	sum, n := 0., 0.
	for t := range p.T {
		x, y := p.frame(p.Original, t), p.frame(p.Recon, t)
		for h := range p.H - 1 {
			for w := range p.W - 1 {
				for c := range p.C {
					i := (h*p.W+w)*p.C + c
					sum += math.Abs(magnitude(x, i, p.W*p.C, p.C) - magnitude(y, i, p.W*p.C, p.C))
					n++
				}
			}
		}
	}
	return []float64{sum, n}, nil
}

func (gradient) statistic(sum []float64) float64 { return sum[0] / sum[1] }

// magnitude is the length of the differences of value i and those below it and to its right.
func magnitude(x []float32, i, below, right int) float64 {
	v := float64(x[i])
	return math.Hypot(float64(x[i+below])-v, float64(x[i+right])-v)
}

// sharpness is the energy above half the Nyquist frequency of the reconstructions over that
// of the originals.
type sharpness struct{ plans map[[2]int]*spectrum }

func newSharpness() *sharpness { return &sharpness{map[[2]int]*spectrum{}} }

func (*sharpness) about() Value { return Value{Name: "sharpness", Better: "1"} }

func (s *sharpness) of(p Pair) ([]float64, error) {
	plan := s.plans[[2]int{p.H, p.W}]
	if plan == nil {
		plan = newSpectrum(p.H, p.W)
		s.plans[[2]int{p.H, p.W}] = plan
	}
	sums := []float64{0, 0}
	for t := range p.T {
		for c := range p.C {
			sums[0] += plan.high(p.frame(p.Recon, t), c, p.C)
			sums[1] += plan.high(p.frame(p.Original, t), c, p.C)
		}
	}
	return sums, nil
}

// A ratio to originals without any such energy is NaN.
func (*sharpness) statistic(sum []float64) float64 {
	if sum[1] == 0 {
		return math.NaN()
	}
	return sum[0] / sum[1]
}

// spectrum computes energies of frames of h×w.
type spectrum struct {
	h, w         int
	rows         *fourier.FFT
	cols         *fourier.CmplxFFT
	hannH, hannW []float64
	line         []float64
	half         []complex128 // [h, w/2+1]
	column       []complex128
}

func newSpectrum(h, w int) *spectrum {
	return &spectrum{h: h, w: w, rows: fourier.NewFFT(w), cols: fourier.NewCmplxFFT(h), hannH: hann(h), hannW: hann(w),
		line: make([]float64, w), half: make([]complex128, h*(w/2+1)), column: make([]complex128, h)}
}

// hann is a window of n values that is 0 half a step beyond both ends.
func hann(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = .5 - .5*math.Cos(2*math.Pi*(float64(i)+.5)/float64(n))
	}
	return v
}

// high is the energy of a channel of a frame [h,w,channels], less its mean and under a Hann
// window, at frequencies of more than a quarter of a cycle per pixel, as a mean over pixels.
func (s *spectrum) high(x []float32, c, channels int) float64 {
	mean := 0.
	for i := c; i < len(x); i += channels {
		mean += float64(x[i])
	}
	mean /= float64(s.h * s.w)
	cols := s.w/2 + 1
	for h := range s.h {
		for w := range s.w {
			s.line[w] = (float64(x[(h*s.w+w)*channels+c]) - mean) * s.hannH[h] * s.hannW[w]
		}
		s.rows.Coefficients(s.half[h*cols:][:cols], s.line)
	}
	sum := 0.
	for w := range cols {
		for h := range s.h {
			s.column[h] = s.half[h*cols+w]
		}
		s.cols.Coefficients(s.column, s.column)
		twice := 2. // a column also counts for that of the negative frequency, which is not computed
		if w == 0 || 2*w == s.w {
			twice = 1
		}
		fx := float64(w) / float64(s.w)
		for h, v := range s.column {
			fy := float64(min(h, s.h-h)) / float64(s.h)
			if fx*fx+fy*fy > 1./16 {
				sum += twice * (real(v)*real(v) + imag(v)*imag(v))
			}
		}
	}
	n := float64(s.h * s.w)
	return sum / (n * n)
}
