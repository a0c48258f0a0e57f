package model

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"magvit/kernels"
	"magvit/kernels/philox"
)

// vggBlock is a block of VGG16: 3×3 convolutions of as many channels, each followed by a ReLU. A pooling that halves rows and
// columns follows.
type vggBlock struct{ convs, channels int }

// vgg16Blocks are the blocks of VGG16 (Simonyan, Zisserman 2014, configuration D).
var vgg16Blocks = []vggBlock{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}}

// vggConvs are the convolutions of each block.
type vggConvs [][]frozenConv

// newVGGConvs reads the convolutions; names are those that number layer of torchvision's features, in a block from 0 on, may have.
func newVGGConvs(tensors map[string]Tensor, blocks []vggBlock, names func(block, layer int) []string) (v vggConvs, err error) {
	layer, in := 0, 3
	for i, b := range blocks {
		convs := make([]frozenConv, b.convs)
		for k := range convs {
			if convs[k], err = newFrozenConv(tensors, names(i, layer), b.channels, in, 3); err != nil {
				return nil, err
			}
			layer, in = layer+2, b.channels // a convolution and its ReLU
		}
		v, layer = append(v, convs), layer+1 // the pooling
	}
	return v, nil
}

// features are those after the last ReLU of each block.
func (v vggConvs) features(f *frozen, x *G.Node) (taps []*G.Node) {
	for i, convs := range v {
		if i > 0 {
			x = f.halfPool(x)
		}
		for _, c := range convs {
			x = f.b.act(kernels.ReLU, f.conv(c, x))
		}
		taps = append(taps, x)
	}
	return taps
}

// VGG16 is torchvision's VGG16 up to the second ReLU of its classifier, 4,096 features of a frame: the perceptual network of
// magvit2-pytorch. Frames in [0,1] are normalized with ImageNet's mean and deviation.
//
// With compat lucidrains it is as magvit2-pytorch trains with it: frames are not normalized, and the classifier's dropout
// acts, with a mask of its own for each frame of clips and of reconstructions.
type VGG16 struct {
	convs     vggConvs
	hidden    int       // features
	first     []float32 // weight of the first linear layer, [hidden, channels·7·7]
	firstBias []float32
	second    frozenConv
	folded    []float32 // fold of the size foldedTo
	foldedTo  [2]int
}

// VGG16Min is the least height and width of a frame: each of five poolings halves both.
const VGG16Min = 32

// vggGrid is the number of rows and columns that the last block's features are pooled to.
const vggGrid = 7

// NewVGG16 reads the weights in torchvision's names. Further tensors are ignored.
func NewVGG16(tensors map[string]Tensor) (*VGG16, error) { return newVGG16(tensors, vgg16Blocks, 4096) }

func newVGG16(tensors map[string]Tensor, blocks []vggBlock, hidden int) (v *VGG16, err error) {
	v = &VGG16{hidden: hidden}
	v.convs, err = newVGGConvs(tensors, blocks, func(_, layer int) []string { return []string{fmt.Sprintf("features.%d", layer)} })
	if err == nil {
		v.first, err = frozenTensor(tensors, []string{"classifier.0.weight"}, hidden, v.channels()*vggGrid*vggGrid)
	}
	if err == nil {
		v.firstBias, err = frozenTensor(tensors, []string{"classifier.0.bias"}, hidden)
	}
	if err == nil {
		v.second, err = newFrozenConv(tensors, []string{"classifier.3"}, hidden, hidden, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("VGG16: %w; want torchvision's vgg16", err)
	}
	return v, nil
}

// Wanted reports whether NewVGG16 reads the tensor of a name.
func (*VGG16) Wanted(name string) bool {
	for _, prefix := range []string{"features.", "classifier.0.", "classifier.3."} {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return true
		}
	}
	return false
}

// channels are those of the last block.
func (v *VGG16) channels() int {
	last := v.convs[len(v.convs)-1]
	return last[len(last)-1].out
}

// forward is the features [N,T,1,1,hidden] of frames x [N,T,H,W,1 or 3]; mask [N·T,hidden] multiplies those after the first
// ReLU of the classifier, nil for 1.
func (v *VGG16) forward(f *frozen, x *G.Node, normalize bool, mask *G.Node) *G.Node {
	b := f.b
	if normalize {
		x = f.normalized(x)
	} else {
		x = f.scaled(x, [3]float64{1, 1, 1}, [3]float64{})
	}
	taps := v.convs.features(f, x)
	x = f.halfPool(taps[len(taps)-1])
	n, t, h, w, c := b.dims(x)
	if b.err != nil {
		return nil
	}
	x = f.conv(frozenConv{name: "classifier.0", in: h * w * c, out: v.hidden, kh: 1, kw: 1, weight: v.fold(h, w), bias: v.firstBias}, f.pixelsAsChannels(x))
	x = b.act(kernels.ReLU, x)
	if mask != nil {
		x = b.apply(kernels.FrameGate{F: n * t, P: 1, C: v.hidden}, []int{n, t, 1, 1, v.hidden}, x, mask)
	}
	return b.act(kernels.ReLU, f.conv(v.second, x))
}

// fold is the weight [hidden,h,w,channels] of the first linear layer together with the pooling before it, torch's
// AdaptiveAvgPool2d(7): row i of 7 is the mean of the rows from ⌊i·h/7⌋ up to ⌈(i+1)·h/7⌉.
//
// Why: the pooling is linear, and frames of less than 224 pixels have fewer values than its 7×7.
func (v *VGG16) fold(h, w int) []float32 {
	if v.foldedTo == [2]int{h, w} {
		return v.folded
	}
	channels := v.channels()
	v.folded, v.foldedTo = make([]float32, v.hidden*h*w*channels), [2]int{h, w}
	for i := range vggGrid {
		top, bottom := adaptiveWindow(i, h)
		for j := range vggGrid {
			left, right := adaptiveWindow(j, w)
			by := 1 / float32((bottom-top)*(right-left))
			for o := range v.hidden {
				of := v.first[o*channels*vggGrid*vggGrid+i*vggGrid+j:]
				for y := top; y < bottom; y++ {
					for x := left; x < right; x++ {
						dst := v.folded[((o*h+y)*w+x)*channels:][:channels]
						for c := range dst {
							dst[c] += by * of[c*vggGrid*vggGrid]
						}
					}
				}
			}
		}
	}
	return v.folded
}

// adaptiveWindow is the rows of n that row i of vggGrid is the mean of.
func adaptiveWindow(i, n int) (from, to int) {
	return i * n / vggGrid, ((i+1)*n + vggGrid - 1) / vggGrid
}

// loss is the mean squared error of the features of recon and video.
func (v *VGG16) loss(b *builder, recon, video *G.Node) *G.Node {
	f := &frozen{b, nodesByName{}}
	compat := b.t.Config.lucidrains()
	mask := func(of string) *G.Node {
		if !compat {
			return nil
		}
		n, t, _, _, _ := b.dims(recon)
		return b.scheduled("perceptual dropout of "+of, func(p StepPosition, dst []float32) { drawDropout(p, of, dst) }, n*t, v.hidden)
	}
	return f.squaredError(v.forward(f, recon, !compat, mask("recon")), v.forward(f, video, !compat, mask("video")))
}

// drawDropout draws the factors of dropout at probability 1/2: 0 or 2.
func drawDropout(p StepPosition, of string, mask []float32) {
	r := philox.New(p.Seed, "perceptual dropout of "+of, uint64(p.Step), uint64(p.Batch))
	for i := range mask {
		mask[i] = float32(2 * r.IntN(2))
	}
}

func (*VGG16) least() int { return VGG16Min }

// SHA256 is that of FrozenNet.
func (v *VGG16) SHA256() string {
	return weightsHash(append(v.convs.weights(), v.first, v.firstBias, v.second.weight, v.second.bias))
}

// weights are the weight and bias of each convolution.
func (v vggConvs) weights() (list [][]float32) {
	for _, convs := range v {
		for _, c := range convs {
			list = append(list, c.weight, c.bias)
		}
	}
	return list
}
