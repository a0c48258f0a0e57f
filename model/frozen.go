package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Tensor is an array of a file of weights, in the order of its axes.
type Tensor struct {
	Shape  []int
	Values []float32
}

// frozenConv is a two-dimensional convolution whose weights never change.
type frozenConv struct {
	name   string
	in     int // channels
	out    int
	kh, kw int
	weight []float32 // [out,1,kh,kw,in]
	bias   []float32 // [out]
}

// frozenTensor finds a tensor under one of several names, of the given shape. Axes of one
// value do not count: a linear layer is a convolution of one pixel.
func frozenTensor(tensors map[string]Tensor, names []string, shape ...int) ([]float32, error) {
	for _, name := range names {
		t, ok := tensors[name]
		if !ok {
			continue
		}
		if !slices.Equal(withoutOnes(t.Shape), withoutOnes(shape)) {
			return nil, fmt.Errorf("%s has the shape %v, want %v", name, t.Shape, shape)
		}
		return t.Values, nil
	}
	return nil, fmt.Errorf("no tensor %s of shape %v", strings.Join(names, " or "), shape)
}

func withoutOnes(shape []int) []int {
	return slices.DeleteFunc(slices.Clone(shape), func(d int) bool { return d == 1 })
}

// newFrozenConv reads a convolution of torch, weight [out,in,k,k] and bias [out], under one of several names.
func newFrozenConv(tensors map[string]Tensor, names []string, out, in, k int) (c frozenConv, err error) {
	of := func(suffix string) (list []string) {
		for _, n := range names {
			list = append(list, n+suffix)
		}
		return list
	}
	c = frozenConv{name: names[0], in: in, out: out, kh: k, kw: k, weight: make([]float32, out*in*k*k)}
	weight, err := frozenTensor(tensors, of(".weight"), out, in, k, k)
	if err != nil {
		return c, err
	}
	for i, v := range weight {
		p, channel, o := i%(k*k), i/(k*k)%in, i/(k*k)/in
		c.weight[(o*k*k+p)*in+channel] = v
	}
	c.bias, err = frozenTensor(tensors, of(".bias"), out)
	return c, err
}

// FrozenNet is a network that a term of the loss is made of and that is not trained.
type FrozenNet interface {
	// SHA256 is the hash of the weights in hexadecimal: of their values alone, whatever file they came from.
	SHA256() string

	least() int // height and width of a frame
	loss(b *builder, recon, video *G.Node) *G.Node
}

// frozen adds the constants of convolutions to a graph once.
type frozen struct {
	b     *builder
	nodes nodesByName
}

type nodesByName map[string]*G.Node

func (f *frozen) constant(name string, values []float32, shape ...int) *G.Node {
	if f.b.err != nil {
		return nil
	}
	if f.nodes[name] == nil {
		f.nodes[name] = f.b.constant("frozen."+name, values, shape...)
	}
	return f.nodes[name]
}

// conv is a convolution of stride 1 that keeps the size of frames x [N,T,H,W,in].
func (f *frozen) conv(c frozenConv, x *G.Node) *G.Node { return f.strided(c, x, 1) }

// strided is a convolution with as many zeros on both sides as keep the size with stride 1.
func (f *frozen) strided(c frozenConv, x *G.Node, stride int) *G.Node {
	return f.convolve(c, x, stride, c.kh/2, c.kw/2)
}

// convolve is a convolution with ph rows and pw columns of zeros on both sides.
func (f *frozen) convolve(c frozenConv, x *G.Node, stride, ph, pw int) *G.Node {
	n, t, h, w, _ := f.b.dims(x)
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c.in, O: c.out, KT: 1, KH: c.kh, KW: c.kw, ST: 1, SH: stride, SW: stride, DT: 1, PH: ph, PW: pw}
	_, h, w = s.Out()
	return f.b.apply(s, []int{n, t, h, w, c.out}, x, f.constant(c.name+".weight", c.weight, c.out, 1, c.kh, c.kw, c.in), f.constant(c.name+".bias", c.bias, c.out))
}

// pixelMean is the mean over the pixels of each frame, [N,T,1,1,C].
func (f *frozen) pixelMean(x *G.Node) *G.Node {
	n, t, h, w, c := f.b.dims(x)
	mean := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: 1, KH: h, KW: w, ST: 1, SH: 1, SW: 1, OT: t, OH: 1, OW: 1}
	return f.b.apply(mean, []int{n, t, 1, 1, c}, x)
}

// pixelsAsChannels is frames x [N,T,H,W,C] as [N,T,1,1,H·W·C], the same values.
func (f *frozen) pixelsAsChannels(x *G.Node) *G.Node {
	n, t, h, w, c := f.b.dims(x)
	if f.b.err != nil {
		return nil
	}
	return f.b.apply(kernels.Affine{Len: n * t * h * w * c, Mul: 1}, []int{n, t, 1, 1, h * w * c}, x)
}

// squaredError is the mean squared error of features x and y [N,T,1,1,C].
func (f *frozen) squaredError(x, y *G.Node) *G.Node {
	n, t, _, _, c := f.b.dims(x)
	ones := make([]float32, n*t)
	for i := range ones {
		ones[i] = 1
	}
	return f.b.apply(kernels.ReconLoss{Pixels: n * t, C: c, Overshoot: 1}, []int{}, x, y, f.constant("ones", ones, n*t))
}

// scaled is gain·x + offset for each of three channels, of frames with 1 or 3.
func (f *frozen) scaled(x *G.Node, gain, offset [3]float64) *G.Node {
	_, _, _, _, channels := f.b.dims(x)
	c := frozenConv{name: "scaling", in: channels, out: 3, kh: 1, kw: 1, weight: make([]float32, 3*channels), bias: make([]float32, 3)}
	for o := 0; o < 3 && channels > 0; o++ {
		c.weight[o*channels+o%channels] = float32(gain[o])
		c.bias[o] = float32(offset[o])
	}
	return f.conv(c, x)
}

// normalized is frames in [0,1] less ImageNet's mean, by its standard deviation.
func (f *frozen) normalized(x *G.Node) *G.Node {
	var gain, offset [3]float64
	for i, std := range imageNetStd {
		gain[i], offset[i] = 1/std, -imageNetMean[i]/std
	}
	return f.scaled(x, gain, offset)
}

// halfPool is the maximum of 2×2 pixels; a last odd row or column is left out.
func (f *frozen) halfPool(x *G.Node) *G.Node {
	n, t, h, w, c := f.b.dims(x)
	s := halved(n, t, h/2, w/2, h, w, c)
	s.Kind = kernels.MaxPool
	return f.b.apply(s, []int{n, t, h / 2, w / 2, c}, x)
}

// weightsHash is the SHA-256 of weights in hexadecimal.
func weightsHash(list [][]float32) string {
	hash := sha256.New()
	var block []byte
	for _, values := range list {
		block = block[:0]
		for _, v := range values {
			block = binary.LittleEndian.AppendUint32(block, math.Float32bits(v))
		}
		hash.Write(block)
	}
	return hex.EncodeToString(hash.Sum(nil))
}
