package model

import (
	"fmt"
	"math"
	"strings"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// encodeLayer applies layer i of the encoder; dim is its number of output channels.
func (b *builder) encodeLayer(i int, x, cond *G.Node, dim int) *G.Node {
	l, name := b.t.Config.Layers[i], fmt.Sprintf("encoder_layers.%d", i)
	if l.compresses() {
		return b.down(name, x, dim, l.Name == CompressSpace, l.Antialias)
	}
	return b.layer(name, l, x, cond)
}

// decodeLayer applies the mirror image of layer i; dim is its number of output channels.
func (b *builder) decodeLayer(i int, x, cond *G.Node, dim int) *G.Node {
	l, name := b.t.Config.Layers[i], fmt.Sprintf("decoder_layers.%d", len(b.t.Config.Layers)-1-i)
	if l.compresses() {
		return b.up(name, x, dim, l.Name == CompressSpace)
	}
	return b.layer(name, l, x, cond)
}

// layer applies a layer that keeps the shape, the same in encoder and decoder. Only the
// layers cond_* use cond [N,1,1,1,width].
func (b *builder) layer(name string, l Layer, x, cond *G.Node) *G.Node {
	c := b.t.Config
	k := l.Kernel
	if k.IsZero() {
		k = c.ResidualKernel
	}
	f := convOptions{dilation: l.Dilation}
	kind, conditional := strings.CutPrefix(l.Name, "cond_")
	if !conditional {
		cond = nil
	}
	mem := memories{c.Attention, memory}
	switch kind {
	case ConsecutiveResidual:
		for j := range l.N {
			x = b.residual(fmt.Sprintf("%s.%d", name, j), x, k, f)
		}
	case Residual:
		if conditional {
			return b.modulated(name, x, cond, k, f, true)
		}
		return b.residual(name, x, k, f)
	case AttendSpace:
		x = b.add(x, b.attention(name+".0.fn", x, cond, mem, kernels.Space, false))
		x = b.add(x, b.feedForward(name+".1.fn", x, cond, 4))
	case LinearAttendSpace:
		x = b.add(x, b.linearAttention(name+".0.fn", x, cond, c.LinearAttention))
		x = b.add(x, b.feedForward(name+".1.fn", x, cond, 4))
	case AttendTime:
		x = b.add(x, b.attention(name+".0.fn.fn", b.shift(x), cond, mem, kernels.Time, true))
		x = b.add(x, b.feedForward(name+".1.fn.fn", b.shift(x), cond, 4))
	case GateLoopTime:
		x = b.add(x, b.gateLoop(name+".fn.fn", x))
	}
	return x
}

// residual is x + gate(ELU(conv1(ELU(conv_k(x))))).
func (b *builder) residual(name string, x *G.Node, k Kernel, f convOptions) *G.Node {
	_, _, _, _, c := b.dims(x)
	y := b.act(kernels.ELU, b.causal(name+".fn.0.conv", x, c, k, f))
	silent := b.t.Config.beginsAsCodec()
	y = b.act(kernels.ELU, b.conv(name+".fn.2", y, c, point, convOptions{zero: silent, fixedBias: silent}))
	if b.t.Config.SqueezeExcite != "none" {
		y = b.squeezeExcite(name+".fn.4", y, max(16, c/2))
	}
	return b.add(x, y)
}

// squeezeExcite scales the channels of each frame by gates computed from its
// attention-pooled mean.
func (b *builder) squeezeExcite(name string, x *G.Node, hidden int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	s := kernels.FramePool{F: n * t, P: h * w, C: c}
	in := initial{bound: 1 / math.Sqrt(float64(c))}
	ctx := b.apply(s, []int{n, t, 1, 1, c}, x, b.paramAs(name+".to_k.weight", in, []int{1, c}, []int{1, c, 1, 1}))
	if b.t.Config.lucidrains() {
		b.unusedParam(name+".to_k.bias", in, 1) // the softmax cancels it
	}
	y := b.act(kernels.LeakyReLU, b.conv(name+".net.0", ctx, hidden, point, convOptions{axes: spaceOnly}))
	bias := 0.
	if b.t.Config.SqueezeExcite == "closed" {
		bias = -10
	}
	gate := b.act(kernels.Sigmoid, b.conv(name+".net.2", y, c, point, convOptions{axes: spaceOnly, zero: true, bias: bias, fixedBias: true}))
	return b.apply(kernels.FrameGate{F: s.F, P: s.P, C: s.C}, []int{n, t, h, w, c}, x, gate)
}

// layerNorm normalizes over channels.
func (b *builder) layerNorm(name string, x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	return b.apply(kernels.LayerNorm{Rows: n * t * h * w, C: c, Eps: 1e-5}, []int{n, t, h, w, c}, x,
		b.param(name+".weight", initial{mean: 1}, c), b.param(name+".bias", initial{}, c))
}

// rmsNorm normalizes over channels; wide is the number of trailing axes of size 1 in the
// reference's gains. With a condition the gains are computed from it.
func (b *builder) rmsNorm(name string, x, cond *G.Node, wide int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	if cond != nil {
		gamma := b.conv(name+".to_gamma", cond, c, point, convOptions{axes: noAxes, zero: true, bias: 1, fixedBias: true})
		return b.apply(kernels.AdaptiveRMSNorm{N: n, Rows: t * h * w, C: c}, []int{n, t, h, w, c}, x, gamma)
	}
	reference := []int{c}
	for range wide {
		reference = append(reference, 1)
	}
	return b.apply(kernels.RMSNorm{Rows: n * t * h * w, C: c}, []int{n, t, h, w, c}, x, b.paramAs(name+".gamma", initial{mean: 1}, []int{c}, reference))
}

// gateLoop is a gated linear recurrence over time.
func (b *builder) gateLoop(name string, x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	y := b.linear(name+".to_qkva.0", b.rmsNorm(name+".norm", x, nil, 0), 3*c)
	return b.apply(kernels.GateLoop{N: n, T: t, P: h * w, C: c}, []int{n, t, h, w, c}, y)
}
