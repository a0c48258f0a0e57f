package metrics

import (
	"math"
	"sync"
)

// Constants of Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From
// Error Visibility to Structural Similarity", 2004, for values in [0,1].
const (
	ssimWindow = 11
	ssimSigma  = 1.5
	ssimC1     = .01 * .01
	ssimC2     = .03 * .03
)

// SSIM is the mean structural similarity of two frames [H,W,C] in [0,1]: a
// gaussian window of 11x11 pixels, sigma 1.5, over the positions where it is
// whole inside the frame, averaged over these and over channels. A frame with a
// side below 11 gets the largest odd window that fits.
func SSIM(x, y []float32, h, w, c int) float64 {
	b := newBlur(h, w, c)
	mx, my := b.moments(), b.moments()
	xy := make([]float64, b.outputs())
	b.run(mx.mean, x, nil)
	b.run(mx.square, x, x)
	b.run(my.mean, y, nil)
	b.run(my.square, y, y)
	b.run(xy, x, y)
	return similarity(mx, my, xy)
}

// moments are the blurred frame and the blurred square of a frame.
type moments struct{ mean, square []float64 }

// similarity averages Wang's index; xy is the blurred product.
func similarity(x, y moments, xy []float64) float64 {
	sum := 0.
	for i, mx := range x.mean {
		my := y.mean[i]
		variances := x.square[i] - mx*mx + y.square[i] - my*my
		sum += (2*mx*my + ssimC1) * (2*(xy[i]-mx*my) + ssimC2) / ((mx*mx + my*my + ssimC1) * (variances + ssimC2))
	}
	return sum / float64(len(x.mean))
}

// blur is the gaussian window, applied to rows and then to columns.
type blur struct {
	h, w, c int
	taps    []float64
}

func newBlur(h, w, c int) *blur {
	n := min(ssimWindow, h, w)
	if n%2 == 0 {
		n--
	}
	b := &blur{h: h, w: w, c: c, taps: make([]float64, n)}
	sum := 0.
	for i := range b.taps {
		d := float64(i - n/2)
		b.taps[i] = math.Exp(-d * d / (2 * ssimSigma * ssimSigma))
		sum += b.taps[i]
	}
	for i := range b.taps {
		b.taps[i] /= sum
	}
	return b
}

func (b *blur) outputs() int { return (b.h - len(b.taps) + 1) * (b.w - len(b.taps) + 1) * b.c }

func (b *blur) moments() moments {
	return moments{make([]float64, b.outputs()), make([]float64, b.outputs())}
}

// run writes the blurred product of two frames [H,W,C], or of one when y is nil.
func (b *blur) run(dst []float64, x, y []float32) {
	wide, narrow := b.w*b.c, (b.w-len(b.taps)+1)*b.c
	rows := make([]float64, b.h*narrow)
	line := make([]float64, wide)
	for r := range b.h {
		row := x[r*wide:][:wide]
		if y == nil {
			for i, v := range row {
				line[i] = float64(v)
			}
		} else {
			other := y[r*wide:][:wide]
			for i, v := range row {
				line[i] = float64(v) * float64(other[i])
			}
		}
		out := rows[r*narrow:][:narrow]
		for k, tap := range b.taps {
			for i, v := range line[k*b.c:][:narrow] {
				out[i] += tap * v
			}
		}
	}
	clear(dst)
	for r := range b.h - len(b.taps) + 1 {
		out := dst[r*narrow:][:narrow]
		for k, tap := range b.taps {
			for i, v := range rows[(r+k)*narrow:][:narrow] {
				out[i] += tap * v
			}
		}
	}
}

// ssimFrames compares the frames of a clip with every guess. Blurred frames are
// kept while a baseline repeats them, so five comparisons cost eight blurs
// instead of twenty-five, and the eight run side by side.
type ssimFrames struct {
	blur     *blur
	of       [guesses]moments // of each guess; previousFrame's are swapped with the target's
	target   moments
	products [guesses][]float64
}

func newSSIMFrames(h, w, c int, mean []float32) *ssimFrames {
	b := newBlur(h, w, c)
	s := &ssimFrames{blur: b, target: b.moments()}
	for g := range s.of {
		s.of[g], s.products[g] = b.moments(), make([]float64, b.outputs())
	}
	for i := range s.of[white].mean {
		s.of[white].mean[i], s.of[white].square[i] = 1, 1
	}
	if mean != nil {
		b.run(s.of[meanFrame].mean, mean, nil)
		b.run(s.of[meanFrame].square, mean, mean)
	}
	return s
}

// next is the SSIM of each guess for frame f; frames come in order.
func (s *ssimFrames) next(f int, frame []float32, guess *[guesses][]float32) (similar [guesses]float64) {
	s.target, s.of[previousFrame] = s.of[previousFrame], s.target
	var wait sync.WaitGroup
	run := func(dst []float64, x, y []float32) { wait.Go(func() { s.blur.run(dst, x, y) }) }
	run(s.target.mean, frame, nil)
	run(s.target.square, frame, frame)
	run(s.of[recon].mean, guess[recon], nil)
	run(s.of[recon].square, guess[recon], guess[recon])
	run(s.products[recon], frame, guess[recon])
	if f > 0 {
		run(s.products[firstFrame], frame, guess[firstFrame])
	}
	if f > 1 {
		run(s.products[previousFrame], frame, guess[previousFrame])
	}
	if guess[meanFrame] != nil {
		run(s.products[meanFrame], frame, guess[meanFrame])
	}
	wait.Wait()

	if f == 0 {
		copy(s.of[firstFrame].mean, s.target.mean)
		copy(s.of[firstFrame].square, s.target.square)
	}
	similar[recon] = similarity(s.target, s.of[recon], s.products[recon])
	similar[white] = similarity(s.target, s.of[white], s.target.mean)
	similar[firstFrame], similar[previousFrame] = 1, 1
	if f > 0 {
		similar[firstFrame] = similarity(s.target, s.of[firstFrame], s.products[firstFrame])
		similar[previousFrame] = similar[firstFrame]
	}
	if f > 1 {
		similar[previousFrame] = similarity(s.target, s.of[previousFrame], s.products[previousFrame])
	}
	if guess[meanFrame] != nil {
		similar[meanFrame] = similarity(s.target, s.of[meanFrame], s.products[meanFrame])
	}
	return similar
}
