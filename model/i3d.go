package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// I3D is the Inflated 3D ConvNet of Carreira and Zisserman (2017) on RGB, in evaluation, up
// to its logits of Kinetics-400, which the Fréchet video distance uses as features. Names are
// those of the program pytorch-i3d; padding is TensorFlow's SAME, there as here.
//
// Clips in [0,1] become 2x-1. The distance is defined for frames of I3DSide pixels.
type I3D struct {
	convs map[string]i3dConv
}

const (
	I3DSide     = 224 // height and width of the frames that FVD is of
	I3DFeatures = 400

	i3dLeast       = 32 // pixels on each side
	i3dLeastFrames = 9
)

// i3dConv is a three-dimensional convolution whose weights never change.
type i3dConv struct {
	name       string
	in, out    int
	kt, kh, kw int
	weight     []float32 // [out,kt,kh,kw,in]
	bias       []float32 // [out]
}

// i3dLayers are what the network is made of, applied to values of a kind.
type i3dLayers[T any] interface {
	// conv is a convolution of k×k×k, a batch norm and ReLU.
	conv(name string, x T, out, k, stride int) T
	join(x ...T) T // of channels
	// pool is the maximum of kt×k×k values.
	pool(x T, kt, k, st, s int) T
}

// i3d is the network before the last pooling.
func i3d[T any](l i3dLayers[T], x T) T {
	x = l.conv("Conv3d_1a_7x7", x, 64, 7, 2)
	x = l.pool(x, 1, 3, 1, 2)
	x = l.conv("Conv3d_2c_3x3", l.conv("Conv3d_2b_1x1", x, 64, 1, 1), 192, 3, 1)
	x = l.pool(x, 1, 3, 1, 2)
	mixed := func(name string, out [6]int) {
		name = "Mixed_" + name + "."
		unit := func(branch string, x T, out, k int) T { return l.conv(name+branch, x, out, k, 1) }
		x = l.join(unit("b0", x, out[0], 1), unit("b1b", unit("b1a", x, out[1], 1), out[2], 3),
			unit("b2b", unit("b2a", x, out[3], 1), out[4], 3), unit("b3b", l.pool(x, 3, 3, 1, 1), out[5], 1))
	}
	mixed("3b", [6]int{64, 96, 128, 16, 32, 32})
	mixed("3c", [6]int{128, 128, 192, 32, 96, 64})
	x = l.pool(x, 3, 3, 2, 2)
	mixed("4b", [6]int{192, 96, 208, 16, 48, 64})
	mixed("4c", [6]int{160, 112, 224, 24, 64, 64})
	mixed("4d", [6]int{128, 128, 256, 24, 64, 64})
	mixed("4e", [6]int{112, 144, 288, 32, 64, 64})
	mixed("4f", [6]int{256, 160, 320, 32, 128, 128})
	x = l.pool(x, 2, 2, 2, 2)
	mixed("5b", [6]int{256, 160, 320, 32, 128, 128})
	mixed("5c", [6]int{384, 192, 384, 48, 128, 128})
	return x
}

const i3dLogits = "logits"

// i3dReader reads the weights; a value is a number of channels.
type i3dReader struct {
	tensors map[string]Tensor
	convs   map[string]i3dConv
	err     error
}

func (r *i3dReader) conv(name string, in, out, k, _ int) int {
	r.read(name, in, out, k, name+".bn")
	return out
}

func (r *i3dReader) join(x ...int) (sum int) {
	for _, c := range x {
		sum += c
	}
	return sum
}
func (r *i3dReader) pool(x, _, _, _, _ int) int { return x }

// read reads a convolution of k×k×k with the batch norm, "": none, that follows. As in time and
// height together it is one of two dimensions, it is read as that.
func (r *i3dReader) read(name string, in, out, k int, norm string) {
	if r.err != nil {
		return
	}
	flat := map[string]Tensor{}
	for _, part := range []string{name + ".conv3d.weight", name + ".conv3d.bias", norm + ".weight", norm + ".bias", norm + ".running_mean", norm + ".running_var"} {
		t, ok := r.tensors[part]
		if !ok {
			continue
		}
		if s := t.Shape; len(s) == 5 && s[2] == k && s[3] == k && s[4] == k {
			t.Shape = []int{s[0], s[1], k * k, k}
		}
		flat[part] = t
	}
	var c frozenConv
	if norm == "" {
		var weight []float32
		if weight, r.err = frozenTensor(flat, []string{name + ".conv3d.weight"}, out, in, k*k, k); r.err == nil {
			c.weight = weight // of one pixel: [out,in] is its own order
			c.bias, r.err = frozenTensor(flat, []string{name + ".conv3d.bias"}, out)
		}
	} else {
		c, r.err = newNormedConv(flat, name+".conv3d", norm, out, in, k*k, k, 1e-3)
	}
	r.convs[name] = i3dConv{name: name, in: in, out: out, kt: k, kh: k, kw: k, weight: c.weight, bias: c.bias}
}

// NewI3D reads the weights in pytorch-i3d's names. Further tensors are ignored.
func NewI3D(tensors map[string]Tensor) (*I3D, error) {
	r := &i3dReader{tensors: tensors, convs: map[string]i3dConv{}}
	r.read(i3dLogits, i3d(r, 3), I3DFeatures, 1, "")
	if r.err != nil {
		return nil, fmt.Errorf("I3D: %w; want the state_dict of pytorch-i3d's network of RGB", r.err)
	}
	return &I3D{r.convs}, nil
}

// i3dBuilder adds the layers to a graph.
type i3dBuilder struct {
	*frozen
	net *I3D
}

// samePad is TensorFlow's SAME padding of n positions: results, and zeros before the first and after the last.
func samePad(n, k, stride int) (out, before, after int) {
	out = (n + stride - 1) / stride
	pad := max((out-1)*stride+k-n, 0)
	return out, pad / 2, pad - pad/2
}

func (l i3dBuilder) conv(name string, x *G.Node, _, _, stride int) *G.Node {
	return l.b.act(kernels.ReLU, l.convolve3D(name, x, stride))
}

// convolve3D is a convolution of the network. The Spec has zeros in front of the first frame, and as many on
// both sides of rows and columns: what is missing behind the last is added.
func (l i3dBuilder) convolve3D(name string, x *G.Node, stride int) *G.Node {
	b, c := l.b, l.net.convs[name]
	_, t, h, w, _ := b.dims(x)
	if b.err != nil {
		return nil
	}
	_, front, back := samePad(t, c.kt, stride)
	_, top, bottom := samePad(h, c.kh, stride)
	_, left, right := samePad(w, c.kw, stride)
	x = b.padAfter(b.padBack(x, back), max(bottom-top, 0), max(right-left, 0))
	n, t, h, w, _ := b.dims(x)
	s := kernels.Conv{N: n, T: t, H: h, W: w, C: c.in, O: c.out, KT: c.kt, KH: c.kh, KW: c.kw, ST: stride, SH: stride, SW: stride, DT: 1, PT: front, PH: top, PW: left}
	to, ho, wo := s.Out()
	return b.apply(s, []int{n, to, ho, wo, c.out}, x, l.constant(name+".weight", c.weight, c.out, c.kt, c.kh, c.kw, c.in), l.constant(name+".bias", c.bias, c.out))
}

// padAfter puts zero rows and columns, the same number or none of one, after the last ones.
func (b *builder) padAfter(x *G.Node, rows, columns int) *G.Node {
	n, t, h, w, c := b.dims(x)
	if b.err != nil || rows == 0 && columns == 0 {
		return x
	}
	s := kernels.Pad{N: n, T: t, H: h, W: w, C: c, PH: rows, PW: columns, After: true}
	return b.apply(s, []int{n, t, h + rows, w + columns, c}, x)
}

func (l i3dBuilder) join(list ...*G.Node) *G.Node {
	return inceptionBuilder{frozen: l.frozen}.join(list...)
}

// pool is a maximum. pytorch-i3d's zeros outside of a clip never win: values come from a ReLU.
func (l i3dBuilder) pool(x *G.Node, kt, k, st, stride int) *G.Node {
	n, t, h, w, c := l.b.dims(x)
	s := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: kt, KH: k, KW: k, ST: st, SH: stride, SW: stride, Kind: kernels.MaxPool}
	s.OT, s.PT, _ = samePad(t, kt, st)
	s.OH, s.PH, _ = samePad(h, k, stride)
	s.OW, s.PW, _ = samePad(w, k, stride)
	return l.b.apply(s, []int{n, s.OT, s.OH, s.OW, c}, x)
}

// Graph is the graph of the features of clips: input clip [N,T,H,W,channels], output features
// [N,1,1,1,I3DFeatures], the mean over time of the logits of each two frames of the last
// layer, means over 7×7 pixels or as many as there are.
func (net *I3D) Graph(n, t, h, w, channels int) (*Graph, error) {
	if t < i3dLeastFrames || h < i3dLeast || w < i3dLeast || channels != 1 && channels != 3 {
		return nil, fmt.Errorf("I3D of clips of %d frames of %d×%d pixels with %d channels: want at least %d frames of %d×%d, and 1 or 3", t, h, w, channels, i3dLeastFrames, i3dLeast, i3dLeast)
	}
	b := newBuilder(&Tokenizer{index: map[string]int{}}, Shape{N: n, T: t, H: h, W: w})
	l := i3dBuilder{&frozen{b, nodesByName{}}, net}
	x := i3d(l, l.scaled(b.input("clip", n, t, h, w, channels), [3]float64{2, 2, 2}, [3]float64{-1, -1, -1}))
	_, t, h, w, c := b.dims(x)
	mean := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: min(2, t), KH: min(7, h), KW: min(7, w), ST: 1, SH: 1, SW: 1}
	mean.OT, mean.OH, mean.OW = t-mean.KT+1, h-mean.KH+1, w-mean.KW+1
	x = l.convolve3D(i3dLogits, b.apply(mean, []int{n, mean.OT, mean.OH, mean.OW, c}, x), 1)
	all := kernels.Pool{N: n, T: mean.OT, H: mean.OH, W: mean.OW, C: I3DFeatures, KT: mean.OT, KH: mean.OH, KW: mean.OW, ST: 1, SH: 1, SW: 1, OT: 1, OH: 1, OW: 1}
	b.output("features", b.apply(all, []int{n, 1, 1, 1, I3DFeatures}, x))
	return b.finish()
}
