package model

import (
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/model/machine"
	"magvit/model/op"
)

// builder makes a graph for one batch shape. The first error stays; after it every
// method returns nil and does nothing.
type builder struct {
	t       *Tokenizer
	g       *G.ExprGraph
	shape   Shape
	params  []*G.Node // by index of Tokenizer.Params; nil: not used by this graph
	declare bool      // parameters are being listed, not looked up
	err     error
}

func newBuilder(t *Tokenizer, s Shape) *builder {
	return &builder{t: t, g: G.NewGraph(), shape: s, params: make([]*G.Node, len(t.Params))}
}

func (b *builder) input(name string, shape ...int) *G.Node {
	return machine.Input(b.g, name, shape...)
}

// param is the named parameter; the same name is the same node.
func (b *builder) param(name string, in initial, shape ...int) *G.Node {
	if b.err != nil {
		return nil
	}
	i, ok := b.t.index[name]
	if !ok {
		if !b.declare {
			b.err = fmt.Errorf("model: parameter %s is not declared", name)
			return nil
		}
		i = len(b.t.Params)
		b.t.index[name] = i
		b.t.Params = append(b.t.Params, Param{Name: name, Shape: shape, Decay: len(shape) > 1, init: in})
		b.params = append(b.params, nil)
	}
	if b.params[i] == nil {
		b.params[i] = b.input(name, shape...)
	}
	return b.params[i]
}

// apply adds a kernel whose result has the given shape.
func (b *builder) apply(s kernels.Spec, shape []int, in ...*G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	n, err := op.Apply(s, shape, in...)
	if err != nil {
		b.err = err
	}
	return n
}

// dims is a node's shape N,T,H,W,C; zeros after an error.
func (b *builder) dims(x *G.Node) (n, t, h, w, c int) {
	if b.err != nil {
		return
	}
	s := x.Shape()
	return s[0], s[1], s[2], s[3], s[4]
}

func (b *builder) act(k kernels.Activation, x *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.Act{Kind: k, Len: x.Shape().TotalSize()}, x.Shape(), x)
}

func (b *builder) add(x, y *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	return b.apply(kernels.Add{Len: max(x.Shape().TotalSize(), 1)}, x.Shape(), x, y)
}

// form is what a convolution adds to its size: strides and first values.
type form struct {
	strideT, strideS int
	padT             int // background frames in front
	repeat           int // upsampling: so many consecutive output channels start equal
	bias             float64
	fixedBias        bool // the bias starts at that value, not around zero
}

// conv is a causal convolution with bias, name.weight and name.bias.
func (b *builder) conv(name string, x *G.Node, out int, k Kernel, f form) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: out, KT: k[0], KH: k[1], KW: k[2],
		ST: max(f.strideT, 1), SH: max(f.strideS, 1), SW: max(f.strideS, 1), DT: 1, PT: f.padT, PH: k[1] / 2, PW: k[2] / 2}
	fan := float64(c * k[0] * k[1] * k[2])
	weight, bias := initial{bound: 1 / math.Sqrt(fan), repeat: 1}, initial{bound: 1 / math.Sqrt(fan), repeat: 1}
	if f.repeat > 1 {
		weight, bias = initial{bound: math.Sqrt(6 / fan), repeat: f.repeat}, initial{repeat: 1}
	}
	if f.fixedBias {
		bias = initial{mean: f.bias, repeat: 1}
	}
	to, ho, wo := s.Out()
	return b.apply(s, []int{n, to, ho, wo, out}, x,
		b.param(name+".weight", weight, out, k[0], k[1], k[2], c), b.param(name+".bias", bias, out))
}

// causal is a convolution that keeps the shape and looks back only.
func (b *builder) causal(name string, x *G.Node, out int, k Kernel, f form) *G.Node {
	f.padT = k[0] - 1
	return b.conv(name, x, out, k, f)
}

var point = Kernel{1, 1, 1}

// residual is x + gate(ELU(conv1(ELU(conv_k(x))))).
func (b *builder) residual(name string, x *G.Node, k Kernel) *G.Node {
	_, _, _, _, c := b.dims(x)
	y := b.act(kernels.ELU, b.causal(name+".fn.0.conv", x, c, k, form{}))
	y = b.act(kernels.ELU, b.conv(name+".fn.2", y, c, point, form{}))
	if b.t.Config.SqueezeExcite != "none" {
		y = b.squeezeExcite(name+".fn.4", y)
	}
	return b.add(x, y)
}

// squeezeExcite scales channels by a gate computed from an attention-pooled
// summary of each frame. The reference's to_k has a bias, which the softmax
// cancels; it is left out.
func (b *builder) squeezeExcite(name string, x *G.Node) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	s := kernels.FramePool{F: n * t, P: h * w, C: c}
	hidden := max(16, c/2)
	ctx := b.apply(s, []int{n, t, 1, 1, c}, x, b.param(name+".to_k.weight", initial{bound: 1 / math.Sqrt(float64(c)), repeat: 1}, 1, c))
	y := b.act(kernels.LeakyReLU, b.conv(name+".net.0", ctx, hidden, point, form{}))
	bias := 0.
	if b.t.Config.SqueezeExcite == "closed" {
		bias = -10
	}
	gate := b.act(kernels.Sigmoid, b.gate(name+".net.2", y, c, bias))
	return b.apply(kernels.FrameGate(s), []int{n, t, h, w, c}, x, gate)
}

// gate is squeeze-excite's last convolution: zero weights, so that all gates start
// equal, at sigmoid(bias).
func (b *builder) gate(name string, x *G.Node, out int, bias float64) *G.Node {
	_, _, _, _, c := b.dims(x)
	b.param(name+".weight", initial{repeat: 1}, out, 1, 1, 1, c) // its first values stand; conv finds it by name
	return b.conv(name, x, out, point, form{bias: bias, fixedBias: true})
}

// up is a 1×1×1 convolution, SiLU and depth to space or time.
func (b *builder) up(name string, x *G.Node, out, ft, fs int) *G.Node {
	n, t, h, w, _ := b.dims(x)
	f := ft * fs * fs
	y := b.act(kernels.SiLU, b.conv(name, x, out*f, point, form{repeat: f}))
	return b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: out, FT: ft, FH: fs, FW: fs}, []int{n, t * ft, h * fs, w * fs, out}, y)
}

// encodeLayer applies layer i of the encoder; dim is the width it is to have after.
func (b *builder) encodeLayer(i int, x *G.Node, dim int) *G.Node {
	l, name := b.t.Config.Layers[i], fmt.Sprintf("encoder_layers.%d", i)
	switch l.Name {
	case CompressSpace:
		return b.conv(name+".conv", x, dim, Kernel{1, 3, 3}, form{strideS: 2})
	case CompressTime:
		return b.conv(name+".conv", x, dim, Kernel{3, 1, 1}, form{strideT: 2, padT: 1})
	}
	return b.units(name, l, x)
}

// decodeLayer applies the mirror image of layer i; dim is the width before layer i.
func (b *builder) decodeLayer(i int, x *G.Node, dim int) *G.Node {
	l, name := b.t.Config.Layers[i], fmt.Sprintf("decoder_layers.%d", len(b.t.Config.Layers)-1-i)
	switch l.Name {
	case CompressSpace:
		return b.up(name+".net.0", x, dim, 1, 2)
	case CompressTime:
		return b.up(name+".net.0", x, dim, 2, 1)
	}
	return b.units(name, l, x)
}

// units are the residual units of a layer, the same in encoder and decoder.
func (b *builder) units(name string, l Layer, x *G.Node) *G.Node {
	k := l.Kernel
	if k.IsZero() {
		k = b.t.Config.ResidualKernel
	}
	if l.Name == Residual {
		return b.residual(name, x, k)
	}
	for j := range l.N {
		x = b.residual(fmt.Sprintf("%s.%d", name, j), x, k)
	}
	return x
}
