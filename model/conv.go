package model

import (
	"cmp"
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// axes is the set of a convolution's kernel axes that the reference's weights have.
type axes int

const (
	timeAndSpace axes = iota // (O, C, kt, kh, kw)
	spaceOnly                // (O, C, kh, kw)
	timeOnly                 // (O, C, kt)
	noAxes                   // (O, C)
)

// reference is the reference's shape of weights.
func (a axes) reference(o, c int, k Kernel) []int {
	switch a {
	case spaceOnly:
		return []int{o, c, k[1], k[2]}
	case timeOnly:
		return []int{o, c, k[0]}
	case noAxes:
		return []int{o, c}
	}
	return []int{o, c, k[0], k[1], k[2]}
}

// convOptions are strides, padding and initial values of a convolution.
type convOptions struct {
	axes             axes
	strideT, strideS int             // 0: 1
	dilation         int             // in time; 0: 1
	mode             kernels.PadMode // causal only
	padT             int             // zero frames in front
	padS             int             // zeros on both sides in height and width; 0: half of the kernel
	padded           bool            // x is padded in height and width already
	repeat           int             // upsampling: number of consecutive output channels that start equal
	bias             float64
	fixedBias        bool                // the bias starts at that value, not at random
	zero             bool                // the weights start at zero
	inflatedPhases   int                 // the weights start as inflated says, with that many phases; 0: not so
	std              float64             // the weights start normal with that deviation; 0: uniform
	noBias           bool                // without parameters name.bias
	values           func(dst []float32) // sets weights that start at zero; nil: at random
}

var point = Kernel{1, 1, 1}

// conv is a convolution with parameters name.weight and name.bias.
func (b *builder) conv(name string, x *G.Node, out int, k Kernel, f convOptions) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: out, KT: k[0], KH: k[1], KW: k[2],
		ST: max(f.strideT, 1), SH: max(f.strideS, 1), SW: max(f.strideS, 1), DT: max(f.dilation, 1), PT: f.padT}
	if !f.padded {
		s.PH, s.PW = cmp.Or(f.padS, k[1]/2), cmp.Or(f.padS, k[2]/2)
	}
	fan := float64(c * k[0] * k[1] * k[2])
	weight, bias := initial{bound: 1 / math.Sqrt(fan)}, initial{bound: 1 / math.Sqrt(fan)}
	if f.repeat > 1 {
		weight, bias = initial{bound: math.Sqrt(6 / fan), repeat: f.repeat}, initial{}
	}
	if f.fixedBias {
		bias = initial{mean: f.bias}
	}
	if f.inflatedPhases > 0 {
		weight = inflated(out, k, c, f.inflatedPhases)
	}
	if f.zero || f.values != nil {
		weight = initial{values: f.values}
	}
	if f.std > 0 {
		weight = initial{std: f.std}
	}
	to, ho, wo := s.Out()
	kernel := b.paramAs(name+".weight", weight, []int{out, k[0], k[1], k[2], c}, f.axes.reference(out, c, k))
	if f.noBias {
		return b.apply(s, []int{n, to, ho, wo, out}, x, kernel, b.zeros(out))
	}
	return b.apply(s, []int{n, to, ho, wo, out}, x, kernel, b.param(name+".bias", bias, out))
}

// convInitial is the distribution of parameters with that many terms in a sum.
func convInitial(fan int) initial { return initial{bound: 1 / math.Sqrt(float64(fan))} }

// causal is a convolution that depends on no later frame; without strides it keeps the
// shape. Like the reference it pads with zeros, in height and width too, where a clip has
// no more frames than the padding in front of it.
func (b *builder) causal(name string, x *G.Node, out int, k Kernel, f convOptions) *G.Node {
	n, t, h, w, c := b.dims(x)
	f.padT = max(f.dilation, 1)*(k[0]-1) + 1 - max(f.strideT, 1)
	if f.padT < 0 { // a stride longer than the kernel skips the first frames
		x, f.padT = b.frames(x, -f.padT, t), 0
		_, t, _, _, _ = b.dims(x)
	}
	if f.mode != kernels.Zeros && f.padT < t {
		s := kernels.Pad{N: n, T: t, H: h, W: w, C: c, PT: f.padT, PH: k[1] / 2, PW: k[2] / 2, Mode: f.mode}
		to, ho, wo := s.Out()
		x, f.padT, f.padded = b.apply(s, []int{n, to, ho, wo, c}, x), 0, true
	}
	return b.conv(name, x, out, k, f)
}

// linear is a matrix product with each pixel's channels, without bias.
func (b *builder) linear(name string, x *G.Node, out int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	return b.apply(linearSpec(n, t, h, w, c, out), []int{n, t, h, w, out}, x, b.param(name+".weight", initial{bound: 1 / math.Sqrt(float64(c))}, out, c))
}

// down halves height and width, or time.
func (b *builder) down(name string, x *G.Node, out int, space, antialias bool) *G.Node {
	n, t, h, w, c := b.dims(x)
	if antialias {
		x = b.apply(kernels.Blur{N: n, T: t, H: h, W: w, C: c, Time: !space, Space: space}, []int{n, t, h, w, c}, x)
	}
	if space {
		return b.conv(name+".conv", x, out, Kernel{1, 3, 3}, convOptions{axes: spaceOnly, strideS: 2})
	}
	f := convOptions{axes: timeOnly, strideT: 2, padT: 1}
	if b.t.Config.lucidrains() {
		f.padT = 2
	}
	return b.conv(name+".conv", x, out, Kernel{3, 1, 1}, f)
}

// up is a 1×1×1 convolution, SiLU and depth to space or time.
func (b *builder) up(name string, x *G.Node, out int, space bool) *G.Node {
	n, t, h, w, _ := b.dims(x)
	ft, fs, a := 2, 1, timeOnly
	if space {
		ft, fs, a = 1, 2, spaceOnly
	}
	f := ft * fs * fs
	y := b.act(kernels.SiLU, b.conv(name+".net.0", x, out*f, point, convOptions{axes: a, repeat: f}))
	return b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: out, FT: ft, FH: fs, FW: fs}, []int{n, t * ft, h * fs, w * fs, out}, y)
}
