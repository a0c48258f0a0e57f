package model

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func inflatedConfig() Config {
	c := OpenMagvit2Config(8, 8, Published{Multipliers: []int{2, 2}, Blocks: 1, Norm: "layer"})
	c.InitialWeights = inflatedInit
	return c
}

// Convolutions of three frames begin with weights of the last one, whose mean square is 2 over
// the terms of a sum, and those in front of depth to space with one pixel and equal phases.
func TestInflatedInitialWeights(t *testing.T) {
	tok, err := New(inflatedConfig())
	check(t, err)
	checked := 0
	for i, p := range tok.Params {
		if len(p.Shape) != 5 || p.Shape[1] != 3 {
			continue
		}
		w := make([]float32, p.Len())
		tok.Init(1, i, w)
		c := p.Shape[4]
		up, sum, n := strings.Contains(p.Name, "upsample"), 0., 0
		for k, v := range w {
			tap := k / c % 27
			if used := tap >= 18 && (!up || tap == 22); !used {
				if v != 0 {
					t.Fatalf("%s: weight %v at tap %d", p.Name, v, tap)
				}
				continue
			}
			sum += float64(v) * float64(v)
			n++
			if channels := p.Shape[0] / 8; up && v != w[k%(channels*27*c)] {
				t.Fatalf("%s: weight %d differs from that of the first phase", p.Name, k)
			}
		}
		terms := 9 * c
		if up {
			terms = c
		}
		if got, want := sum/float64(n), 2/float64(terms); math.Abs(got/want-1) > .25 {
			t.Errorf("%s: mean square %v, want %v", p.Name, got, want)
		}
		checked++
	}
	if checked < 10 {
		t.Errorf("%d convolutions of three frames", checked)
	}
}

// An inflated network begins as one for images: where time is halved, the latents of a code are
// those of its last frame.
func TestInflatedNetworkBeginsAsOneForImages(t *testing.T) {
	tok, err := New(inflatedConfig())
	check(t, err)
	s := Shape{N: 1, T: 5, H: 8, W: 8}
	video := make([]float32, s.T*s.H*s.W*3)
	for i := range video {
		video[i] = float32(i*i%97) / 97
	}
	frame := len(video) / s.T
	before := latentsOf(t, tok, s, video)
	clear(video[frame : 2*frame])
	clear(video[3*frame : 4*frame])
	if !slices.Equal(before, latentsOf(t, tok, s, video)) {
		t.Error("frames 1 and 3 change latents")
	}
	clear(video[4*frame:])
	after := latentsOf(t, tok, s, video)
	if last := len(after) / 3 * 2; !slices.Equal(before[:last], after[:last]) || slices.Equal(before[last:], after[last:]) {
		t.Error("frame 4 does not change the last latents, or changes others")
	}
}

func TestInflatedInitialWeightsAreForOpenMagvit2(t *testing.T) {
	images := inflatedConfig()
	images.Published.Images, images.FirstFrame = true, false
	other := small()
	other.InitialWeights = inflatedInit
	for _, c := range []Config{images, other} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "model.initial_weights: inflated: want compat open-magvit2, and clips") {
			t.Errorf("compat %q: %v", c.Compat, err)
		}
	}
}
