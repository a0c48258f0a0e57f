package model

import (
	"math"
	"strings"
	"testing"

	"magvit/kernels"
)

// structured is a network whose loss has the terms of structureTerms.
func structured() Config {
	c := small()
	c.Loss.GradientWeight, c.Loss.SSIMWeight = .5, .25
	return c
}

// The terms are those of their definitions: image gradients at frames of 16×20, 8×10 and
// 4×5 pixels, and 1 - SSIM with windows of 11 pixels. Pixels without weight do not count.
func TestStructureTerms(t *testing.T) {
	tok, be := create(t, structured()), cpu(t)
	params, offsets := parameters(tok, 1)
	s := Shape{2, 2, 16, 20}
	g, err := tok.Training(s)
	check(t, err)
	p, err := g.Compile(be, params, make(kernels.Host, len(params)), offsets)
	check(t, err)
	video, weight := uniform("video", 2*2*16*20*3), uniform("weight", 2*2*16*20)
	clear(weight[:2*16*20]) // the first clip's
	check(t, be.Write(p.Buffer("video"), video))
	check(t, be.Write(p.Buffer("weight"), weight))
	check(t, p.Run())
	recon := p.Buffer("recon").(kernels.Host)
	values := map[string]float64{}
	for _, term := range p.Terms {
		values[term.Name] = float64(term.Buffer.(kernels.Host)[0])
	}
	want := 0.
	x, y, w, rows, cols := []float32(recon), video, weight, 16, 20
	for range 3 {
		sum, total := 0., 0.
		e := func(n, h, v, c int) float64 { i := ((n*rows+h)*cols+v)*3 + c; return float64(x[i]) - float64(y[i]) }
		for n := range 4 {
			for h := range rows {
				for v := range cols {
					k := float64(w[(n*rows+h)*cols+v])
					total += k
					for c := range 3 {
						if h+1 < rows {
							sum += k / 3 * math.Abs(e(n, h+1, v, c)-e(n, h, v, c))
						}
						if v+1 < cols {
							sum += k / 3 * math.Abs(e(n, h, v+1, c)-e(n, h, v, c))
						}
					}
				}
			}
		}
		want += sum / total / 3
		x, y, w = shrunk(x, rows, cols, 3), shrunk(y, rows, cols, 3), shrunk(w, rows, cols, 1)
		rows, cols = rows/2, cols/2
	}
	near := func(name string, want float64) {
		t.Helper()
		if got := values[name]; math.Abs(got-want) > 1e-4*want {
			t.Errorf("%s is %.7f, want %.7f", name, got, want)
		}
	}
	near("gradient", want)
	ssim := kernels.SSIMLoss{N: 4, H: 16, W: 20, C: 3, Window: 11}
	loss := make([]float32, 1)
	ssim.Define(loss, recon, video, weight)
	near("ssim", float64(loss[0]))
	if got, want := float64(p.Loss().(kernels.Host)[0]), values["recon"]+.5*values["gradient"]+.25*values["ssim"]; math.Abs(got-want) > 1e-5*want {
		t.Errorf("the loss is %.7f, want %.7f", got, want)
	}
}

// shrunk is the mean of 2×2 pixels of frames.
func shrunk(x []float32, rows, cols, c int) (y []float32) {
	at := func(n, h, w, k int) float64 { return float64(x[((n*rows+h)*cols+w)*c+k]) }
	for n := range len(x) / (rows * cols * c) {
		for h := range rows / 2 {
			for w := range cols / 2 {
				for k := range c {
					y = append(y, float32((at(n, 2*h, 2*w, k)+at(n, 2*h+1, 2*w, k)+at(n, 2*h, 2*w+1, k)+at(n, 2*h+1, 2*w+1, k))/4))
				}
			}
		}
	}
	return y
}

// Frames that are too small for SSIM's window or for all scales have smaller and fewer ones.
func TestStructureTermsOfSmallFrames(t *testing.T) {
	tok := create(t, structured())
	for _, s := range []Shape{{1, 2, 8, 8}, {1, 2, 16, 8}} {
		if _, err := tok.Training(s); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestStructureKeys(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"model.loss.gradient_weight: -1: want 0 to 1e+06": func(c *Config) { c.Loss.GradientWeight = -1 },
		"model.loss.gradient_scales: 9: want 1 to 8":      func(c *Config) { c.Loss.GradientScales = 9 },
		"model.loss.ssim_weight: -2: want 0 to 1e+06":     func(c *Config) { c.Loss.SSIMWeight = -2 },
	} {
		c := small()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
