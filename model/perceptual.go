package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
)

func (p Perceptual) validate(c Config) []error {
	errs := []error{
		oneOf("loss.perceptual.kind", p.Kind, "none", "lpips"),
		inRange("loss.perceptual.weight", p.Weight, 0, 1e6),
		between("loss.perceptual.frames", p.Frames, 0, 1<<20),
	}
	if p.Kind != "lpips" {
		return errs
	}
	if p.Weights == "" {
		errs = append(errs, fmt.Errorf("model.loss.perceptual.weights: %q: want the files of LPIPS's weights (magvit doctor says which)", p.Weights))
	}
	if c.Channels != 1 && c.Channels != 3 {
		errs = append(errs, fmt.Errorf("model.loss.perceptual.kind: lpips: %d channels: want 1 or 3", c.Channels))
	}
	return errs
}

// perceptualTerms is the mean of LPIPS over frames of the clips recon and video [N,T,H,W,C],
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
	if h < LPIPSMin || w < LPIPSMin {
		b.err = fmt.Errorf("model: model.loss.perceptual: frames of %d×%d pixels: LPIPS wants at least %d×%d", h, w, LPIPSMin, LPIPSMin)
		return nil
	}
	if k := p.Frames; k > 0 && k < t {
		at := b.scheduled("perceptual.frames", func(p StepPosition, dst []float32) { drawFrames(p, dst, t) }, n, k, 3)
		s := kernels.Windows{N: n, T: t, H: h, W: w, C: c, K: k, SH: h, SW: w}
		recon, video = b.apply(s, []int{n, k, h, w, c}, recon, at), b.apply(s, []int{n, k, h, w, c}, video, at)
	}
	return []Term{{Name: "perceptual", Node: b.meanOf(b.t.Perceptual.distance(b, recon, video)), Weight: p.Weight}}
}

// drawFrames draws a frame of t for each position (frame, row, column) of Windows.
func drawFrames(p StepPosition, at []float32, t int) {
	r := philox.New(p.Seed, "perceptual frames", uint64(p.Step), uint64(p.Batch))
	clear(at)
	for i := 0; i < len(at); i += 3 {
		at[i] = float32(r.IntN(t))
	}
}

// SHA256 is the hash of the weights in hexadecimal: of their values alone, whatever file they came from.
func (l *LPIPS) SHA256() string {
	hash := sha256.New()
	var block []byte
	write := func(values []float32) {
		block = block[:0]
		for _, v := range values {
			block = binary.LittleEndian.AppendUint32(block, math.Float32bits(v))
		}
		hash.Write(block)
	}
	for _, c := range l.convs {
		write(c.weight)
		write(c.bias)
	}
	for _, head := range l.heads {
		write(head)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// meanOf is the mean of the values of x.
func (b *builder) meanOf(x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.LogitMean{Len: x.Shape().TotalSize(), Of: kernels.LogitValue}, []int{}, x)
}
