package probe

import (
	"slices"
	"testing"

	"magvit/trainer/data"
)

// Of two forecasts that nearly agree and others elsewhere, one of the two is central.
func TestCentralForecast(t *testing.T) {
	set, err := data.Synth(data.SynthConfig{Clips: 3, Seed: 5, Size: 32, Frames: 6})
	if err != nil {
		t.Fatal(err)
	}
	var clips []Example
	for i := range 3 {
		c, err := set.Read(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		clips = append(clips, Example{Video: c.Video, T: c.T, H: c.H, W: c.W, C: c.C})
	}
	near := clips[1]
	near.Video = slices.Concat(near.Video[3:], near.Video[:3]) // a pixel to the left
	for _, c := range []struct {
		clips []Example
		want  []int
	}{
		{[]Example{clips[0], clips[1], clips[2], near}, []int{1, 3}},
		{[]Example{clips[1], clips[0], clips[0]}, []int{1}},
		{clips[:1], []int{0}},
	} {
		var all Candidates
		for _, e := range c.clips {
			all.Add(e)
		}
		if got := all.Central(); !slices.Contains(c.want, got) {
			t.Errorf("forecast %d of %d is central, want one of %v", got, len(c.clips), c.want)
		}
	}
}
