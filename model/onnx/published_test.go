package onnx

import (
	"testing"

	"magvit/kernels"
	"magvit/model"
	"magvit/model/op"
)

// TestPublished runs networks of the published families.
func TestPublished(t *testing.T) {
	r := startReader(t)
	videos := model.OpenMagvit2Config(32, 9, model.Published{Multipliers: []int{1, 2, 2}, Blocks: 1})
	images := model.OpenMagvit2Config(32, 9, model.Published{Multipliers: []int{1, 2}, Blocks: 1, Images: true})
	down, up := model.VidTokTime(4)
	first := model.VidTokConfig(8, []int{8, 8, 8}, model.Published{Multipliers: []int{1, 1, 2, 2}, Blocks: 1, Version: "1.0", Norm: "layer", TimeDown: down, TimeUp: up})
	second := first
	second.Published.Version = "1.1"
	eight := second
	eight.Published.TimeDown, eight.Published.TimeUp = []int{0, 1, 2}, []int{1, 2, 3}
	group := first
	group.InitDim, group.Published.Norm = 32, "group"
	cosmos := model.CosmosConfig(8, 2, []int{8, 5, 5}, model.Published{Multipliers: []int{1, 2, 2}, Blocks: 1, SpaceFactor: 8, TimeFactor: 4, Latents: 6})
	for _, c := range []struct {
		name string
		model.Config
		shapes []model.Shape
	}{
		{"open-magvit2", videos, []model.Shape{{N: 2, T: 9, H: 16, W: 24}, {N: 1, T: 5, H: 24, W: 16}, {N: 2, T: 1, H: 16, W: 24}}},
		{"images", images, []model.Shape{{N: 2, T: 1, H: 16, W: 24}, {N: 1, T: 1, H: 24, W: 16}}},
		{"vidtok 1.0", first, []model.Shape{{N: 2, T: 9, H: 32, W: 48}, {N: 1, T: 5, H: 16, W: 16}}},
		{"vidtok 1.1", second, []model.Shape{{N: 2, T: 9, H: 32, W: 48}, {N: 1, T: 13, H: 16, W: 16}, {N: 2, T: 1, H: 16, W: 24}, {N: 1, T: 5, H: 16, W: 16}}},
		{"vidtok 1.1, time by 8", eight, []model.Shape{{N: 1, T: 17, H: 16, W: 24}, {N: 2, T: 1, H: 16, W: 16}, {N: 1, T: 9, H: 24, W: 16}}},
		{"vidtok group", group, []model.Shape{{N: 2, T: 9, H: 32, W: 48}, {N: 1, T: 5, H: 16, W: 16}}},
		{"cosmos", cosmos, []model.Shape{{N: 2, T: 9, H: 32, W: 48}, {N: 1, T: 13, H: 16, W: 16}, {N: 2, T: 1, H: 16, W: 24}, {N: 1, T: 5, H: 16, W: 16}}},
	} {
		n := newNetwork(t, c.Config)
		compare(t, r, n, c.shapes...).within(t, c.name)
	}
	for _, c := range []model.Config{first, second, eight} {
		m, err := Decoder(newNetwork(t, c).Tokenizer, model.Shape{N: 1, T: 17, H: 16, W: 16}, nil)
		if err != nil || m.MinFrames != 1 {
			t.Errorf("VidTok %s: decoder of %d frames or more, %v; want one", c.Published.Version, m.MinFrames, err)
		}
	}
}

// TestFirstChannel compares what a tokenizer says of the order of its bits with the kernel that makes its codes.
func TestFirstChannel(t *testing.T) {
	own := layers()
	own.Quantizer.Kind, own.Quantizer.Levels, own.Quantizer.CodebookSize = "lfq", nil, 64
	for _, c := range []model.Config{own, model.OpenMagvit2Config(32, 9, model.Published{Multipliers: []int{1, 2}, Blocks: 1, Images: true})} {
		tok, err := model.New(c)
		if err != nil {
			t.Fatal(err)
		}
		g, err := tok.Encoder(probe(tok))
		if err != nil {
			t.Fatal(err)
		}
		s, ok := g.Outputs["codes"].Op().(*op.Op).Spec().(kernels.LFQIndex)
		if !ok || s.LowFirst != tok.FirstChannelLowest() {
			t.Errorf("compat %q: the kernel is %+v, FirstChannelLowest is %v", c.Compat, s, tok.FirstChannelLowest())
		}
	}
}
