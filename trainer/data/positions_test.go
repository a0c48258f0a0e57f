package data

import (
	"math"
	"slices"
	"testing"
)

// centre is the middle of what is not white in a frame [h,w,3]; a pixel i covers [i,i+1).
func centre(frame []float32, h, w int) (x, y, mass float64) {
	for i := range h * w {
		if d := 1 - float64(frame[3*i+1]); d > .01 { // the disc is red: no green
			x, y, mass = x+d*(float64(i%w)+.5), y+d*(float64(i/w)+.5), mass+d
		}
	}
	return x / mass, y / mass, mass
}

// Whatever augmentation does to the picture it does to the positions. The disc is drawn
// at the pixel that its centre lies in, so up to half a pixel off; to shrink adds its share.
func TestPositionsFollowThePicture(t *testing.T) {
	for name, cfg := range map[string]Config{
		"as it is": {}, "flip": {Flip: true}, "transpose": {Transpose: true}, "shift": {Shift: 5}, "rotation": {Rotation: 40}, "reverse": {Reverse: true},
		"all": {Flip: true, Transpose: true, Shift: 5, Rotation: 40, Reverse: true}, "smaller": {Size: 24, Flip: true}, "not square": {Height: 48, Width: 24, Flip: true},
		"cut": {Frames: 5, Reverse: true}, "longer": {Frames: 11, Reverse: true},
	} {
		set, err := Synth(SynthConfig{Clips: 8, Seed: 3, Size: 48, Frames: 8})
		if err != nil {
			t.Fatal(err)
		}
		cfg.ValShare = .2
		l := mustLoad(t, set, cfg, 4, true)
		moved, checked := 0, 0
		for range 6 {
			b := next(t, l)
			for n := range b.N {
				if !b.HasPoints[n] || !b.HasSpace[n] {
					t.Fatalf("%s: a synthetic clip without positions", name)
				}
				if !slices.Equal(b.Points[n*b.T*2:][:2], mustRead(t, set, b.Index[n]).Points[:2]) {
					moved++
				}
				for f := range b.T {
					size := b.H * b.W * 3
					x, y, mass := centre(b.Video[(n*b.T+f)*size:][:size], b.H, b.W)
					px, py := float64(b.Points[(n*b.T+f)*2]), float64(b.Points[(n*b.T+f)*2+1])
					edge := 7.
					if px < edge || py < edge || px > float64(b.W)-edge || py > float64(b.H)-edge || mass == 0 {
						continue // partly outside
					}
					checked++
					if math.Hypot(x-px, y-py) > .9 {
						t.Fatalf("%s: clip %d, frame %d: the disc is at %.2f, %.2f, its position %.2f, %.2f", name, n, f, x, y, px, py)
					}
				}
			}
		}
		if checked < 30 || (moved == 0) != (name == "as it is") {
			t.Errorf("%s: %d positions checked, %d clips moved", name, checked, moved)
		}
	}
}

// Paths in space keep their numbers; played backwards they turn round with the frames.
func TestSpaceIsReversedOnly(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: 4, Seed: 3, Size: 32, Frames: 6})
	if err != nil {
		t.Fatal(err)
	}
	l := mustLoad(t, set, Config{Flip: true, Shift: 3, Reverse: true, ValShare: .2}, 4, true)
	back := 0
	for range 6 {
		b := next(t, l)
		for n, i := range b.Index {
			want := slices.Clone(mustRead(t, set, i).Trajectory)
			got := b.Space[n*6*3 : (n+1)*6*3]
			if got[0] == want[15] {
				back++
				reverseBlocks(want, 6, 3)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("path %v, want %v", got, want)
			}
		}
	}
	if back < 4 || back > 20 { // of 24, five deviations about 12
		t.Errorf("%d of 24 clips play backwards", back)
	}
}

func TestShuffledLabels(t *testing.T) {
	set, err := Synth(SynthConfig{Clips: 8, Seed: 1, Size: 16, Frames: 2})
	if err != nil {
		t.Fatal(err)
	}
	order := []int{1, 2, 3, 4, 5, 6, 7, 0}
	src := ShuffleLabels(set, order)
	for i := range 8 {
		c, err := src.Read(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if want := set.Label(order[i]); src.Label(i) != want || c.Label != want {
			t.Errorf("clip %d has label %d, read as %d, want %d", i, src.Label(i), c.Label, want)
		}
	}
}
