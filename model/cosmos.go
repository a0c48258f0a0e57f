package model

import (
	"fmt"
	"math/bits"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// cosmos is the network of NVIDIA's Cosmos DV tokenizers. It is causal: norms are of frames, and a frame's codes depend
// on it and the frames before it.
type cosmos struct{ *builder }

// cosmosKeys reports whether a key of compat cosmos alone is set.
func (p Published) cosmosKeys() bool {
	return p.SpaceFactor != 0 || p.TimeFactor != 0 || p.Latents != 0
}

// validateCosmos checks the keys of compat cosmos.
func (c Config) validateCosmos() []error {
	p := c.Published
	errs := []error{oneOf("quantizer.kind", c.Quantizer.Kind, "fsq"), between("published.latents", p.Latents, 1, 4096)}
	if p.Images || p.Version != "" || len(p.TimeDown)+len(p.TimeUp) > 0 || p.Norm != "" || p.TimeKernel != 0 {
		errs = append(errs, fmt.Errorf("model.published: with compat %s its keys are multipliers, blocks, space_factor, time_factor and latents", Cosmos))
	}
	if c.Patch != 1 && c.Patch != 2 && c.Patch != 4 && c.Patch != 8 {
		return append(errs, fmt.Errorf("model.patch: %d: want 1, 2, 4 or 8 with compat %s, whose patches are wavelets", c.Patch, Cosmos))
	}
	if c.PatchTransform != "none" {
		errs = append(errs, fmt.Errorf("model.patch_transform: %s: want none with compat %s, whose patches are wavelets", c.PatchTransform, Cosmos))
	}
	space, time := c.halvings()
	for _, f := range []struct {
		key            string
		factor, halved int
		most           int
	}{{"space_factor", p.SpaceFactor, space, len(p.Multipliers) - 1}, {"time_factor", p.TimeFactor, time, space}} {
		if f.factor != c.Patch<<f.halved || f.halved > f.most {
			errs = append(errs, fmt.Errorf("model.published.%s: %d: want patch times a power of two, %d to %d", f.key, f.factor, c.Patch, c.Patch<<max(f.most, 0)))
		}
	}
	return errs
}

// halvings are how often the encoder halves space and time after the patches.
func (c Config) halvings() (space, time int) {
	of := func(factor int) int { return max(bits.Len(uint(max(factor, 1)/c.Patch))-1, 0) }
	return of(c.Published.SpaceFactor), of(c.Published.TimeFactor)
}

// conv is a convolution whose input has copies of the first frame in front, kernel - stride of them.
func (m cosmos) conv(name string, x *G.Node, out int, k Kernel, f convOptions) *G.Node {
	return m.builder.conv(name+".conv3d", m.repeatFirst(x, k[0]-max(f.strideT, 1)), out, k, f)
}

var (
	ofFrame = Kernel{1, 3, 3}
	ofTime  = Kernel{3, 1, 1}
)

// pair is a convolution over frames, and then one over time.
func (m cosmos) pair(name string, x *G.Node, out int) *G.Node {
	x = m.conv(name+".0", x, out, ofFrame, convOptions{})
	return m.conv(name+".1", x, out, ofTime, convOptions{})
}

// norm has the statistics of all values of a frame.
func (m cosmos) norm(name string, x *G.Node) *G.Node {
	_, _, _, _, c := m.dims(x)
	gamma, beta := m.gains(name+".norm", c)
	return m.groupNorm(x, gamma, beta, true, false)
}

func (m cosmos) block(name string, x *G.Node, out int) *G.Node {
	_, _, _, _, c := m.dims(x)
	shortcut := x
	if c != out {
		shortcut = m.conv(name+".nin_shortcut", x, out, point, convOptions{})
	}
	y := m.pair(name+".conv1", m.swish(m.norm(name+".norm1", x)), out)
	y = m.pair(name+".conv2", m.swish(m.norm(name+".norm2", y)), out)
	return m.add(shortcut, y)
}

func (m cosmos) attention(name string, x *G.Node, a kernels.Attention) *G.Node {
	_, _, _, _, c := m.dims(x)
	y := m.oneHead(name, ".conv3d", m.norm(name+".norm", x), a)
	return m.add(x, m.conv(name+".proj_out", y, c, point, convOptions{}))
}

// mid is two residual blocks with attention between them, over each frame and over the frames so far of each pixel.
func (m cosmos) mid(name string, x *G.Node) *G.Node {
	_, _, _, _, c := m.dims(x)
	x = m.block(name+".block_1", x, c)
	x = m.attention(name+".attn_1.0", x, kernels.Attention{Over: kernels.Space})
	x = m.attention(name+".attn_1.1", x, kernels.Attention{Over: kernels.Time, Causal: true})
	return m.block(name+".block_2", x, c)
}

// down halves space, time or both, by the sum of a mean and a convolution.
func (m cosmos) down(name string, x *G.Node, space, time bool) *G.Node {
	_, _, _, _, c := m.dims(x)
	if !space && !time {
		return x
	}
	if space {
		y := m.conv(name+".conv1", m.padAfter(x, 1, 1), c, ofFrame, convOptions{strideS: 2, padded: true})
		x = m.add(m.resampledFrames(x, kernels.MeanOfTwo), y)
	}
	if time {
		x = m.repeatFirst(x, 1)
		x = m.add(m.resampled(x, 1, kernels.MeanOfTwo, 0), m.conv(name+".conv2", x, c, ofTime, convOptions{strideT: 2}))
	}
	return m.conv(name+".conv3", x, c, point, convOptions{})
}

// up doubles time, space or both, and adds a convolution to each. The first frame stays one.
func (m cosmos) up(name string, x *G.Node, space, time bool) *G.Node {
	_, t, _, _, c := m.dims(x)
	if !space && !time {
		return x
	}
	if time {
		if t > 1 {
			x = m.frames(m.resampled(x, 1, kernels.Nearest, 0), 1, 2*t)
		}
		x = m.add(x, m.conv(name+".conv1", x, c, ofTime, convOptions{}))
	}
	if space {
		x = m.resampledFrames(x, kernels.Nearest)
		x = m.add(x, m.conv(name+".conv2", x, c, ofFrame, convOptions{}))
	}
	return m.conv(name+".conv3", x, c, point, convOptions{})
}

func (m cosmos) encode(x *G.Node) *G.Node {
	c := m.t.Config
	p, last := c.Published, len(c.Published.Multipliers)-1
	space, time := c.halvings()
	forward, _ := haar(c.Channels, c.Patch)
	x = m.shuffle(m.repeatFirst(m.signed(x), c.Patch-1), c.Patch, c.Patch, c.Patch, true)
	x = m.constantLinear("haar", x, forward, c.Channels*c.Patch*c.Patch*c.Patch)
	x = m.stage("encoder.conv_in", m.pair("encoder.conv_in", x, c.InitDim))
	for i := range last + 1 {
		for j := range p.Blocks {
			x = m.block(fmt.Sprintf("encoder.down.%d.block.%d", i, j), x, c.width(i))
		}
		if i < last {
			x = m.down(fmt.Sprintf("encoder.down.%d.downsample", i), x, i < space, i < time)
		}
		m.stage(fmt.Sprintf("encoder.level.%d", i), x)
	}
	x = m.stage("encoder.mid", m.mid("encoder.mid", x))
	x = m.pair("encoder.conv_out", m.swish(m.norm("encoder.norm_out", x)), p.Latents)
	return m.conv("quant_conv", x, c.Quantizer.width(), point, convOptions{})
}

func (m cosmos) decode(q *G.Node) *G.Node {
	c := m.t.Config
	p, last := c.Published, len(c.Published.Multipliers)-1
	values := c.Channels * c.Patch * c.Patch * c.Patch
	x := m.conv("post_quant_conv", q, p.Latents, point, convOptions{})
	x = m.stage("decoder.conv_in", m.pair("decoder.conv_in", x, c.width(last)))
	x = m.stage("decoder.mid", m.mid("decoder.mid", x))
	for i := last; i >= 0; i-- {
		for j := range p.Blocks + 1 {
			x = m.block(fmt.Sprintf("decoder.up.%d.block.%d", i, j), x, c.width(i))
		}
		if i > 0 {
			space, time := c.doubles(last - i)
			x = m.up(fmt.Sprintf("decoder.up.%d.upsample", i), x, space, time)
		}
		m.stage(fmt.Sprintf("decoder.level.%d", i), x)
	}
	x = m.pair("decoder.conv_out", m.swish(m.norm("decoder.norm_out", x)), values)
	_, inverse := haar(c.Channels, c.Patch)
	x = m.shuffle(m.constantLinear("haar_inverse", x, inverse, values), c.Patch, c.Patch, c.Patch, false)
	_, t, _, _, _ := m.dims(x)
	return m.unsigned(m.frames(x, c.Patch-1, t))
}

// doubles reports what the decoder doubles after its level number r, counted from the deepest one: time
// after levels 1, 2, ..., space there too, and from level 0 on where it is doubled more often.
func (c Config) doubles(r int) (space, time bool) {
	spaces, times := c.halvings()
	time = 0 < r && r <= times
	return time || r < spaces && spaces > times, time
}

// haar is the transform of a patch's values [channels,p,p,p], of frames, rows and columns, to coefficients of Haar wavelets,
// and its inverse; both [c·p³,c·p³], rows are results. Each of log2 p rounds makes of pairs l = (a+b)/2 and h = (a-b)/2 along
// each axis, and of the channels so far 8 blocks in the order lll, llh, lhl, ... hhh (frames, rows, columns).
func haar(channels, p int) (forward, inverse []float32) {
	n, rounds := channels*p*p*p, bits.Len(uint(p))-1
	forward, inverse = make([]float32, n*n), make([]float32, n*n)
	for k := range n {
		for i := range n {
			if k%channels != i/(p*p*p) {
				continue
			}
			at := [3]int{i / (p * p) % p, i / p % p, i % p}
			sign := float32(1)
			for r := range rounds {
				band := k / channels >> (3 * r) & 7
				for axis := range 3 {
					if band>>(2-axis)&1 == 1 && at[axis]>>r&1 == 1 {
						sign = -sign
					}
				}
			}
			forward[k*n+i], inverse[i*n+k] = sign/float32(p*p*p), sign
		}
	}
	return forward, inverse
}
