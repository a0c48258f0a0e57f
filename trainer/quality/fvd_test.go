package quality

import (
	"slices"
	"strings"
	"testing"

	"magvit/model"
)

// A clip of 33 frames has two windows of 16, whose frames are those of the clip in order; one of 15 has none.
func TestVideoFeatures(t *testing.T) {
	const h, w, side = 3, 2, model.I3DSide
	clip := noise("fvd", 33*h*w)
	windows, vectors := 0, 0
	m := &videoFeatures{16, func(window []float32, c int, vector []float32) error {
		if len(window) != 16*side*side || c != 1 || len(vector) != model.I3DFeatures {
			t.Fatalf("%d values of a window of %d channels, %d features", len(window), c, len(vector))
		}
		for f := range 16 {
			want := resized(clip[(16*windows+f)*h*w:][:h*w], h, w, 1, side, side)
			if !slices.Equal(window[f*side*side:][:side*side], want) {
				t.Fatalf("frame %d of window %d is not frame %d of the clip", f, windows, 16*windows+f)
			}
		}
		windows++
		return nil
	}}
	check(t, m.each(clip, 33, h, w, 1, func([]float32) error { vectors++; return nil }))
	if windows != 2 || vectors != 2 {
		t.Errorf("%d windows and %d vectors of 33 frames, want 2", windows, vectors)
	}
	if err := m.each(clip, 15, h, w, 1, nil); err == nil || !strings.Contains(err.Error(), "15 frames: fvd wants at least the 16 of a window") {
		t.Errorf("%v", err)
	}
}
