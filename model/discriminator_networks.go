package model

import (
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// discriminate is the discriminator at each of its scales: x at its own size, then halved
// again and again by means of 2×2 pixels. x holds batches of as many frames or clips, one
// after another, with statistics of their own.
func (b *builder) discriminate(x *G.Node, batches int) (logits []*G.Node) {
	for i := range max(b.t.Config.Discriminator.Scales, 1) {
		name := "discr"
		if i > 0 {
			n, t, h, w, c := b.dims(x)
			x, name = b.apply(halved(n, t, h/2, w/2, h, w, c), []int{n, t, h / 2, w / 2, c}, x), fmt.Sprintf("discr.scales.%d", i)
		}
		logits = append(logits, b.discriminateAt(name, x, batches))
	}
	return logits
}

// discriminateAt is the discriminator at one scale: frames [M,1,H,W,C] to logits
// [M,1,H',W',1], or clips [M,T,H,W,C] to logits [M,T',H',W',1], large for those that look real.
func (b *builder) discriminateAt(name string, x *G.Node, batches int) *G.Node {
	d := b.t.Config.Discriminator
	if b.err != nil {
		return nil
	}
	dim := d.Dim
	if dim == 0 && patchNetworks[d.Kind].normed {
		dim = 64
	}
	if dim == 0 {
		dims := b.t.Config.dimsAfter()
		dim = append([]int{b.t.Config.InitDim}, dims...)[len(dims)]
	}
	if p, ok := patchNetworks[d.Kind]; ok {
		return b.discriminatePatches(name, p, x, dim, batches)
	}
	if d.Kind == styleGAN3D {
		return b.discriminateStyleGAN(name, x, dim)
	}
	return b.discriminateImages(name, x, dim)
}

// discriminateImages is magvit2-pytorch's discriminator of frames.
func (b *builder) discriminateImages(name string, x *G.Node, dim int) *G.Node {
	d := b.t.Config.Discriminator
	_, _, h, w, _ := b.dims(x)
	if b.err != nil {
		return nil
	}
	for i := range halvings(h, w) + 1 {
		block := fmt.Sprintf("%s.blocks.%d", name, i)
		x = b.discriminatorBlock(block+".0", x, min(4*dim<<i, d.MaxDim), i < halvings(h, w), d.Blur)
		x = b.add(x, b.linearAttention(block+".1.0.fn", x, nil, d.LinearAttention))
		x = b.add(x, b.feedForwardOf(spaceOnly, block+".1.1.fn", x, nil, d.FeedForward))
	}
	n, _, h, w, c := b.dims(x)
	x = b.act(kernels.LeakyReLU, b.conv(name+".to_logits.0", x, c, Kernel{1, 3, 3}, convOptions{axes: spaceOnly}))
	if b.err != nil {
		return nil
	}
	// The reference's linear layer of all of a frame's values is a convolution as large as it.
	s := kernels.Conv{N: n, T: 1, H: h, W: w, C: c, O: 1, KT: 1, KH: h, KW: w, ST: 1, SH: 1, SW: 1, DT: 1}
	in := initial{bound: 1 / math.Sqrt(float64(h*w*c))}
	return b.apply(s, []int{n, 1, 1, 1, 1}, x,
		b.paramAs(name+".to_logits.3.weight", in, []int{1, 1, h, w, c}, []int{1, c * h * w}), b.param(name+".to_logits.3.bias", in, 1))
}

// patchNetwork is a discriminator of four convolutions with strides, whose widths double,
// and one that makes a logit of each patch.
type patchNetwork struct {
	kernel  Kernel
	strides [4][2]int // in time, in space
	causal  bool      // zero frames in front alone
	normed  bool      // batch norm after the second to the fourth convolution, which have no biases
	act     kernels.Activation
}

var patchNetworks = map[string]patchNetwork{
	patch3D:    {kernel: Kernel{3, 3, 3}, strides: [4][2]int{{2, 2}, {2, 2}, {1, 2}, {1, 1}}, causal: true, act: kernels.LeakyReLU},
	patchGAN3D: {kernel: Kernel{3, 3, 3}, strides: [4][2]int{{2, 2}, {2, 2}, {1, 2}, {1, 1}}, normed: true, act: kernels.LeakyReLU5},
	patchGAN:   {kernel: Kernel{1, 4, 4}, strides: [4][2]int{{1, 2}, {1, 2}, {1, 2}, {1, 1}}, normed: true, act: kernels.LeakyReLU5},
}

// discriminatePatches is one of patchNetworks. Layers with batch norm have the published
// names and first values: weights normal with deviation 1/50.
func (b *builder) discriminatePatches(name string, p patchNetwork, x *G.Node, dim, batches int) *G.Node {
	conv := func(layer int, x *G.Node, out int, stride [2]int, biased bool) *G.Node {
		f := convOptions{strideT: stride[0], strideS: stride[1], padS: 1, padT: p.kernel[0] / 2, noBias: !biased}
		if p.kernel[0] == 1 {
			f.axes = spaceOnly
		}
		if p.normed {
			f.std = .02
		}
		if p.causal {
			f.padT = p.kernel[0] - 1
		} else {
			x = b.padBack(x, f.padT)
		}
		return b.conv(fmt.Sprintf("%s.main.%d", name, layer), x, out, p.kernel, f)
	}
	layer := 0
	for i, stride := range p.strides {
		normed := p.normed && i > 0
		x = conv(layer, x, min(dim<<i, b.t.Config.Discriminator.MaxDim), stride, !normed)
		if layer++; normed {
			x = b.batchNorm(fmt.Sprintf("%s.main.%d", name, layer), x, batches)
			layer++
		}
		x = b.act(p.act, x)
		layer++
	}
	return conv(layer, x, 1, [2]int{1, 1}, true)
}

// padBack puts zero frames after the last one.
func (b *builder) padBack(x *G.Node, frames int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil || frames == 0 {
		return x
	}
	s := kernels.ConcatTime{N: n, TA: t, TB: frames, Inner: h * w * c}
	return b.apply(s, []int{n, t + frames, h, w, c}, x, b.zeros(n*frames*h*w*c))
}

// momentum is torch's default: how far a batch moves running statistics.
const momentum = .1

// batchNorm normalizes each channel by the statistics of each of several batches that x is
// made of, in training and in use alike: a discriminator is not used otherwise. Running
// statistics follow the discriminator's own steps, in which it sees a batch of real and one of reconstructed frames.
func (b *builder) batchNorm(name string, x *G.Node, batches int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	rows := n / batches * t * h * w
	y := b.apply(kernels.BatchNorm(batches, rows, c, 1e-5), x.Shape(), x, b.param(name+".weight", initial{mean: 1, std: .02}, c), b.param(name+".bias", initial{}, c))
	for _, of := range []struct {
		buffer   string
		first    float64
		variance bool
	}{{name + ".running_mean", 0, false}, {name + ".running_var", 1, true}} {
		if b.declare {
			b.buffer(of.buffer, initial{mean: of.first}, c)
			b.updateBuffers(kernels.RunningUpdate{Len: c, Rate: 1 - (1-momentum)*(1-momentum)}, of.buffer)
		}
		if b.graph.discriminates {
			s := kernels.BatchMoments{N: batches, Rows: rows, C: c, Decay: 1 - momentum, Variance: of.variance}
			b.statistic(of.buffer, b.meanOverBatches(b.apply(s, []int{c}, x)))
		}
	}
	return y
}

// styleGANWidth is the width of stylegan3d's linear layer.
const styleGANWidth = 512

// discriminateStyleGAN is stylegan3d: residual blocks of 3-D convolutions that halve clips
// in time and space after a blur, as in MAGVIT (Yu et al. 2023, after Karras et al. 2019).
// The mean over time of the last block's values goes to the two linear layers, where MAGVIT
// has all frames of clips of one length: clips of any length have a logit.
func (b *builder) discriminateStyleGAN(name string, x *G.Node, dim int) *G.Node {
	_, _, h, w, _ := b.dims(x)
	if b.err != nil {
		return nil
	}
	most := b.t.Config.Discriminator.MaxDim
	x = b.act(kernels.LeakyReLU5, b.centred(name+".conv_in", x, min(dim, most), Kernel{3, 3, 3}, 1, 1))
	for i := range halvings(h, w) {
		x = b.styleGANBlock(fmt.Sprintf("%s.blocks.%d", name, i), x, min(dim<<(i+1), most))
	}
	_, _, _, _, c := b.dims(x)
	x = b.act(kernels.LeakyReLU5, b.centred(name+".conv_out", x, c, Kernel{3, 3, 3}, 1, 1))
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	mean := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: t, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, OT: 1, OH: h, OW: w}
	x = b.apply(mean, []int{n, 1, h, w, c}, x)
	x = b.act(kernels.LeakyReLU5, b.conv(name+".linear", x, min(styleGANWidth, most), Kernel{1, h, w}, convOptions{axes: spaceOnly, padded: true}))
	return b.conv(name+".to_logits", x, 1, point, convOptions{axes: noAxes})
}

// styleGANBlock is two convolutions with a residual, over √2, that halve time, while there
// is more than a frame, height and width.
func (b *builder) styleGANBlock(name string, x *G.Node, out int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	strideT := min(t, 2)
	blurred := func(x *G.Node) *G.Node {
		return b.apply(kernels.Blur{N: n, T: t, H: h, W: w, C: c, Time: t > 1, Space: true}, []int{n, t, h, w, c}, x)
	}
	y := blurred(b.act(kernels.LeakyReLU5, b.centred(name+".conv1", x, c, Kernel{3, 3, 3}, 1, 1)))
	y = b.act(kernels.LeakyReLU5, b.centred(name+".conv2", y, out, Kernel{3, 3, 3}, strideT, 2))
	skip := b.conv(name+".skip", blurred(x), out, point, convOptions{axes: noAxes, strideT: strideT, strideS: 2, noBias: true})
	return b.scale(b.add(y, skip), 1/math.Sqrt2)
}

// centred is a convolution with as many zeros before the first and after the last frame.
func (b *builder) centred(name string, x *G.Node, out int, k Kernel, strideT, strideS int) *G.Node {
	return b.conv(name, b.padBack(x, k[0]/2), out, k, convOptions{padT: k[0] / 2, strideT: strideT, strideS: strideS})
}

// discriminatorBlock is two convolutions with a residual, over √2; down halves height and width.
func (b *builder) discriminatorBlock(name string, x *G.Node, out int, down, blur bool) *G.Node {
	f := convOptions{axes: spaceOnly}
	y := b.act(kernels.LeakyReLU, b.conv(name+".net.0", x, out, Kernel{1, 3, 3}, f))
	y = b.act(kernels.LeakyReLU, b.conv(name+".net.2", y, out, Kernel{1, 3, 3}, f))
	if down {
		n, t, h, w, _ := b.dims(y)
		if blur {
			y = b.apply(kernels.Blur{N: n, T: t, H: h, W: w, C: out, Space: true}, []int{n, t, h, w, out}, y)
		}
		if b.err == nil && (h%2 != 0 || w%2 != 0) {
			b.err = fmt.Errorf("model: a discriminator's block halves frames of %d×%d pixels: want even sizes", h, w)
		}
		y = b.apply(kernels.Shuffle{N: n, T: t, H: h / 2, W: w / 2, C: out, FT: 1, FH: 2, FW: 2, Down: true}, []int{n, t, h / 2, w / 2, 4 * out}, y)
		y = b.conv(name+".downsample.1", y, out, point, f)
		f.strideS = 2
	}
	return b.scale(b.add(y, b.conv(name+".conv_res", x, out, point, f)), 1/math.Sqrt2)
}
