package model

import (
	"cmp"
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// openMagvit2 is the network of Open-MAGVIT2. It is not causal, as the statistics of its
// group norms are those of whole clips, unless published.norm is layer or none.
type openMagvit2 struct{ *builder }

// conv is a causal convolution of k×k×k, of images k×k; zeros are put in front in time
// whatever the stride. With published.time_kernel 1 only those that resample time have k frames.
func (m openMagvit2) conv(name string, x *G.Node, out, k int, f convOptions) *G.Node {
	if m.t.Config.Published.Images {
		f.axes = spaceOnly
		return m.builder.conv(name, x, out, Kernel{1, k, k}, f)
	}
	return m.resampling(name, x, out, min(k, cmp.Or(m.t.Config.Published.TimeKernel, k)), k, f)
}

// resampling is a causal convolution of kt×k×k that may halve or double time.
func (m openMagvit2) resampling(name string, x *G.Node, out, kt, k int, f convOptions) *G.Node {
	if m.t.Config.Published.Images {
		return m.conv(name, x, out, k, f)
	}
	f.padT = kt - 1
	if m.t.Config.inflates() && k > 1 {
		f.inflatedPhases = max(f.inflatedPhases, 1)
	}
	return m.builder.conv(name+".conv_1", x, out, Kernel{kt, k, k}, f)
}

func (m openMagvit2) norm(name string, x *G.Node) *G.Node {
	if m.t.Config.Published.Norm == "none" {
		return x
	}
	n, t, h, w, c := m.dims(x)
	gamma, beta := m.gains(name, c)
	if m.t.Config.Published.Norm == "layer" {
		return m.apply(kernels.LayerNorm{Rows: n * t * h * w, C: c, Eps: 1e-6}, []int{n, t, h, w, c}, x, gamma, beta)
	}
	return m.groupNorm(x, gamma, beta, false, false)
}

// adaptive is the norm in front of a level of the decoder, whose gains and shifts follow from
// the mean and deviation of the clip's latents; without norms of clips it is norm.
func (m openMagvit2) adaptive(name string, x, mean, deviation *G.Node) *G.Node {
	if !m.t.Config.Published.clipNorms() {
		return m.norm(name, x)
	}
	_, _, _, _, c := m.dims(x)
	gamma, beta := m.dense(name+".gamma", deviation, c), m.dense(name+".beta", mean, c)
	return m.groupNorm(x, gamma, beta, false, true)
}

// block is x + conv(swish(norm(conv(swish(norm(x)))))), without biases. The shortcut of another
// width comes first: the norm then overwrites x.
func (m openMagvit2) block(name string, x *G.Node, out int) *G.Node {
	_, _, _, _, c := m.dims(x)
	f := convOptions{noBias: true}
	shortcut := x
	if c != out {
		shortcut = m.conv(name+".nin_shortcut", x, out, 1, f)
	}
	y := m.conv(name+".conv1", m.swish(m.norm(name+".norm1", x)), out, 3, f)
	y = m.conv(name+".conv2", m.swish(m.norm(name+".norm2", y)), out, 3, f)
	return m.add(shortcut, y)
}

func (m openMagvit2) blocks(format string, x *G.Node, out int) *G.Node {
	for j := range m.t.Config.Published.Blocks {
		x = m.block(fmt.Sprintf(format, j), x, out)
	}
	return x
}

func (m openMagvit2) encode(x *G.Node) *G.Node {
	c := m.t.Config
	last := len(c.Published.Multipliers) - 1
	x = m.stage("encoder.conv_in", m.conv("encoder.conv_in", m.toPatches(m.signed(x)), c.InitDim, 3, convOptions{noBias: true}))
	for i := range last + 1 {
		name := fmt.Sprintf("encoder.down.%d", i)
		x = m.blocks(name+".block.%d", x, c.width(i))
		if i < last {
			x = m.resampling(name+".downsample", x, c.width(i), 3, 3, convOptions{strideT: c.Published.stride(i), strideS: 2})
		}
		m.stage(fmt.Sprintf("encoder.level.%d", i), x)
	}
	x = m.stage("encoder.mid", m.blocks("encoder.mid_block.%d", x, c.width(last)))
	dims := c.Quantizer.width()
	return m.conv("encoder.conv_out", m.swish(m.norm("encoder.norm_out", x)), dims, 1, convOptions{})
}

func (m openMagvit2) decode(q *G.Node) *G.Node {
	c := m.t.Config
	last := len(c.Published.Multipliers) - 1
	var mean, deviation *G.Node
	if c.Published.clipNorms() {
		mean, deviation = m.latentStatistics(q)
	}
	x := m.stage("decoder.conv_in", m.conv("decoder.conv_in", q, c.width(last), 3, convOptions{}))
	x = m.stage("decoder.mid", m.blocks("decoder.mid_block.%d", x, c.width(last)))
	for i := last; i >= 0; i-- {
		name := fmt.Sprintf("decoder.adaptive.%d", i)
		x = m.stage(name, m.adaptive(name, x, mean, deviation))
		x = m.blocks(fmt.Sprintf("decoder.up.%d", i)+".block.%d", x, c.width(i))
		if i > 0 {
			x = m.up(fmt.Sprintf("decoder.up.%d.upsample.conv1", i), x, c.Published.stride(i-1))
		}
		m.stage(fmt.Sprintf("decoder.level.%d", i), x)
	}
	f := convOptions{}
	if c.Background != 0 { // what the network begins with, instead of noise
		f.zero, f.fixedBias = true, true
	}
	x = m.conv("decoder.conv_out", m.swish(m.norm("decoder.norm_out", x)), c.patchChannels(), 3, f)
	return m.unsigned(m.fromPatches(x))
}

// latentStatistics are the mean and deviation [N,1,1,1,z] of each latent channel of a clip.
func (m openMagvit2) latentStatistics(q *G.Node) (mean, deviation *G.Node) {
	n, t, h, w, c := m.dims(q)
	stats := m.apply(kernels.ChannelStats{N: n, Rows: t * h * w, C: c, Eps: 1e-6}, []int{n, 2, 1, 1, c}, q)
	return m.frames(stats, 0, 1), m.frames(stats, 1, 2)
}

// up is a convolution and depth to space, and to time if the stride is 2. Of the frames that
// then are there the second is left out.
func (m openMagvit2) up(name string, x *G.Node, stride int) *G.Node {
	n, t, h, w, c := m.dims(x)
	var f convOptions
	if m.t.Config.inflates() {
		f.inflatedPhases = stride * 4
	}
	y := m.resampling(name, x, c*stride*4, 3, 3, f)
	y = m.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: c, FT: stride, FH: 2, FW: 2, PhaseFirst: true}, []int{n, t * stride, 2 * h, 2 * w, c}, y)
	if stride == 1 {
		return y
	}
	first := m.frames(y, 0, 1)
	if t == 1 {
		return first
	}
	return m.concat(first, m.frames(y, 2, 2*t))
}
