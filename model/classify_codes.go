package model

import (
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// What a Classifier gets of a clip.
const (
	InputPixels = "pixels"
	InputCodes  = "codes" // the codes that a tokenizer makes of the clip
	InputFused  = "fused" // both, each through a network of its own
)

// CodeGrid describes the codes of clips that a network is trained on, by the tokenizer that
// makes them. An empty one is filled by ForTokenizer.
type CodeGrid struct {
	Digits     []int  `yaml:"digits,flow"` // numbers of values of the digits that a code is embedded by, the first one varying fastest; []: the codebook's levels
	Codebooks  int    `yaml:"codebooks"`   // codes of a position; 0: those of the tokenizer
	Frames     int    `yaml:"frames"`      // frames of a code; 0: those of the tokenizer
	Side       int    `yaml:"side"`        // height and width in pixels of a code; 0: those of the tokenizer
	FirstFrame bool   `yaml:"first_frame"` // the first frame has codes of its own, as the tokenizer says
	Tokenizer  string `yaml:"tokenizer"`   // SHA-256 of the tokenizer's weights; "": those of train.tokenizer
}

// GridOf is the codes of a tokenizer whose weights have a SHA-256.
func GridOf(t *Tokenizer, sha256 string) CodeGrid {
	c := t.Config
	return CodeGrid{Digits: t.CodebookLevels(), Codebooks: c.Quantizer.Codebooks, Frames: c.timeFactor(), Side: c.spaceFactor(),
		FirstFrame: c.FirstFrame && c.timeFactor() > 1, Tokenizer: sha256}
}

// ForTokenizer fills the keys of a network on codes by the tokenizer that makes them.
func (c Config) ForTokenizer(g CodeGrid) Config {
	k := &c.Classify.Codes
	if len(k.Digits) == 0 {
		k.Digits = g.Digits
	}
	if k.Tokenizer == "" {
		k.Tokenizer = g.Tokenizer
	}
	k.Codebooks, k.Frames, k.Side, k.FirstFrame = g.Codebooks, g.Frames, g.Side, g.FirstFrame
	return c
}

// OnCodes reports whether a Classifier gets codes.
func (k Classify) OnCodes() bool { return k.Input == InputCodes || k.Input == InputFused }

// onPixels reports whether it gets pixels.
func (k Classify) onPixels() bool { return k.Input != InputCodes }

func (k Classify) validateCodes() []error {
	g := k.Codes
	errs := []error{between("classify.codes.codebooks", g.Codebooks, 0, 4096), between("classify.codes.frames", g.Frames, 0, 1<<10), between("classify.codes.side", g.Side, 0, 1<<10)}
	for i, n := range g.Digits {
		errs = append(errs, between(fmt.Sprintf("classify.codes.digits[%d]", i), n, 2, 1<<20))
	}
	if k.Input == InputFused && g.FirstFrame {
		errs = append(errs, errors.New("model.classify.input: fused: the tokenizer codes the first frame alone, for which the network on pixels has no equal; legal: pixels, codes"))
	}
	if k.Network == "slowfast" && k.OnCodes() && g.FirstFrame {
		errs = append(errs, errors.New("model.classify.network: slowfast: the tokenizer codes the first frame alone, and the slow path wants frames of equal length; legal: i3d"))
	}
	return errs
}

// decided reports whether all that the network depends on is known.
func (g CodeGrid) decided() bool {
	return len(g.Digits) > 0 && g.Codebooks > 0 && g.Frames > 0 && g.Side > 0
}

// Of is the number of frames of codes that a clip's first frames fill.
func (g CodeGrid) Of(frames int) int {
	if g.FirstFrame {
		return 1 + (frames-1)/g.Frames
	}
	return frames / g.Frames
}

// ids is the number of ids of a position, and vocabulary the number of different ones.
func (g CodeGrid) ids() int { return g.Codebooks * len(g.Digits) }

func (g CodeGrid) vocabulary() (n int) {
	for _, d := range g.Digits {
		n += d * g.Codebooks
	}
	return n
}

// CodeIDs writes the ids of the codes [N,T',H',W',codebooks] to dst, one for each digit: a
// value of a digit of a codebook is a row of the embedding.
func (m *Classifier) CodeIDs(dst []float32, codes []int32) {
	g := m.Config.Classify.Codes
	for i, code := range codes {
		ids, rest := dst[i*len(g.Digits):][:len(g.Digits)], int(code)
		at := i % g.Codebooks * (g.vocabulary() / g.Codebooks)
		for d, n := range g.Digits {
			ids[d] = float32(at + rest%n)
			rest, at = rest/n, at+n
		}
	}
}

// embedCodes is the sum of the embeddings of the digits of each position's codes, with
// channels [N,T',H',W',init_dim], from the input codes.
func (b *builder) embedCodes() *G.Node {
	s, g, dim := b.shape, b.t.Config.Classify.Codes, b.t.Config.InitDim
	t, h, w := g.Of(s.T), s.H/g.Side, s.W/g.Side
	codes := b.input("codes", s.N, t, h, w, g.ids())
	table := b.param("embedding", initial{std: embeddingStd}, g.vocabulary(), dim)
	return b.apply(kernels.Embedding{Rows: s.N * t * h * w, Ids: g.ids(), Vocab: g.vocabulary(), C: dim}, []int{s.N, t, h, w, dim}, codes, table)
}

// encodeCodes is the encoder's layers on embedded codes. The tokenizer has compressed the
// clip: layers that compress change the number of channels alone.
func (b *builder) encodeCodes(x *G.Node) *G.Node {
	c := b.t.Config
	x = b.causal("conv_in.conv", x, c.InitDim, c.InputKernel, convOptions{mode: c.padding()})
	for i, dim := range c.dimsAfter() {
		l, name := c.Layers[i], fmt.Sprintf("encoder_layers.%d", i)
		if l.compresses() {
			x = b.widen(name, x, dim)
		} else {
			x = b.layer(name, l, x, nil)
		}
	}
	if c.LatentNorm == "layer" {
		x = b.layerNorm(fmt.Sprintf("encoder_layers.%d.1", len(c.Layers)), x)
	}
	return x
}

// widen is the convolution of a compressing layer without its stride.
func (b *builder) widen(name string, x *G.Node, dim int) *G.Node {
	return b.conv(name+".conv", x, dim, Kernel{1, 3, 3}, convOptions{axes: spaceOnly})
}
