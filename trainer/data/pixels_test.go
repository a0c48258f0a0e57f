package data

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func bits(s string) []bool {
	var m []bool
	for _, c := range s {
		if c == '#' || c == '.' {
			m = append(m, c == '#')
		}
	}
	return m
}

// One frame of 4x5 grey pixels, background .5: .24 away is background, .26 is not.
func TestForegroundOfASmallClip(t *testing.T) {
	video := []float32{
		.5, .5, .5, .5, .5,
		.5, .74, .5, .5, .76,
		.5, .5, .5, .5, .5,
		.24, .5, .5, .5, .5,
	}
	for grow, want := range map[int]string{
		0: "..... ....# ..... #....",
		1: "...## ...## ##.## ##...",
		2: "..### ##### ##### #####",
	} {
		mask := make([]bool, 20)
		Foreground(mask, video, 1, 4, 5, 1, grow)
		if d := cmp.Diff(bits(want), mask); d != "" {
			t.Errorf("grow %d: %s", grow, d)
		}
	}
}

// On the synthetic set the foreground is where the smallest channel is below 1/2,
// grown by a square: the definition that the set's published numbers use.
func TestForegroundOfTheSyntheticSet(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: 4, Seed: 3, Size: 64, Frames: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		c := mustRead(t, set, i)
		mask := make([]bool, c.T*c.H*c.W)
		Foreground(mask, c.Video, c.T, c.H, c.W, c.C, 2)
		dot := func(f, y, x int) bool {
			if y < 0 || y >= c.H || x < 0 || x >= c.W {
				return false
			}
			p := c.Video[((f*c.H+y)*c.W+x)*3:]
			return min(p[0], p[1], p[2]) < .5
		}
		for k, got := range mask {
			f, y, x := k/(c.H*c.W), k/c.W%c.H, k%c.W
			want := false
			for d := range 25 {
				want = want || dot(f, y+d/5-2, x+d%5-2)
			}
			if got != want {
				t.Fatalf("clip %d, frame %d, pixel %d,%d: %v, want %v", i, f, y, x, got, want)
			}
		}
	}
}

func TestBackgroundIsTheMedian(t *testing.T) {
	bg := make([]float32, 2)
	Background(bg, []float32{0, 1, 0, 1, .2, .6, 1, .6, 1, .6})
	if d := cmp.Diff([]float32{51. / 255, 153. / 255}, bg); d != "" {
		t.Error(d)
	}
}

func TestFittedByHand(t *testing.T) {
	fit := func(frames []float32, h, w, H, W int, fy, fx float64) []float32 {
		dst := make([]float32, H*W)
		fitFrame(&scaled{}, dst, frames, h, w, 1, fit{H: H, W: W, fy: fy, fx: fx}, 1)
		return dst
	}
	near := cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }) // float32 rounding of a few sums
	for _, c := range []struct {
		name      string
		got, want []float32
	}{
		{"as it is", fit([]float32{0, .5, 1, .25}, 2, 2, 2, 2, .5, .5), []float32{0, .5, 1, .25}},
		{"cut in the middle", fit([]float32{0, 1, 0, .5}, 1, 4, 1, 2, .5, .5), []float32{1, 0}},
		{"cut on the right", fit([]float32{0, 1, 0, .5}, 1, 4, 1, 2, .5, 1), []float32{0, .5}},
		{"doubled", fit([]float32{0, 1, 0, 1}, 2, 2, 4, 4, 0, 0)[:4], []float32{0, .25, .75, 1}},
		// Weights 1/8 3/8 3/8 1/8, at the edge without what is missing.
		{"halved", fit([]float32{1, 0, 0, 0, 1, 0, 0, 0}, 2, 4, 1, 2, 0, 0), []float32{3. / 7, 0}},
	} {
		if d := cmp.Diff(c.want, c.got, near); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestChannels(t *testing.T) {
	if d := cmp.Diff([]float32{.2, .2, .2}, channels(nil, []float32{.2}, 1, 3)); d != "" {
		t.Error(d)
	}
	if got := channels(nil, []float32{1, .5, 0}, 3, 1)[0]; math.Abs(float64(got)-(.299+.587/2)) > 1e-6 { // float32 rounding
		t.Errorf("grey of orange is %v", got)
	}
}
