package metrics

import (
	"math"
	"slices"
	"testing"

	"magvit/kernels"
)

// literalSSIM is the formula of Wang et al. written down, one window at a time.
func literalSSIM(x, y []float32, h, w, c int) float64 {
	n := min(11, h, w)
	if n%2 == 0 {
		n--
	}
	weight := func(dy, dx int) float64 {
		a, b := float64(dy-n/2), float64(dx-n/2)
		return math.Exp(-(a*a + b*b) / (2 * 1.5 * 1.5))
	}
	all := 0.
	for dy := range n {
		for dx := range n {
			all += weight(dy, dx)
		}
	}
	sum, count := 0., 0
	for ch := range c {
		for oy := range h - n + 1 {
			for ox := range w - n + 1 {
				mean := func(f func(i int) float64) (m float64) {
					for dy := range n {
						for dx := range n {
							m += weight(dy, dx) / all * f(((oy+dy)*w+ox+dx)*c+ch)
						}
					}
					return m
				}
				mx := mean(func(i int) float64 { return float64(x[i]) })
				my := mean(func(i int) float64 { return float64(y[i]) })
				vx := mean(func(i int) float64 { return (float64(x[i]) - mx) * (float64(x[i]) - mx) })
				vy := mean(func(i int) float64 { return (float64(y[i]) - my) * (float64(y[i]) - my) })
				xy := mean(func(i int) float64 { return (float64(x[i]) - mx) * (float64(y[i]) - my) })
				sum += (2*mx*my + .0001) * (2*xy + .0009) / ((mx*mx + my*my + .0001) * (vx + vy + .0009))
				count++
			}
		}
	}
	return sum / float64(count)
}

func TestSSIMIsTheFormula(t *testing.T) {
	for _, s := range [][3]int{{11, 11, 1}, {14, 17, 3}, {20, 12, 2}, {10, 16, 3}, {2, 5, 1}, {1, 1, 3}} {
		h, w, c := s[0], s[1], s[2]
		x := noise(h*w*c, 1)
		y := noise(h*w*c, 2)
		for i := range y { // half alike, so that the covariance counts
			y[i] = (x[i] + y[i]) / 2
		}
		// 1e-9: both sum in float64; the fast one takes variances as differences of squares.
		near(t, "ssim", Number(SSIM(x, y, h, w, c)), literalSSIM(x, y, h, w, c), 1e-9)
	}
}

// The accumulator reuses blurred frames between guesses; each must equal the plain SSIM.
func TestSSIMOfGuesses(t *testing.T) {
	const h, w, c, frames = 13, 12, 3, 4
	size := h * w * c
	mean := noise(size, 9)
	a, err := New(Config{H: h, W: w, C: c, CodebookSize: 1, MeanFrame: mean})
	if err != nil {
		t.Fatal(err)
	}
	ones := slices.Repeat([]float32{1}, size)
	var want [guesses]float64
	for clip := range 2 {
		x, y := noise(frames*size, uint64(20+clip)), noise(frames*size, uint64(30+clip))
		if err := a.Add("clip", -1, frames, x, y, nil); err != nil {
			t.Fatal(err)
		}
		for f := range frames {
			frame := x[f*size:][:size]
			for g, guess := range [][]float32{y[f*size:][:size], ones, mean, x[:size], x[max(f-1, 0)*size:][:size]} {
				want[g] += SSIM(frame, guess, h, w, c) / (2 * frames)
			}
		}
	}
	r := a.Report()
	near(t, "reconstruction", r.SSIM, want[recon], 1e-12)
	for i, name := range BaselineNames {
		near(t, name, r.Baselines[name].SSIM, want[i+1], 1e-9)
	}
}

func BenchmarkAdd(b *testing.B) {
	const h, w, c, frames = 64, 64, 3, 16
	a, err := New(Config{H: h, W: w, C: c, CodebookSize: 1, MeanFrame: noise(h*w*c, 1), Foreground: darkMask})
	if err != nil {
		b.Fatal(err)
	}
	x, y := noise(frames*h*w*c, 2), noise(frames*h*w*c, 3)
	for b.Loop() {
		if err := a.Add("clip", -1, frames, x, y, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// The loss model.loss.ssim_weight is one minus the metric, where all pixels weigh the same.
func TestSSIMIsThatOfTheLoss(t *testing.T) {
	h, w, c := 14, 17, 3
	x, y, weight := noise(h*w*c, 1), noise(h*w*c, 2), slices.Repeat([]float32{2}, h*w)
	loss := make([]float32, 1)
	kernels.SSIMLoss{N: 1, H: h, W: w, C: c, Window: 11}.Define(loss, x, y, weight)
	if want := 1 - SSIM(x, y, h, w, c); math.Abs(float64(loss[0])-want) > 1e-6 {
		t.Errorf("loss %v, want %v", loss[0], want)
	}
}
