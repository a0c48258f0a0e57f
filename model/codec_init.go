package model

import (
	"cmp"
	"fmt"
	"slices"

	"magvit/kernels"
)

// codecInit is the kind of initial weights with which a network begins as a transform
// codec: each latent value is one cosine coefficient of the patch, the largest ones on
// the dimensions with most levels, and residual units add nothing. Which coefficients are
// the largest is known of natural film in general; with fittedCodecInit it is measured, see
// Tokenizer.Amplitudes.
//
// Why: the network codes pictures from its first step, and training changes what is worth
// a change. From random weights most of a short training is spent on learning a transform.
// Why cosines in both cases: with the principal components of the training clips' patches
// the error of held-out film was within .1 dB of that with cosines.
const (
	codecInit       = "codec"
	fittedCodecInit = "codec-fitted"
)

// beginsAsCodec reports whether initial weights are those of a transform codec.
func (c Config) beginsAsCodec() bool {
	return c.InitialWeights == codecInit || c.InitialWeights == fittedCodecInit
}

// FitsCodec reports whether initial weights depend on the training clips, by Tokenizer.Amplitudes.
func (c Config) FitsCodec() bool { return c.InitialWeights == fittedCodecInit }

// coefficient is a channel of a transformed patch, and the mean amplitude of its values in
// natural film. The sizes by which toPatches divides are rougher estimates of it.
type coefficient struct {
	channel   int
	amplitude float64 // of the orthonormal coefficient of pixel values
	scaled    float64 // of the channel, which is that coefficient divided by its size
}

// spectrum is the coefficients of a patch, the largest first. scaled are the amplitudes of
// the channels' values; nil: those of natural film, about 1 of the mean, 1/2 of other
// luminance and 1/5 of other colour.
func (c Config) spectrum(scaled []float64) []coefficient {
	p, t := c.Patch, max(c.PatchTime, 1)
	var all []coefficient
	for k := range c.Channels * p * p {
		for f := range t {
			s := 1.
			switch {
			case scaled != nil:
				s = scaled[k*t+f]
			case k%(p*p) == 0 && f == 0:
			case c.Channels == 3 && k >= p*p:
				s = 1. / 5
			default:
				s = 1. / 2
			}
			all = append(all, coefficient{k*t + f, s * patchSize(c.Channels, p, k) * frameSize(t, f), s})
		}
	}
	slices.SortStableFunc(all, func(a, b coefficient) int { return cmp.Compare(b.amplitude, a.amplitude) })
	return all
}

// leastAmplitude keeps the gain of channels finite that are constant in the clips they were measured in.
const leastAmplitude = .01

// Patches is the graph from video to the channels of its transformed patches,
// patches [N,T/patch_time,H/patch,W/patch,values of a patch].
func (t *Tokenizer) Patches(s Shape) (*Graph, error) {
	b, err := t.begin(s)
	if err != nil {
		return nil, err
	}
	c := t.Config
	x := b.input("video", s.N, s.T, s.H, s.W, c.Channels)
	x = b.apply(kernels.Affine{Len: s.N * s.T * s.H * s.W * c.Channels, Mul: 1, Add: float32(-c.Background)}, x.Shape(), x)
	b.output("patches", b.toPatches(x))
	return b.finish()
}

// codec holds the initial weights of a network that begins as a transform codec. Channel
// i of the network is the i-th largest coefficient, divided by its amplitude.
type codec struct {
	t      *Tokenizer
	levels []int // of the dimensions of a latent
	order  []int // dimensions, those with most levels first
}

// codec is nil where weights begin at random.
func (b *builder) codec() *codec {
	c := b.t.Config
	if !c.beginsAsCodec() {
		return nil
	}
	d := &codec{t: b.t}
	for range c.Quantizer.Codebooks {
		d.levels = append(d.levels, c.Quantizer.Levels...)
	}
	for i := range d.levels {
		d.order = append(d.order, i)
	}
	slices.SortStableFunc(d.order, func(a, b int) int { return cmp.Compare(d.levels[b], d.levels[a]) })
	return d
}

// spectrum is that of the Amplitudes when initial values are drawn.
func (d *codec) spectrum() []coefficient {
	var scaled []float64
	for _, a := range d.t.Amplitudes {
		scaled = append(scaled, max(a, leastAmplitude))
	}
	return d.t.Config.spectrum(scaled)
}

// gain brings a coefficient of amplitude 1 into the range of FSQ's tanh. Coefficients of
// film have long tails, and fewer levels need more gain; with these gains the squared error
// of codecs of patches of 4, 8 and 16 frames and of four sets of levels was within .5 dB of the least.
func gain(levels int) float64 { return .2 + .6/float64(levels) }

// The next four methods are the weights of conv_in, quantizers.project_in, quantizers.project_out
// and conv_out. Channels beyond the largest coefficients begin at zero.

func (d *codec) convIn(out int, k Kernel) convOptions {
	return d.convolution(k, d.t.Config.patchChannels(), func(set func(o, c int, v float64)) {
		all := d.spectrum()
		for i := range min(out, len(all)) {
			set(i, all[i].channel, 1/all[i].scaled)
		}
	})
}

func (d *codec) projectIn(in int) convOptions {
	return d.convolution(point, in, func(set func(o, c int, v float64)) {
		for i, dim := range d.order[:min(in, len(d.order))] {
			set(dim, i, gain(d.levels[dim]))
		}
	})
}

func (d *codec) projectOut(out int) convOptions {
	return d.convolution(point, len(d.order), func(set func(o, c int, v float64)) {
		for i, dim := range d.order[:min(out, len(d.order))] {
			set(i, dim, 1.1/gain(d.levels[dim])) // 1.1: tanh compresses
		}
	})
}

func (d *codec) convOut(in int, k Kernel) convOptions {
	return d.convolution(k, in, func(set func(o, c int, v float64)) {
		all := d.spectrum()
		for i := range min(in, len(all)) {
			set(all[i].channel, i, all[i].scaled)
		}
	})
}

// convolution has weights [O,KT,KH,KW,in] that are zero but for the present pixel's, which
// fill sets, and zero biases.
func (d *codec) convolution(k Kernel, in int, fill func(set func(o, c int, v float64))) convOptions {
	return convOptions{fixedBias: true, values: func(dst []float32) {
		taps := k[0] * k[1] * k[2]
		tap := ((k[0]-1)*k[1]+k[1]/2)*k[2] + k[2]/2
		fill(func(o, c int, v float64) { dst[(o*taps+tap)*in+c] = float32(v) })
	}}
}

// validateInitialWeights names what a transform codec, or an inflated network, does not have.
func (c Config) validateInitialWeights() error {
	if err := oneOf("initial_weights", c.InitialWeights, "random", inflatedInit, codecInit, fittedCodecInit); err != nil {
		return err
	}
	if c.inflates() && (c.Compat != OpenMagvit2 || c.Published.Images) {
		return fmt.Errorf("model.initial_weights: %s: want compat %s, and clips", inflatedInit, OpenMagvit2)
	}
	if !c.beginsAsCodec() {
		return nil
	}
	for _, l := range c.Layers {
		if l.Name != Residual && l.Name != ConsecutiveResidual {
			return fmt.Errorf("model.initial_weights: %s: layer %s: want residual and consecutive_residual alone", c.InitialWeights, l.Name)
		}
	}
	for _, d := range []struct {
		key string
		bad bool
		is  any
		ok  string
	}{
		{"patch_transform", !c.transforms(), c.PatchTransform, cosines + " or " + lapped + ", with patch or patch_time above 1"},
		{"quantizer.kind", c.Quantizer.Kind != "fsq", c.Quantizer.Kind, "fsq"},
		{"latent_norm", c.LatentNorm != "none", c.LatentNorm, "none: amplitudes are coded"},
		{"first_frame", c.FirstFrame, c.FirstFrame, "false"},
		{"compat", c.Compat != "", c.Compat, `""`},
	} {
		if d.bad {
			return fmt.Errorf("model.initial_weights: %s: %s: %v: want %s", c.InitialWeights, d.key, d.is, d.ok)
		}
	}
	return nil
}
