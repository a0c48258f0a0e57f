package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Pieces is how a graph goes through long clips.
type Pieces struct {
	// Frames of a piece, a multiple of the frames of a code; 0: the whole clip at once. A first
	// code is a piece of its own.
	Frames int
	// Packaged makes decoding in pieces that of the VidTok 1.1 package, which differs from
	// decoding at once behind the first piece. Otherwise both are the same.
	Packaged bool
}

// SetPieces chooses how the graphs of Encoder and Decoder go through long clips: in pieces
// they need memory for a piece, and give the same results. The error says which networks
// and numbers of frames can.
func (t *Tokenizer) SetPieces(p Pieces) error {
	f := t.Config.timeFactor()
	switch {
	case p.Frames == 0:
	case t.Config.Compat != VidTok:
		return fmt.Errorf("pieces of %d frames: only networks of compat %s can be used in pieces (norms of others may be those of whole clips)", p.Frames, VidTok)
	case p.Frames < 0 || p.Frames%f != 0:
		return fmt.Errorf("pieces of %d frames: want a multiple of %d, the frames of a code", p.Frames, f)
	}
	t.pieces = p
	return nil
}

// piece is where a graph is in a clip that it goes through in pieces.
type piece struct {
	first    bool
	packaged bool
	look     int                // frames at the end, at this depth, that the next piece begins with
	memory   map[string]*G.Node // last frames that each convolution, mean and interpolation had before
}

// inPieces applies a network to consecutive frames of x: to first of them, then to size at
// a time, each time with look further ones, and joins the results.
func (m vidTok) inPieces(x *G.Node, first, size, look int, network func(m vidTok, x *G.Node) *G.Node) (joined *G.Node) {
	_, t, _, _, _ := m.dims(x)
	memory := map[string]*G.Node{}
	for from, to := 0, min(first, t); from < t && m.err == nil; from, to = to, min(to+size, t) {
		ahead := min(look, t-to)
		m.piece = &piece{first: from == 0, packaged: m.pieces.Packaged, look: ahead, memory: memory}
		y := network(m, m.frames(x, from, to+ahead))
		_, ty, _, _, _ := m.dims(y)
		y = m.frames(y, 0, ty-m.piece.look)
		if joined == nil {
			joined = y
		} else {
			joined = m.concat(joined, y)
		}
	}
	return joined
}

// remembered puts the last frames that a causal layer had in front of a piece's, and keeps
// those of the piece.
func (m vidTok) remembered(name string, x *G.Node, frames int) *G.Node {
	before := m.piece.memory[name]
	switch {
	case before != nil:
		x = m.concat(before, x)
	case m.newer():
		x = m.repeatFirst(x, frames)
	default:
		n, t, h, w, c := m.dims(x)
		x = m.apply(kernels.PadFront{N: n, T: t, Inner: h * w * c, P: frames}, []int{n, t + frames, h, w, c}, x)
	}
	_, t, _, _, _ := m.dims(x)
	end := t - m.piece.look
	m.piece.memory[name] = m.frames(x, end-frames, end)
	return x
}

// meansOfThree halves the number of a piece's frames.
func (m vidTok) meansOfThree(name string, x *G.Node, kind kernels.Interpolation) *G.Node {
	_, t, _, _, _ := m.dims(x)
	last := m.frames(x, t-1, t)
	before := m.piece.memory[name]
	m.piece.memory[name] = last
	if before == nil {
		return m.resampled(x, 1, kind, 0)
	}
	// The first mean is of the frames 0 and 1 of what follows, and is left out; the second is of
	// the remembered frame and two of the piece.
	y := m.resampled(m.concat(m.concat(before, before), x), 1, kind, 0)
	return m.frames(y, 1, 1+t/2)
}

// stretched doubles the number of a piece's frames by version 1.1's interpolation, in which
// the clip's first head frames are on their own. Of the frames that the next piece begins
// with, the next interpolation needs the first, and what follows the last one none.
func (m vidTok) stretched(name string, x *G.Node, head int) *G.Node {
	_, t, _, _, _ := m.dims(x)
	p, end := m.piece, t-m.piece.look
	before, known := p.memory[name], 0
	switch {
	case p.packaged && p.first:
		p.memory[name] = m.frames(x, t-head, t)
	case p.packaged:
		p.memory[name] = m.frames(x, end-head, end)
	case !p.first: // the frames behind the first piece are interpolated on their own
		p.memory[name] = m.frames(x, end-1, end)
	}
	switch {
	case p.packaged:
		p.look *= 2
	case head == 1<<(len(m.t.Config.Published.TimeUp)-1):
		p.look = 0
	}
	switch {
	case p.first:
		x = m.resampled(x, 1, kernels.Linear, head)
	case before == nil:
		x = m.resampled(x, 1, kernels.Linear, 0)
	default:
		_, known, _, _, _ = m.dims(before)
		x = m.resampled(m.concat(before, x), 1, kernels.Linear, 0)
	}
	return m.frames(x, 2*known, 2*(known+end)+p.look)
}
