package model

import (
	"math"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// axes says which axes of a convolution's kernel the reference's weights have.
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

// form is what a convolution adds to its size: strides, padding and first values.
type form struct {
	axes             axes
	strideT, strideS int             // 0: 1
	dilation         int             // in time; 0: 1
	mode             kernels.PadMode // causal only
	padT             int             // zero frames in front
	padded           bool            // x has its rows and columns around it already
	repeat           int             // upsampling: so many consecutive output channels start equal
	bias             float64
	fixedBias        bool // the bias starts at that value, not around zero
	zero             bool // the weights start at zero
}

var point = Kernel{1, 1, 1}

// conv is a convolution with bias, name.weight and name.bias.
func (b *builder) conv(name string, x *G.Node, out int, k Kernel, f form) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c, O: out, KT: k[0], KH: k[1], KW: k[2],
		ST: max(f.strideT, 1), SH: max(f.strideS, 1), SW: max(f.strideS, 1), DT: max(f.dilation, 1), PT: f.padT}
	if !f.padded {
		s.PH, s.PW = k[1]/2, k[2]/2
	}
	fan := float64(c * k[0] * k[1] * k[2])
	weight, bias := initial{bound: 1 / math.Sqrt(fan)}, initial{bound: 1 / math.Sqrt(fan)}
	if f.repeat > 1 {
		weight, bias = initial{bound: math.Sqrt(6 / fan), repeat: f.repeat}, initial{}
	}
	if f.fixedBias {
		bias = initial{mean: f.bias}
	}
	if f.zero {
		weight = initial{}
	}
	to, ho, wo := s.Out()
	return b.apply(s, []int{n, to, ho, wo, out}, x,
		b.param(name+".weight", weight, []int{out, k[0], k[1], k[2], c}, f.axes.reference(out, c, k)), b.vector(name+".bias", bias, out))
}

// causal is a convolution that looks back only; without strides it keeps the shape.
// Like the reference it falls back to zeros, in space too, where a clip is not
// longer than what stands in front of it.
func (b *builder) causal(name string, x *G.Node, out int, k Kernel, f form) *G.Node {
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

// linear is a product of each pixel's channels with a matrix, without bias.
//
// Why a modulated convolution: it is the one without bias; all clips count as one
// sample.
func (b *builder) linear(name string, x *G.Node, out int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	s := kernels.ModConv{Conv: kernels.Conv{N: 1, T: n * t, H: h, W: w, C: c, O: out, KT: 1, KH: 1, KW: 1, ST: 1, SH: 1, SW: 1, DT: 1}}
	return b.apply(s, []int{n, t, h, w, out}, x, b.vector(name+".weight", initial{bound: 1 / math.Sqrt(float64(c))}, out, c))
}

// down halves an axis: height and width, or time.
func (b *builder) down(name string, x *G.Node, out int, space, antialias bool) *G.Node {
	n, t, h, w, c := b.dims(x)
	if antialias {
		x = b.apply(kernels.Blur{N: n, T: t, H: h, W: w, C: c, Time: !space, Space: space}, []int{n, t, h, w, c}, x)
	}
	if space {
		return b.conv(name+".conv", x, out, Kernel{1, 3, 3}, form{axes: spaceOnly, strideS: 2})
	}
	f := form{axes: timeOnly, strideT: 2, padT: 1}
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
	y := b.act(kernels.SiLU, b.conv(name+".net.0", x, out*f, point, form{axes: a, repeat: f}))
	return b.apply(kernels.Shuffle{N: n, T: t, H: h, W: w, C: out, FT: ft, FH: fs, FW: fs}, []int{n, t * ft, h * fs, w * fs, out}, y)
}
