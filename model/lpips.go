package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
)

// LPIPS is the learned perceptual image patch similarity of Zhang et al. (2018), version 0.1, by the
// features of VGG16 with linear heads: the package lpips with net="vgg".
//
// Images in [0,1] become 2x-1 and then (x - shift)/scale, which is ImageNet's normalization.
// The features after the last ReLU of each of five blocks are scaled to unit length at each pixel; the distance is the
// mean over pixels of their squared differences, weighted by the heads and summed over blocks.
type LPIPS struct {
	convs vggConvs
	heads [][]float32 // of each block
}

// The scaling layer of the package lpips.
var (
	lpipsShift = [3]float64{-.030, -.088, -.188}
	lpipsScale = [3]float64{.458, .448, .450}
)

// LPIPSMin is the least height and width of an image: each of four poolings halves both.
const LPIPSMin = 16

// NewLPIPS reads the weights: VGG16's features in torchvision's names (features.0.weight) or in those of the package
// lpips (net.slice1.0.weight), and the heads in lpips's (lin0.model.1.weight). Further tensors are ignored.
func NewLPIPS(tensors map[string]Tensor) (*LPIPS, error) {
	convs, err := newVGGConvs(tensors, vgg16Blocks, func(block, layer int) []string {
		return []string{fmt.Sprintf("features.%d", layer), fmt.Sprintf("net.slice%d.%d", block+1, layer)}
	})
	if err != nil {
		return nil, fmt.Errorf("LPIPS: %w; want torchvision's vgg16 or the state_dict of lpips.LPIPS(net='vgg')", err)
	}
	l := &LPIPS{convs: convs}
	for i, v := range vgg16Blocks {
		names := []string{fmt.Sprintf("lin%d.model.1.weight", i), fmt.Sprintf("lins.%d.model.1.weight", i)}
		head, err := frozenTensor(tensors, names, 1, v.channels, 1, 1)
		if err != nil {
			return nil, fmt.Errorf("LPIPS: %w; want lpips's vgg.pth or the state_dict of lpips.LPIPS(net='vgg')", err)
		}
		l.heads = append(l.heads, head)
	}
	return l, nil
}

// Wanted reports whether NewLPIPS may read the tensor of a name.
func (*LPIPS) Wanted(name string) bool {
	for _, prefix := range []string{"features.", "net.slice", "lin"} {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

// features are those of the five blocks.
func (l *LPIPS) features(f *frozen, x *G.Node) []*G.Node {
	var gain, offset [3]float64
	for i, scale := range lpipsScale {
		gain[i], offset[i] = 2/scale, -(1+lpipsShift[i])/scale
	}
	return l.convs.features(f, f.scaled(x, gain, offset))
}

// distance is the distances [N·T] between the frames of x and y [N,T,H,W,1 or 3].
func (l *LPIPS) distance(b *builder, x, y *G.Node) (sum *G.Node) {
	f := &frozen{b, nodesByName{}}
	xs, ys := l.features(f, x), l.features(f, y)
	for i := range xs {
		n, t, h, w, c := b.dims(xs[i])
		d := b.apply(kernels.FeatureDistance{N: n * t, P: h * w, C: c}, []int{n * t}, xs[i], ys[i], f.constant(fmt.Sprintf("lin%d", i), l.heads[i], c))
		if sum == nil {
			sum = d
		} else {
			sum = b.add(sum, d)
		}
	}
	return sum
}

// Graph is the graph of the distances between images: inputs original and recon
// [N,1,H,W,channels], output distance [N].
func (l *LPIPS) Graph(n, h, w, channels int) (*Graph, error) {
	if h < LPIPSMin || w < LPIPSMin || channels != 1 && channels != 3 {
		return nil, fmt.Errorf("LPIPS of images of %d×%d pixels with %d channels: want at least %d×%d, and 1 or 3", h, w, channels, LPIPSMin, LPIPSMin)
	}
	b := newBuilder(&Tokenizer{index: map[string]int{}}, Shape{N: n, T: 1, H: h, W: w})
	b.output("distance", l.distance(b, b.input("recon", n, 1, h, w, channels), b.input("original", n, 1, h, w, channels)))
	return b.finish()
}

// loss is the mean distance.
func (l *LPIPS) loss(b *builder, recon, video *G.Node) *G.Node {
	return b.meanOf(l.distance(b, recon, video))
}

func (*LPIPS) least() int { return LPIPSMin }

// SHA256 is that of FrozenNet.
func (l *LPIPS) SHA256() string {
	return weightsHash(append(l.convs.weights(), l.heads...))
}
