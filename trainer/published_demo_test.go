package trainer

import (
	"testing"

	"magvit/trainer/config"
	"magvit/trainer/trainertest"
)

// Preset open-magvit2-demo, narrower, learns; from random weights it learns more slowly.
func TestOpenMagvit2DemoLearns(t *testing.T) {
	loss := func(initial string) float64 {
		o, _ := small(t)
		c, err := config.Preset("open-magvit2-demo")
		trainertest.Check(t, err)
		for _, s := range []string{"model.init_dim=8", "model.initial_weights=" + initial, "model.image_size=16", "data.size=16", "data.frames=5", "data.crop.batch=0",
			"train.batch=4", "train.minutes=0", "train.steps=40", "train.log_every=1", "train.eval_every=0", "train.save_every=0"} {
			trainertest.Check(t, c.Set(s))
		}
		o.Config, o.Source = c, trainertest.Squares{Clips: 16, Frames: 5, Side: 16}
		_, err = Run(t.Context(), o)
		trainertest.Check(t, err)
		records, _ := logged(t, o.Out)
		sum := 0.
		for _, r := range records[len(records)-4:] {
			sum += r["recon"].(float64)
		}
		return sum / 4 / records[0]["recon"].(float64)
	}
	inflated, random := loss("inflated"), loss("random")
	if !(inflated < .95) || !(inflated < .95*random) {
		t.Errorf("the error of the last steps is %.3f of the first one's, from random weights %.3f", inflated, random)
	}
}
