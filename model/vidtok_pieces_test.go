package model

import (
	"strings"
	"testing"

	"magvit/kernels"
)

// arenaBytes is the memory of a graph's values, without its parameters.
func arenaBytes(t *testing.T, tok *Tokenizer, g *Graph) int64 {
	t.Helper()
	offsets, n := make([]int, len(tok.Params)), 0
	for i, p := range tok.Params {
		offsets[i] = n
		n += p.Len()
	}
	be := &kernels.NullBackend{}
	params, err := be.Alloc(n)
	check(t, err)
	p, err := g.Compile(be, params, nil, offsets)
	check(t, err)
	return p.Plan.Stats().ArenaBytes
}

// A clip in pieces needs the memory of a piece: 33 frames no more than 17.
func TestPiecesNeedLessMemory(t *testing.T) {
	c := VidTokConfig(128, []int{8, 8, 8, 8, 8}, Published{Multipliers: []int{1, 2, 4, 4}, Blocks: 2, Version: "1.1", TimeDown: []int{1, 2}, TimeUp: []int{1, 2}, Norm: "layer"})
	tok, err := New(c)
	check(t, err)
	arena := func(frames, pieces int, graph func(Shape) (*Graph, error)) int64 {
		check(t, tok.SetPieces(Pieces{Frames: pieces}))
		g, err := graph(Shape{1, frames, 128, 128})
		check(t, err)
		return arenaBytes(t, tok, g)
	}
	for name, graph := range map[string]func(Shape) (*Graph, error){"encoder": tok.Encoder, "decoder": tok.Decoder} {
		once, pieces, longer := arena(17, 0, graph), arena(17, 4, graph), arena(33, 4, graph)
		t.Logf("%s: %d MB at once, %d MB in pieces of 4 frames, %d MB of 33 frames", name, once>>20, pieces>>20, longer>>20)
		if pieces > once*8/10 || longer > pieces+pieces/10 {
			t.Errorf("%s: %d bytes at once, %d in pieces, %d of 33 frames", name, once, pieces, longer)
		}
	}
}

// Of a clip of any length the latents in pieces are those at once: version 1.0 puts three frames in front
// of clips that do not fit, which then need not be whole codes.
func TestPiecesOfClipsThatDoNotFit(t *testing.T) {
	p := Published{Multipliers: []int{1, 1, 1}, Blocks: 1, Version: "1.0", TimeDown: []int{0, 1}, TimeUp: []int{1, 2}, Norm: "layer"}
	tok, err := New(VidTokConfig(4, []int{8, 8}, p))
	check(t, err)
	g := &golden{t: t, be: cpu(t)}
	for _, frames := range []int{2, 10} {
		s := Shape{N: 1, T: frames, H: 4, W: 4}
		video := make([]float32, s.T*s.H*s.W*3)
		for i := range video {
			video[i] = float32(i*i%97) / 97
		}
		var latents [2][]float32
		for i, pieces := range []Pieces{{}, {Frames: 4}} {
			b := newBuilder(tok, s)
			b.pieces = pieces
			in := b.input("video", s.N, s.T, s.H, s.W, 3)
			x := b.encode(in)
			check(t, b.err)
			values := feed{in: video}
			for k, n := range b.params {
				if n != nil {
					values[n] = make([]float32, tok.Params[k].Len())
					tok.Init(1, k, values[n])
				}
			}
			latents[i] = g.run(values, x)[0]
		}
		sameAs(t, "latents", latents[1], latents[0])
	}
}

func TestSetPiecesRefuses(t *testing.T) {
	p := Published{Multipliers: []int{1, 2}, Blocks: 1}
	om, err := New(OpenMagvit2Config(32, 2, Published{Multipliers: []int{1, 2}, Blocks: 1}))
	check(t, err)
	p.Version, p.Norm, p.TimeDown, p.TimeUp = "1.0", "layer", []int{0}, []int{1}
	vid, err := New(VidTokConfig(8, []int{8}, p))
	check(t, err)
	d := Defaults()
	d.Quantizer.Levels = []int{8, 8}
	own, err := New(d)
	check(t, err)
	for _, c := range []struct {
		tok    *Tokenizer
		frames int
		want   string
	}{{om, 4, "only networks of compat vidtok"}, {own, 4, "only networks of compat vidtok"}, {vid, 3, "want a multiple of 2"}, {vid, -2, "want a multiple of 2"}} {
		if err := c.tok.SetPieces(Pieces{Frames: c.frames}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d frames: %v, want %q", c.frames, err, c.want)
		}
	}
	for _, tok := range []*Tokenizer{om, vid, own} {
		check(t, tok.SetPieces(Pieces{}))
	}
	check(t, vid.SetPieces(Pieces{Frames: 6}))
}
