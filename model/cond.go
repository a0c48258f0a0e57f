package model

import (
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// condition adds the input of the layers cond_*, if there are any.
func (b *builder) condition() {
	if b.t.Config.conditional() {
		b.cond = b.input("cond", b.shape.N, b.t.Config.DimCond)
	}
}

// conditionMLP maps the condition to [N,1,1,1,width]; encoder and decoder have one each.
func (b *builder) conditionMLP(name string) *G.Node {
	if b.cond == nil {
		return nil
	}
	return b.act(kernels.SiLU, b.dense(name+".0", b.cond, b.t.Config.condWidth()))
}

// dense is a linear layer with bias on vectors [N,...,C].
func (b *builder) dense(name string, x *G.Node, out int) *G.Node {
	if b.err != nil {
		return nil
	}
	n, c := x.Shape()[0], x.Shape().TotalSize()/x.Shape()[0]
	in := initial{bound: 1 / math.Sqrt(float64(c))}
	s := kernels.Conv{N: n, T: 1, H: 1, W: 1, C: c, O: out, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}
	return b.apply(s, []int{n, 1, 1, 1, out}, x, b.param(name+".weight", in, out, c), b.param(name+".bias", in, out))
}

// modulated is the residual unit whose weights depend on the condition:
// x + ELU(conv1(ELU(conv_k(x)))), conv_k with weights scaled for each clip.
func (b *builder) modulated(name string, x, cond *G.Node, k Kernel, f convOptions, demod bool) *G.Node {
	_, _, _, _, c := b.dims(x)
	gain := b.dense(name+".to_cond", cond, c)
	y := b.act(kernels.ELU, b.modConv(name+".conv", x, gain, c, k, f, demod))
	y = b.act(kernels.ELU, b.conv(name+".conv_out", y, c, point, convOptions{}))
	return b.add(x, y)
}

// modConv is a causal convolution without bias whose input channels are scaled by
// 1 + gain for each clip; demod scales the weights of each output channel to norm 1.
func (b *builder) modConv(name string, x, gain *G.Node, out int, k Kernel, f convOptions, demod bool) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	taps, dilation := k[0]*k[1]*k[2], max(f.dilation, 1)
	in := initial{std: .75 / math.Sqrt(float64(c*taps))}
	m := b.apply(kernels.Modulate{N: n, O: out, Taps: taps, C: c, Demod: demod}, []int{n, out, taps, c},
		b.paramAs(name+".weights", in, []int{out, k[0], k[1], k[2], c}, timeAndSpace.reference(out, c, k)), gain)
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: out, KT: k[0], KH: k[1], KW: k[2], ST: 1, SH: 1, SW: 1,
		DT: dilation, PT: dilation * (k[0] - 1), PH: k[1] / 2, PW: k[2] / 2}
	return b.apply(kernels.ModConv{Conv: s}, []int{n, t, h, w, out}, x, m)
}
