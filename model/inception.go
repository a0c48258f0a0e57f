package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// Inception is Inception V3 (Szegedy et al. 2016) up to its 2048 features, as the Fréchet inception distance uses it: in
// evaluation, means of pooling over positions inside the image alone, and the last block's pooling a
// maximum. These are the differences of the program pytorch-fid to torchvision's network; the names are torchvision's.
//
// Images in [0,1] become 2x-1. The distance is defined for images of InceptionSide pixels.
type Inception struct{ convs map[string]frozenConv }

const (
	InceptionSide     = 299 // height and width of the images that FID is of
	InceptionFeatures = 2048

	inceptionLeast = 75
)

// inceptionLayers are what the network is made of, applied to values of a kind.
type inceptionLayers[T any] interface {
	// conv is a convolution of kh×kw, a batch norm and ReLU. same keeps the size, else nothing is padded.
	conv(name string, x T, out, kh, kw, stride int, same bool) T
	join(x ...T) T            // of channels
	half(x T) T               // maximum of 3×3 pixels, stride 2
	near(x T, maximum bool) T // mean or maximum of 3×3 pixels around each
}

// inception is the network's features before the mean over pixels.
func inception[T any](l inceptionLayers[T], x T) T {
	x = l.conv("Conv2d_1a_3x3", x, 32, 3, 3, 2, false)
	x = l.conv("Conv2d_2a_3x3", x, 32, 3, 3, 1, false)
	x = l.half(l.conv("Conv2d_2b_3x3", x, 64, 3, 3, 1, true))
	x = l.conv("Conv2d_3b_1x1", x, 80, 1, 1, 1, true)
	x = l.half(l.conv("Conv2d_4a_3x3", x, 192, 3, 3, 1, false))
	// chain is convolutions of one branch, numbered from 1, each [out, kh, kw].
	chain := func(name string, x T, list ...[3]int) T {
		for i, c := range list {
			x = l.conv(fmt.Sprintf("%s_%d", name, i+1), x, c[0], c[1], c[2], 1, true)
		}
		return x
	}
	for i, pooled := range []int{32, 64, 64} {
		n := "Mixed_5" + string(rune('b'+i)) + ".branch"
		x = l.join(l.conv(n+"1x1", x, 64, 1, 1, 1, true), chain(n+"5x5", x, [3]int{48, 1, 1}, [3]int{64, 5, 5}),
			chain(n+"3x3dbl", x, [3]int{64, 1, 1}, [3]int{96, 3, 3}, [3]int{96, 3, 3}), l.conv(n+"_pool", l.near(x, false), pooled, 1, 1, 1, true))
	}
	double := chain("Mixed_6a.branch3x3dbl", x, [3]int{64, 1, 1}, [3]int{96, 3, 3})
	x = l.join(l.conv("Mixed_6a.branch3x3", x, 384, 3, 3, 2, false), l.conv("Mixed_6a.branch3x3dbl_3", double, 96, 3, 3, 2, false), l.half(x))
	for i, c := range []int{128, 160, 160, 192} {
		n := "Mixed_6" + string(rune('b'+i)) + ".branch"
		x = l.join(l.conv(n+"1x1", x, 192, 1, 1, 1, true), chain(n+"7x7", x, [3]int{c, 1, 1}, [3]int{c, 1, 7}, [3]int{192, 7, 1}),
			chain(n+"7x7dbl", x, [3]int{c, 1, 1}, [3]int{c, 7, 1}, [3]int{c, 1, 7}, [3]int{c, 7, 1}, [3]int{192, 1, 7}),
			l.conv(n+"_pool", l.near(x, false), 192, 1, 1, 1, true))
	}
	seven := chain("Mixed_7a.branch7x7x3", x, [3]int{192, 1, 1}, [3]int{192, 1, 7}, [3]int{192, 7, 1})
	x = l.join(l.conv("Mixed_7a.branch3x3_2", chain("Mixed_7a.branch3x3", x, [3]int{192, 1, 1}), 320, 3, 3, 2, false),
		l.conv("Mixed_7a.branch7x7x3_4", seven, 192, 3, 3, 2, false), l.half(x))
	for i := range 2 {
		n := "Mixed_7" + string(rune('b'+i)) + ".branch"
		three, double := chain(n+"3x3", x, [3]int{384, 1, 1}), chain(n+"3x3dbl", x, [3]int{448, 1, 1}, [3]int{384, 3, 3})
		x = l.join(l.conv(n+"1x1", x, 320, 1, 1, 1, true),
			l.conv(n+"3x3_2a", three, 384, 1, 3, 1, true), l.conv(n+"3x3_2b", three, 384, 3, 1, 1, true),
			l.conv(n+"3x3dbl_3a", double, 384, 1, 3, 1, true), l.conv(n+"3x3dbl_3b", double, 384, 3, 1, 1, true),
			l.conv(n+"_pool", l.near(x, i == 1), 192, 1, 1, 1, true))
	}
	return x
}

// inceptionReader reads the weights; a value is a number of channels.
type inceptionReader struct {
	tensors map[string]Tensor
	convs   map[string]frozenConv
	err     error
}

func (r *inceptionReader) conv(name string, in, out, kh, kw, _ int, _ bool) int {
	if r.err == nil {
		r.convs[name], r.err = newNormedConv(r.tensors, name+".conv", name+".bn", out, in, kh, kw, 1e-3)
	}
	return out
}

func (r *inceptionReader) join(x ...int) (sum int) {
	for _, c := range x {
		sum += c
	}
	return sum
}
func (r *inceptionReader) half(x int) int         { return x }
func (r *inceptionReader) near(x int, _ bool) int { return x }

// NewInception reads the weights in torchvision's names, which pytorch-fid has too. Further tensors are ignored.
func NewInception(tensors map[string]Tensor) (*Inception, error) {
	r := &inceptionReader{tensors: tensors, convs: map[string]frozenConv{}}
	inception(r, 3)
	if r.err != nil {
		return nil, fmt.Errorf("Inception V3: %w; want the state_dict of pytorch-fid's network", r.err)
	}
	return &Inception{r.convs}, nil
}

// inceptionBuilder adds the layers to a graph.
type inceptionBuilder struct {
	*frozen
	net *Inception
}

func (l inceptionBuilder) conv(name string, x *G.Node, _, kh, kw, stride int, same bool) *G.Node {
	ph, pw := kh/2, kw/2
	if !same {
		ph, pw = 0, 0
	}
	return l.b.act(kernels.ReLU, l.convolve(l.net.convs[name], x, stride, ph, pw))
}

func (l inceptionBuilder) join(list ...*G.Node) *G.Node {
	x := list[0]
	for _, y := range list[1:] {
		n, t, h, w, a := l.b.dims(x)
		_, _, _, _, c := l.b.dims(y)
		x = l.b.apply(kernels.ConcatTime{N: n * t * h * w, TA: a, TB: c, Inner: 1}, []int{n, t, h, w, a + c}, x, y)
	}
	return x
}

func (l inceptionBuilder) half(x *G.Node) *G.Node {
	n, t, h, w, c := l.b.dims(x)
	s := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: 1, KH: 3, KW: 3, ST: 1, SH: 2, SW: 2, OT: t, OH: (h-3)/2 + 1, OW: (w-3)/2 + 1, Kind: kernels.MaxPool}
	return l.b.apply(s, []int{n, t, s.OH, s.OW, c}, x)
}

func (l inceptionBuilder) near(x *G.Node, maximum bool) *G.Node {
	n, t, h, w, c := l.b.dims(x)
	s := kernels.Pool{N: n, T: t, H: h, W: w, C: c, KT: 1, KH: 3, KW: 3, ST: 1, SH: 1, SW: 1, PH: 1, PW: 1, OT: t, OH: h, OW: w}
	if maximum {
		s.Kind = kernels.MaxPool
	}
	return l.b.apply(s, []int{n, t, h, w, c}, x)
}

// Graph is the graph of the features of images: input image [N,1,H,W,channels], output features [N,1,1,1,InceptionFeatures].
func (net *Inception) Graph(n, h, w, channels int) (*Graph, error) {
	if h < inceptionLeast || w < inceptionLeast || channels != 1 && channels != 3 {
		return nil, fmt.Errorf("Inception V3 of images of %d×%d pixels with %d channels: want at least %d×%d, and 1 or 3", h, w, channels, inceptionLeast, inceptionLeast)
	}
	b := newBuilder(&Tokenizer{index: map[string]int{}}, Shape{N: n, T: 1, H: h, W: w})
	f := &frozen{b, nodesByName{}}
	two, one := [3]float64{2, 2, 2}, [3]float64{-1, -1, -1}
	x := inception(inceptionBuilder{f, net}, f.scaled(b.input("image", n, 1, h, w, channels), two, one))
	b.output("features", f.pixelMean(x))
	return b.finish()
}
