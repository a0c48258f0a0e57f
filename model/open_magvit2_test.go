package model

import (
	"slices"
	"strings"
	"testing"

	"magvit/kernels"
)

// latentsOf is the latents of a clip that a network with initial weights has.
func latentsOf(t *testing.T, tok *Tokenizer, s Shape, video []float32) []float32 {
	t.Helper()
	be := kernels.NewCPU(1)
	defer be.Close()
	g, err := tok.Encoder(s)
	check(t, err)
	offsets, n := make([]int, len(tok.Params)), 0
	for i, p := range tok.Params {
		offsets[i] = n
		n += p.Len()
	}
	params, err := be.Alloc(n)
	check(t, err)
	for i, p := range tok.Params {
		tok.Init(1, i, params.(kernels.Host)[offsets[i]:][:p.Len()])
	}
	p, err := g.Compile(be, params, nil, offsets)
	check(t, err)
	check(t, be.Write(p.Buffer("video"), video))
	check(t, p.Run())
	latents := make([]float32, p.Buffer("latents").Len())
	check(t, be.Read(latents, p.Buffer("latents")))
	return latents
}

// With norms of a clip the first frame's codes depend on all frames; with layer norms, as the
// convolutions are causal, and without norms they do not.
func TestLayerNormsMakeOpenMagvit2Causal(t *testing.T) {
	for _, norm := range []string{"", "group", "layer", "none"} {
		c := OpenMagvit2Config(32, 8, Published{Multipliers: []int{2, 2}, Blocks: 1, Norm: norm})
		tok, err := New(c)
		check(t, err)
		s := Shape{N: 1, T: 5, H: 8, W: 8}
		video := make([]float32, s.T*s.H*s.W*3)
		for i := range video {
			video[i] = float32(i*i%97) / 97
		}
		first := func() []float32 {
			l := latentsOf(t, tok, s, video)
			return l[:len(l)/3] // 3 frames are coded
		}
		before := first()
		clear(video[len(video)/s.T:])
		if same := slices.Equal(before, first()); same != (norm == "layer" || norm == "none") {
			t.Errorf("norm %q: later frames changed: the first one's latents are the same: %v", norm, same)
		}
	}
}

func TestPublishedNorms(t *testing.T) {
	p := Published{Multipliers: []int{2, 3}, Blocks: 1, Norm: "layer"}
	check(t, OpenMagvit2Config(16, 8, p).Validate())
	for _, c := range []struct {
		width      int
		norm, want string
	}{{16, "group", "model.init_dim: 16: want a multiple of 32"}, {32, "batch", `model.published.norm: "batch": want layer, group, none`}} {
		p.Norm = c.norm
		if err := OpenMagvit2Config(c.width, 8, p).Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Where a block of the decoder has fewer channels than its input, four images of the narrower
// width are in memory at once: the shortcut, the norm over the input, twice as wide, and the convolution.
func TestOpenMagvit2DecoderOverwritesItsInput(t *testing.T) {
	tok, err := New(OpenMagvit2Config(32, 8, Published{Multipliers: []int{1, 2}, Blocks: 1}))
	check(t, err)
	s := Shape{N: 1, T: 1, H: 64, W: 64}
	g, err := tok.Decoder(s)
	check(t, err)
	picture := int64(4 * s.H * s.W * 32)
	if got := arenaBytes(t, tok, g); got > 4*picture+picture/4 {
		t.Errorf("arena of %d bytes, %.2f times a picture of 32 channels", got, float64(got)/float64(picture))
	}
}

// With time_kernel 1 the convolutions that keep time have one frame, those that resample it three.
func TestOpenMagvit2TimeKernel(t *testing.T) {
	p := Published{Multipliers: []int{2, 2}, Blocks: 1, Norm: "none", TimeKernel: 1}
	tok, err := New(OpenMagvit2Config(8, 8, p))
	check(t, err)
	for _, p := range tok.Params {
		want := 1
		if strings.Contains(p.Name, "sample") {
			want = 3
		}
		if strings.Contains(p.Name, "norm") || strings.Contains(p.Name, "adaptive") {
			t.Errorf("%s: a parameter of a norm", p.Name)
		}
		if len(p.Shape) == 5 && p.Shape[1] != want {
			t.Errorf("%s: kernel of %d frames, want %d", p.Name, p.Shape[1], want)
		}
	}
	for _, k := range []int{-1, 2, 5} {
		p.TimeKernel = k
		if err := OpenMagvit2Config(8, 8, p).Validate(); err == nil || !strings.Contains(err.Error(), "model.published.time_kernel") {
			t.Errorf("time_kernel %d: %v", k, err)
		}
	}
}
