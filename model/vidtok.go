package model

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// vidTok is the network of VidTok's causal tokenizers. Space is halved and doubled by 2-D
// layers, time by blends of interpolation and convolution.
type vidTok struct {
	*builder
	piece *piece // nil: the clip at once
}

func (m vidTok) newer() bool { return m.t.Config.Published.Version == "1.1" }

// conv is a convolution that is causal in time: kernel - stride frames in front, zeros in
// version 1.0 and copies of the first frame in 1.1.
func (m vidTok) conv(name string, x *G.Node, out int, k Kernel, f convOptions) *G.Node {
	switch front := k[0] - max(f.strideT, 1); {
	case front > 0 && m.piece != nil:
		x = m.remembered(name, x, front)
	case m.newer():
		x = m.repeatFirst(x, front)
	default:
		f.padT = front
	}
	return m.builder.conv(name+".conv", x, out, k, f)
}

func (m vidTok) norm(name string, x *G.Node) *G.Node {
	n, t, h, w, c := m.dims(x)
	if m.t.Config.Published.Norm == "group" {
		gamma, beta := m.gains(name, c)
		return m.groupNorm(x, gamma, beta, true, false)
	}
	gamma, beta := m.gains(name+".norm", c)
	return m.apply(kernels.LayerNorm{Rows: n * t * h * w, C: c, Eps: 1e-6}, []int{n, t, h, w, c}, x, gamma, beta)
}

// residual is x + conv2(swish(norm(conv1(swish(norm(x)))))).
func (m vidTok) residual(name string, x *G.Node, conv func(name string, x *G.Node, second bool) *G.Node) *G.Node {
	y := conv(name+".conv1", m.swish(m.norm(name+".norm1", x)), false)
	return conv(name+".conv2", m.swish(m.norm(name+".norm2", y)), true)
}

// spaceBlock is a residual block on frames.
func (m vidTok) spaceBlock(name string, x *G.Node, out int) *G.Node {
	_, _, _, _, c := m.dims(x)
	y := m.residual(name, x, func(name string, x *G.Node, _ bool) *G.Node {
		return m.builder.conv(name, x, out, Kernel{1, 3, 3}, convOptions{axes: spaceOnly})
	})
	if c != out {
		x = m.builder.conv(name+".nin_shortcut", x, out, point, convOptions{axes: spaceOnly})
	}
	return m.add(x, y)
}

// causalBlock is a residual block of causal convolutions of a kernel; those in time alone
// start as the identity.
func (m vidTok) causalBlock(name string, x *G.Node, k Kernel) *G.Node {
	_, _, _, _, c := m.dims(x)
	f := convOptions{}
	if k[1] == 1 {
		f.axes = timeOnly
	}
	return m.add(x, m.residual(name, x, func(name string, x *G.Node, second bool) *G.Node {
		f := f
		if f.axes == timeOnly && second {
			f.zero, f.fixedBias = true, true
		}
		return m.conv(name, x, c, k, f)
	}))
}

// level is the residual blocks of a level of one half of the network, of frames and pixels by turns.
func (m vidTok) level(half string, i, blocks int, x *G.Node, out int) *G.Node {
	for j := range blocks {
		x = m.spaceBlock(fmt.Sprintf("%s.%d.block.%d", half, i, j), x, out)
		x = m.causalBlock(fmt.Sprintf("%s_temporal.%d.block.%d", half, i, j), x, Kernel{3, 1, 1})
	}
	return x
}

// mid is two residual blocks with attention over each frame between them.
func (m vidTok) mid(name string, x *G.Node) *G.Node {
	x = m.causalBlock(name+".block_1", x, Kernel{3, 3, 3})
	x = m.frameAttention(name+".attn_1", x)
	return m.causalBlock(name+".block_2", x, Kernel{3, 3, 3})
}

// frameAttention is attention of one head over the pixels of each frame.
func (m vidTok) frameAttention(name string, x *G.Node) *G.Node {
	_, _, _, _, c := m.dims(x)
	y := m.oneHead(name, ".conv", m.norm(name+".norm", x), kernels.Attention{Over: kernels.Space})
	return m.add(x, m.conv(name+".proj_out", y, c, point, convOptions{}))
}

// blend mixes an interpolation and a convolution.
func (m vidTok) blend(name string, x, y *G.Node) *G.Node {
	if m.err != nil {
		return nil
	}
	return m.apply(kernels.Blend{Len: x.Shape().TotalSize()}, x.Shape(), x, y, m.param(name+".mix_factor", initial{mean: 2}, 1))
}

func (m vidTok) spaceDown(name string, x *G.Node) *G.Node {
	_, _, _, _, c := m.dims(x)
	return m.builder.conv(name+".conv", m.padAfter(x, 1, 1), c, Kernel{1, 3, 3}, convOptions{axes: spaceOnly, strideS: 2, padded: true})
}

func (m vidTok) spaceUp(name string, x *G.Node) *G.Node {
	_, _, _, _, c := m.dims(x)
	return m.builder.conv(name+".conv", m.resampledFrames(x, kernels.Nearest), c, Kernel{1, 3, 3}, convOptions{axes: spaceOnly})
}

func (m vidTok) timeDown(name string, x *G.Node) *G.Node {
	_, _, _, _, c := m.dims(x)
	kind := kernels.MeanOfThree
	if m.newer() {
		kind = kernels.MeanOfThreeCut
	}
	means := func(x *G.Node, kind kernels.Interpolation) *G.Node { return m.resampled(x, 1, kind, 0) }
	if m.piece != nil {
		means = func(x *G.Node, kind kernels.Interpolation) *G.Node { return m.meansOfThree(name, x, kind) }
	}
	return m.blend(name, means(x, kind), m.conv(name+".conv", x, c, Kernel{3, 3, 3}, convOptions{strideT: 2}))
}

// timeUp doubles time; of a clip in version 1.1 the first head frames are interpolated on
// their own.
func (m vidTok) timeUp(name string, x *G.Node, head int) *G.Node {
	_, _, _, _, c := m.dims(x)
	switch {
	case m.newer() && m.piece != nil:
		x = m.stretched(name, x, head)
	case m.newer():
		x = m.resampled(x, 1, kernels.Linear, head)
	default:
		x = m.resampled(x, 1, kernels.Nearest, 0)
	}
	return m.blend(name, x, m.conv(name+".conv", x, c, Kernel{3, 3, 3}, convOptions{}))
}

// frontFrames is the number of copies of the first frame in front of a clip.
func (m vidTok) frontFrames(t int) int {
	f := m.t.Config.timeFactor()
	switch {
	case t%f == 0:
		return 0
	case m.newer():
		return f - t%f
	}
	return f - 1
}

func (m vidTok) encode(x *G.Node) *G.Node {
	_, t, _, _, _ := m.dims(x)
	x = m.repeatFirst(m.toPatches(m.signed(x)), m.frontFrames(t))
	if m.pieces.Frames > 0 {
		_, t, _, _, _ := m.dims(x)
		x = m.frames(x, 0, t-t%m.t.Config.timeFactor()) // later frames are in no code
		return m.inPieces(x, m.t.Config.timeFactor(), m.pieces.Frames, 0, vidTok.encodeFrames)
	}
	return m.encodeFrames(x)
}

func (m vidTok) encodeFrames(x *G.Node) *G.Node {
	c := m.t.Config
	p, last := c.Published, len(c.Published.Multipliers)-1
	x = m.stage("encoder.conv_in", m.conv("encoder.conv_in", x, c.InitDim, Kernel{3, 3, 3}, convOptions{}))
	for i := range last + 1 {
		x = m.level("encoder.down", i, p.Blocks, x, c.width(i))
		if i < last {
			x = m.spaceDown(fmt.Sprintf("encoder.down.%d.downsample", i), x)
		}
		if slices.Contains(p.TimeDown, i) {
			x = m.timeDown(fmt.Sprintf("encoder.down_temporal.%d.downsample", i), x)
		}
		m.stage(fmt.Sprintf("encoder.level.%d", i), x)
	}
	x = m.stage("encoder.mid", m.mid("encoder.mid", x))
	return m.conv("encoder.conv_out", m.swish(m.norm("encoder.norm_out", x)), c.Quantizer.width(), Kernel{3, 3, 3}, convOptions{})
}

func (m vidTok) decode(q *G.Node) *G.Node {
	c := m.t.Config
	x, look := q, 0
	if m.newer() { // the interpolation of a code's frames needs those of the next one
		look = 1
	}
	if m.pieces.Frames > 0 {
		x = m.inPieces(q, 1, m.pieces.Frames/c.timeFactor(), look, vidTok.decodeFrames)
	} else {
		x = m.decodeFrames(q)
	}
	_, t, _, _, _ := m.dims(x)
	skip := c.timeFactor() - 1 // also of clips in front of which the encoder put no frames
	if m.newer() {
		skip = max(t-m.shape.T, 0)
	}
	return m.unsigned(m.fromPatches(m.frames(x, skip, t)))
}

func (m vidTok) decodeFrames(q *G.Node) *G.Node {
	c := m.t.Config
	p, last := c.Published, len(c.Published.Multipliers)-1
	x := m.stage("decoder.conv_in", m.conv("decoder.conv_in", q, c.width(last), Kernel{3, 3, 3}, convOptions{}))
	x = m.stage("decoder.mid", m.mid("decoder.mid", x))
	head := 1
	for i := last; i >= 0; i-- {
		x = m.level("decoder.up", i, p.Blocks+1, x, c.width(i))
		if i > 0 {
			x = m.spaceUp(fmt.Sprintf("decoder.up.%d.upsample", i), x)
		}
		if slices.Contains(p.TimeUp, i) {
			x = m.timeUp(fmt.Sprintf("decoder.up_temporal.%d.upsample", i), x, head)
			head *= 2
		}
		m.stage(fmt.Sprintf("decoder.level.%d", i), x)
	}
	return m.conv("decoder.conv_out", m.swish(m.norm("decoder.norm_out", x)), c.patchChannels(), Kernel{3, 3, 3}, convOptions{})
}
