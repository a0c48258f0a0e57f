package trainer

import (
	"slices"
	"testing"

	"magvit/trainer/trainertest"
)

// Small forms of the published networks learn: the loss of the last steps is below that of
// the first ones, of images, of clips, of both of VidTok's versions, and of Cosmos.
func TestPublishedNetworksLearn(t *testing.T) {
	common := []string{"model.patch=1", "model.background=0", "model.layers=[]", "model.latent_norm=none", "model.loss.kind=l1", "train.steps=8", "train.lr=1e-3", "train.weight_decay=0",
		"train.ema.decay=0", "train.eval_every=0", "train.save_every=0", "data.shift=0", "model.quantizer.inv_temperature=100", "model.quantizer.soft_clamp=0", "model.quantizer.commitment_weight=0.25"}
	lfq := []string{"model.init_dim=32", "model.compat=open-magvit2", "model.quantizer.kind=lfq", "model.quantizer.levels=[]", "model.quantizer.codebook_size=64", "model.quantizer.entropy_weight=0.1"}
	fsq := []string{"model.init_dim=8", "model.compat=vidtok", "model.first_frame=true", "data.frames=5", "model.quantizer.entropy_weight=0.1"}
	for name, sets := range map[string][]string{
		"clips": slices.Concat(lfq, []string{"model.first_frame=true", "data.frames=5", "model.published={multipliers: [1, 2], blocks: 1}"}),
		"patches": slices.Concat(lfq, []string{"model.first_frame=true", "data.frames=5", "model.init_dim=16", "model.published={multipliers: [2, 3], blocks: 1, norm: layer}", "model.patch=2", "model.background=1",
			"model.loss={kind: mse, overshoot: 0.1}", "model.quantizer={kind: fsq, levels: [5, 5], codebook_size: 0}"}),
		"inflated": slices.Concat(lfq, []string{"model.first_frame=true", "data.frames=5", "model.init_dim=8", "model.published={multipliers: [3, 2], blocks: 1, norm: none, time_kernel: 1}", "model.initial_weights=inflated",
			"model.patch=2", "model.background=1", "model.loss={kind: mse, overshoot: 0.1}", "model.quantizer={kind: fsq, levels: [5, 5], codebook_size: 0}"}),
		"images": slices.Concat(lfq, []string{"data.frames=1", "model.published={multipliers: [1, 2], blocks: 1, images: true}"}),
		"1.0":    slices.Concat(fsq, []string{`model.published={multipliers: [1, 2, 2], blocks: 1, version: "1.0", time_down: [1], time_up: [1], norm: layer}`}),
		"1.1":    slices.Concat(fsq, []string{`model.published={multipliers: [1, 2, 2], blocks: 1, version: "1.1", time_down: [0, 1], time_up: [1, 2], norm: layer}`}),
		"cosmos": {"model.init_dim=8", "model.compat=cosmos", "model.patch=2", "model.first_frame=true", "data.frames=5", "model.published={multipliers: [1, 2, 2], blocks: 1, space_factor: 8, time_factor: 4, latents: 8}"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := small(t, slices.Concat(common, sets)...)
			_, err := Run(t.Context(), o)
			trainertest.Check(t, err)
			records, _ := logged(t, o.Out)
			first, last := 0., 0.
			for i := range 3 {
				first += records[i]["recon"].(float64)
				last += records[len(records)-1-i]["recon"].(float64)
			}
			if !(last < .9*first) {
				t.Errorf("the error of three steps was %v at first and is %v", first, last)
			}
		})
	}
}
