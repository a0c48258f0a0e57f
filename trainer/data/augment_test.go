package data

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// variants draws rows of one clip [1,h,w,1] and counts the different ones.
func variants(t *testing.T, cfg Config, h, w int, video []float32, draws int) map[string]int {
	t.Helper()
	cfg.ValShare = .2
	l := mustLoad(t, &memorySource{clips: []Clip{{T: 1, H: h, W: w, C: 1, Video: video}}}, cfg, 1, true)
	seen := map[string]int{}
	for range draws {
		seen[fmt.Sprint(next(t, l).Video)]++
	}
	return seen
}

// A square of four values has eight poses, four of them by mirrors alone.
func TestFlipsAndTransposesOfASquare(t *testing.T) {
	square := []float32{.1, .2, .3, .4}
	mirrors := []string{"[0.1 0.2 0.3 0.4]", "[0.2 0.1 0.4 0.3]", "[0.3 0.4 0.1 0.2]", "[0.4 0.3 0.2 0.1]"}
	turns := []string{"[0.1 0.3 0.2 0.4]", "[0.3 0.1 0.4 0.2]", "[0.2 0.4 0.1 0.3]", "[0.4 0.2 0.3 0.1]"}
	for _, c := range []struct {
		cfg  Config
		want []string
	}{
		{Config{}, mirrors[:1]}, {Config{Flip: true}, mirrors},
		{Config{Transpose: true}, []string{mirrors[0], turns[0]}}, {Config{Flip: true, Transpose: true}, slices.Concat(mirrors, turns)},
	} {
		seen := variants(t, c.cfg, 2, 2, square, 400)
		for _, w := range c.want {
			// Five standard errors of 400 draws.
			p := 1 / float64(len(c.want))
			if got := float64(seen[w]); math.Abs(got-400*p) > 5*math.Sqrt(400*p*(1-p)) {
				t.Errorf("flip %v, transpose %v: %s came %v times of 400", c.cfg.Flip, c.cfg.Transpose, w, got)
			}
		}
		if len(seen) != len(c.want) {
			t.Errorf("flip %v, transpose %v: %d poses, want %d: %v", c.cfg.Flip, c.cfg.Transpose, len(seen), len(c.want), seen)
		}
	}
}

// A dot in the middle of 3x3 on .8: a shift by one pixel puts it anywhere, the
// background comes in.
func TestShiftFillsWithTheBackground(t *testing.T) {
	picture := slices.Repeat([]float32{.8}, 9)
	picture[4] = 0
	seen := variants(t, Config{Shift: 1}, 3, 3, picture, 400)
	for at := range 9 {
		want := slices.Repeat([]float32{.8}, 9)
		want[at] = 0
		if seen[fmt.Sprint(want)] < 400/9/3 {
			t.Errorf("the dot is %d times at %d, want about %d", seen[fmt.Sprint(want)], at, 400/9)
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d pictures, want 9: %v", len(seen), seen)
	}
}

// A dot 6 pixels from the middle of 21x21 keeps its distance and its mass, and
// turns by up to 30 degrees either way.
func TestRotation(t *testing.T) {
	const side, reach = 21, 6
	picture := slices.Repeat([]float32{1}, side*side)
	for d := range 9 {
		picture[(10+d/3-1)*side+10+reach+d%3-1] = 0
	}
	cfg := Config{Rotation: 30, ValShare: .2}
	l := mustLoad(t, &memorySource{clips: []Clip{{T: 1, H: side, W: side, C: 1, Video: picture}}}, cfg, 1, true)
	low, high := 0., 0.
	for range 100 {
		var y, x, mass float64
		for i, v := range next(t, l).Video {
			y, x, mass = y+float64(1-v)*float64(i/side-10), x+float64(1-v)*float64(i%side-10), mass+float64(1-v)
		}
		// Bilinear sampling keeps the mass of 9 pixels within a few percent.
		if r := math.Hypot(y, x) / mass; math.Abs(r-reach) > .15 || math.Abs(mass-9) > .5 {
			t.Fatalf("distance %.2f, mass %.2f; want 6, 9", r, mass)
		}
		a := math.Atan2(y, x) / radians
		low, high = min(low, a), max(high, a)
	}
	if low < -31 || high > 31 || low > -25 || high < 25 {
		t.Errorf("turned by %.1f to %.1f degrees, want -30 to 30", low, high)
	}
}

func TestNoise(t *testing.T) {
	cfg := Config{Noise: .05, ValShare: .2}
	l := mustLoad(t, &memorySource{clips: []Clip{{T: 1, H: 50, W: 50, C: 1, Video: slices.Repeat([]float32{.5}, 2500)}}}, cfg, 1, true)
	b := next(t, l)
	sum := 0.
	for _, v := range b.Video {
		sum += float64(v-.5) * float64(v-.5)
	}
	// Five standard errors of a deviation from 2500 values.
	if got := math.Sqrt(sum / 2500); math.Abs(got-.05) > 5*.05/math.Sqrt(2*2500) {
		t.Errorf("standard deviation %.4f, want .05", got)
	}
	if slices.Equal(b.Video, next(t, l).Video) {
		t.Error("two steps have the same noise")
	}
}
