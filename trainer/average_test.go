package trainer

import (
	"slices"
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/trainer/data"
	"magvit/trainer/trainertest"
)

// Without an average there is no memory for one, and the weights are those of a training with one.
func TestNoAverageTakesNoMemory(t *testing.T) {
	var weights [][]float32
	var bytes []int64
	for _, set := range []string{"train.ema.decay=0.9", "train.ema.decay=0"} {
		o, _ := small(t, withVQ, set)
		net, err := model.Build(o.Config.Model)
		trainertest.Check(t, err)
		null := &kernels.NullBackend{}
		if _, err := NewStepper(null, net, o.Config); err != nil {
			t.Fatal(err)
		}
		s, err := NewStepper(o.Backend, net, o.Config)
		trainertest.Check(t, err)
		b := &data.Batch{N: 2, T: 4, H: 16, W: 16, C: 3, Video: make([]float32, 2*4*16*16*3), Weight: slices.Repeat([]float32{1}, 2*4*16*16)}
		for step := range 3 {
			for i := range b.Video {
				b.Video[i] = float32((i+step)%17) / 17
			}
			trainertest.Check(t, s.Feed(b))
			trainertest.Check(t, s.Run(0, Position{Step: step, Updates: step}))
			if out, err := s.Wait(t.Context()); err != nil || !out.Applied() {
				t.Fatalf("step %d: %v, %v", step, out, err)
			}
		}
		weights, bytes = append(weights, slices.Clone(s.state.Params.(kernels.Host))), append(bytes, null.Bytes)
		if n := 4 * int64(s.state.Len); len(bytes) == 2 && bytes[0]-bytes[1] != n {
			t.Errorf("%d bytes with an average, %d without; want %d fewer", bytes[0], bytes[1], n)
		}
	}
	if !slices.Equal(weights[0], weights[1]) {
		t.Error("the average changes the weights")
	}
}
