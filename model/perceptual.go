package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
)

func (p Perceptual) validate(c Config) []error {
	errs := []error{
		oneOf("loss.perceptual.kind", p.Kind, "none", "lpips", "vgg16", "resnet50"),
		inRange("loss.perceptual.weight", p.Weight, 0, 1e6),
		between("loss.perceptual.frames", p.Frames, 0, 1<<20),
	}
	if p.Kind == "none" {
		return errs
	}
	if p.Weights == "" {
		errs = append(errs, fmt.Errorf("model.loss.perceptual.weights: %q: want the files of the weights of %s (magvit doctor says which)", p.Weights, p.Kind))
	}
	if c.Channels != 1 && c.Channels != 3 {
		errs = append(errs, fmt.Errorf("model.loss.perceptual.kind: %s: %d channels: want 1 or 3", p.Kind, c.Channels))
	}
	return errs
}

// perceptualTerms is the loss of the frozen network, a mean over frames of the clips recon and video [N,T,H,W,C],
// unweighted by pixels: of padding it sees the frames that padding repeats.
func (b *builder) perceptualTerms(recon, video *G.Node) []Term {
	p := b.t.Config.Loss.Perceptual
	if p.Kind == "none" || p.Weight == 0 || b.err != nil {
		return nil
	}
	if b.t.Perceptual == nil {
		b.err = fmt.Errorf("model: model.loss.perceptual: the weights were not loaded")
		return nil
	}
	n, t, h, w, c := b.dims(recon)
	if least := b.t.Perceptual.least(); h < least || w < least {
		b.err = fmt.Errorf("model: model.loss.perceptual: frames of %d×%d pixels: %s wants at least %d×%d", h, w, p.Kind, least, least)
		return nil
	}
	if k := p.Frames; k > 0 && k < t {
		at := b.scheduled("perceptual.frames", func(p StepPosition, dst []float32) { drawFrames(p, dst, t) }, n, k, 3)
		s := kernels.Windows{N: n, T: t, H: h, W: w, C: c, K: k, SH: h, SW: w}
		recon, video = b.apply(s, []int{n, k, h, w, c}, recon, at), b.apply(s, []int{n, k, h, w, c}, video, at)
	}
	return []Term{{Name: "perceptual", Node: b.t.Perceptual.loss(b, recon, video), Weight: p.Weight}}
}

// drawFrames draws a frame of t for each position (frame, row, column) of Windows.
func drawFrames(p StepPosition, at []float32, t int) {
	r := philox.New(p.Seed, "perceptual frames", uint64(p.Step), uint64(p.Batch))
	clear(at)
	for i := 0; i < len(at); i += 3 {
		at[i] = float32(r.IntN(t))
	}
}

// meanOf is the mean of the values of x.
func (b *builder) meanOf(x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.LogitMean{Len: x.Shape().TotalSize(), Of: kernels.LogitValue}, []int{}, x)
}
